//! Retry: whether a failed event is attempted again, and after what time.
//!
//! By default the delay grows exponentially and is drawn at random from the whole of it ("full jitter", Marc Brooker, *Exponential
//! Backoff And Jitter*, AWS Architecture Blog, 2015): events that failed together do not come back together. Constant, listed and
//! computed delays are what they say, without jitter.
//!
//! `schedule` has the delays, `problem` what cannot be meant, `budget` how much of the traffic may be retries.

mod budget;
mod problem;
mod schedule;

use std::fmt;
use std::time::Duration;

pub use self::budget::{RetryBudget, RetryMeter};
pub use self::problem::RetryProblem;
use self::schedule::{DELAYS_MAX, Delays, Schedule};

/// How often an event is attempted, and how far apart.
///
/// ```
/// use std::time::Duration;
/// use busway_reliability::Retry;
///
/// let retry = Retry::default().attempts(3);
/// assert_eq!(retry.after(1, u64::MAX), Some(Duration::from_millis(200)));
/// assert_eq!(retry.after(2, u64::MAX), Some(Duration::from_millis(400)));
/// assert_eq!(retry.after(2, 0), Some(Duration::ZERO));
/// assert_eq!(retry.after(3, 0), None);
///
/// let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
/// let retry = Retry::listed(&[minutes(1), minutes(5), minutes(30)]);
/// assert_eq!(retry.after(2, 0), Some(minutes(5)));
/// assert_eq!(retry.after(4, 0), None, "three delays lie between four attempts");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    attempts: u32,
    schedule: Schedule,
}

impl Retry {
    /// As events in memory are retried: 3 attempts in all, 200 ms and 400 ms apart at most.
    pub const fn ephemeral() -> Self {
        Self { attempts: ATTEMPTS_EPHEMERAL, schedule: DOUBLING }
    }

    /// One attempt, and no further one.
    pub const fn never() -> Self {
        Self { attempts: 1, schedule: DOUBLING }
    }

    /// The same delay behind each attempt, without jitter. At least 1 ms. 16 attempts unless [`attempts`](Self::attempts) says
    /// otherwise.
    pub const fn constant(delay: Duration) -> Self {
        Self { attempts: ATTEMPTS, schedule: Schedule::Constant(delay) }
    }

    /// These delays, one after the other, without jitter: one attempt more than there are delays. With more
    /// [`attempts`](Self::attempts) the last delay is repeated. 1 to 16 delays, each at least 1 ms.
    pub fn listed(delays: &[Duration]) -> Self {
        let attempts = u32::try_from(delays.len()).unwrap_or(u32::MAX).saturating_add(1);
        Self { attempts, schedule: Schedule::Listed(Delays::of(delays)) }
    }

    /// The delay behind so many failed attempts, from 1, as a function says, without jitter. At least 1 ms each. 16 attempts unless
    /// [`attempts`](Self::attempts) says otherwise. It is called for each failure, and must not wait. Where it panics the
    /// delay is 60 s.
    pub const fn custom(delay: fn(u32) -> Duration) -> Self {
        Self { attempts: ATTEMPTS, schedule: Schedule::Custom(delay) }
    }

    /// As many attempts in all, the first one included. Default 16, at least 1: with 0 the subscription does not begin.
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The longest delay behind the first attempt; it doubles with each further one. Default 200 ms, at least 1 ms. Makes the delays
    /// exponential.
    pub const fn first_delay(mut self, delay: Duration) -> Self {
        let longest = match self.schedule {
            Schedule::Exponential { longest, .. } => longest,
            _ => LONGEST,
        };
        self.schedule = Schedule::Exponential { first: delay, longest };
        self
    }

    /// The longest delay of all. Default 60 s, at least 1 ms. Makes the delays exponential.
    pub const fn longest_delay(mut self, delay: Duration) -> Self {
        let first = match self.schedule {
            Schedule::Exponential { first, .. } => first,
            _ => FIRST,
        };
        self.schedule = Schedule::Exponential { first, longest: delay };
        self
    }

    /// How long to wait behind so many failed attempts; `None` when there is to be no further one. `random` is drawn anew for
    /// each delay, from all numbers.
    #[must_use]
    pub fn after(&self, failed: u32, random: u64) -> Option<Duration> {
        (!self.is_exhausted(failed)).then(|| self.schedule.delay(failed, random))
    }

    /// Whether there is to be no further attempt behind so many.
    #[must_use]
    pub const fn is_exhausted(&self, failed: u32) -> bool {
        failed >= self.attempts
    }

    /// All delays together, at their longest.
    #[must_use]
    pub fn span(&self) -> Duration {
        let delays = self.attempts.saturating_sub(1);
        let looked_at = delays.min(SPAN_DELAYS);
        let sum = (1..=looked_at)
            .fold(Duration::ZERO, |sum, failed| sum.saturating_add(self.schedule.longest(failed)));
        // Behind so many they are what the last one is.
        let rest = self.schedule.longest(looked_at.max(1)).saturating_mul(delays - looked_at);
        sum.saturating_add(rest)
    }

    /// Everything that is wrong with it by itself.
    #[must_use]
    pub fn problems(&self) -> Vec<RetryProblem> {
        let mut problems = Vec::new();
        if self.attempts == 0 {
            problems.push(RetryProblem::NoAttempts);
        }
        if let Schedule::Listed(Delays { asked, .. }) = self.schedule {
            match asked {
                0 => problems.push(RetryProblem::NoDelays),
                1..=DELAYS_MAX => {}
                delays => problems.push(RetryProblem::TooManyDelays { delays }),
            }
            if asked == 0 {
                return problems;
            }
        }
        let delays = 1..=self.attempts.saturating_sub(1).min(SPAN_DELAYS);
        let short = delays.map(|failed| (failed, self.schedule.longest(failed)));
        let short = short
            .filter(|(_, delay)| *delay < DELAY_MIN)
            .map(|(failed, delay)| RetryProblem::DelayTooShort { delay, failed });
        problems.extend(short.take(1));
        problems
    }

    /// Whether it may go on for longer than a stream keeps events.
    #[must_use]
    pub fn problem_with(&self, stream: &str, kept: Duration) -> Option<RetryProblem> {
        let span = self.span();
        (span > kept).then(|| RetryProblem::LongerThanRetention { span, stream: stream.to_owned(), kept })
    }
}

/// 16 attempts within about eight minutes.
impl Default for Retry {
    fn default() -> Self {
        Self { attempts: ATTEMPTS, schedule: DOUBLING }
    }
}

/// `16 attempts, 200ms doubled up to 60s`.
impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempts {
            1 => f.write_str("1 attempt"),
            attempts => write!(f, "{attempts} attempts, {:?}", self.schedule),
        }
    }
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(60);
const DOUBLING: Schedule = Schedule::Exponential { first: FIRST, longest: LONGEST };
const ATTEMPTS: u32 = 16;
/// Of events in memory: whoever waits for them waits for all of their attempts.
const ATTEMPTS_EPHEMERAL: u32 = 3;
/// What a timer can tell apart.
const DELAY_MIN: Duration = Duration::from_millis(1);
/// Delays that are looked at one by one.
const SPAN_DELAYS: u32 = 1_024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_end_with_the_last_attempt() {
        let retry = Retry::default();
        let millis =
            |failed| retry.after(failed, u64::MAX).map(|delay| u64::try_from(delay.as_millis()).unwrap());
        let delays: Vec<_> = (1..=16).map(millis).collect();
        assert_eq!(delays[..4], [Some(200), Some(400), Some(800), Some(1_600)]);
        assert_eq!(
            delays[8..],
            [
                Some(51_200),
                Some(60_000),
                Some(60_000),
                Some(60_000),
                Some(60_000),
                Some(60_000),
                Some(60_000),
                None
            ]
        );
    }

    #[test]
    fn constant_listed_and_computed_delays_are_what_they_say() {
        let seconds = Duration::from_secs;
        let after = |retry: Retry| (1..=4).map(|failed| retry.after(failed, 7)).collect::<Vec<_>>();
        let constant = Retry::constant(seconds(3)).attempts(3);
        assert_eq!(after(constant), [Some(seconds(3)), Some(seconds(3)), None, None]);
        let listed = Retry::listed(&[seconds(1), seconds(9)]);
        assert_eq!(after(listed), [Some(seconds(1)), Some(seconds(9)), None, None]);
        assert_eq!(after(listed.attempts(5))[3], Some(seconds(9)), "the last one is repeated");
        assert_eq!(Retry::custom(|_| panic!("on purpose")).after(1, 7), Some(seconds(60)));
        let custom = Retry::custom(|failed| Duration::from_secs(u64::from(failed))).attempts(4);
        assert_eq!(after(custom), [Some(seconds(1)), Some(seconds(2)), Some(seconds(3)), None]);
        assert_eq!(custom, custom);
        assert_ne!(custom, constant);
        assert_eq!(listed.to_string(), "3 attempts, [1s, 9s]");
    }

    #[test]
    fn a_span_is_all_delays_at_their_longest() {
        assert_eq!(Retry::default().span(), Duration::from_millis(102_200 + 6 * 60_000));
        assert_eq!(Retry::never().span(), Duration::ZERO);
        let long = Retry::constant(Duration::from_secs(1)).attempts(100_001);
        assert_eq!(long.span(), Duration::from_secs(100_000));
        assert!(long.problem_with("orders", Duration::from_secs(100_000)).is_none());
        let problem = long.problem_with("orders", Duration::from_secs(99_999)).unwrap().to_string();
        assert!(problem.contains("stream \"orders\" keeps events for 99999s"), "{problem}");
    }

    #[test]
    fn everything_wrong_is_listed() {
        let short = Retry::constant(Duration::from_micros(999));
        assert_eq!(short.attempts(1).problems(), [], "nobody waits");
        assert_eq!(
            short.problems(),
            [RetryProblem::DelayTooShort { delay: Duration::from_micros(999), failed: 1 }]
        );
        assert_eq!(Retry::default().attempts(0).problems(), [RetryProblem::NoAttempts]);
        assert_eq!(Retry::listed(&[]).problems(), [RetryProblem::NoDelays]);
        let many = Retry::listed(&[Duration::ZERO; 17]).problems();
        assert!(matches!(
            many[..],
            [RetryProblem::TooManyDelays { delays: 17 }, RetryProblem::DelayTooShort { .. }]
        ));
        assert_eq!(Retry::default().problems(), []);
    }

    proptest! {
        #[test]
        fn no_delay_is_longer_than_it_may_be(failed in any::<u32>(), random in any::<u64>(), first in any::<u64>(), longest in any::<u64>()) {
            let (first, longest) = (Duration::from_nanos(first), Duration::from_nanos(longest));
            let retry = Retry::default().attempts(u32::MAX).first_delay(first).longest_delay(longest);
            match retry.after(failed, random) {
                Some(delay) => prop_assert!(delay <= longest && failed < u32::MAX),
                None => prop_assert_eq!(failed, u32::MAX),
            }
        }

        #[test]
        fn delays_are_drawn_from_the_whole(random in any::<u64>()) {
            let delay = Retry::default().after(1, random).unwrap().as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a test of proportion")]
            let part = random as f64 / u64::MAX as f64;
            prop_assert!((delay - 0.2 * part).abs() < 1e-6);
        }
    }
}
