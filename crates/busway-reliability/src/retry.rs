//! Retry: whether a failed event is attempted again, and after what time.
//!
//! The delay grows exponentially and is drawn at random from the whole of it ("full jitter", Marc Brooker, *Exponential Backoff
//! And Jitter*, AWS Architecture Blog, 2015): events that failed together do not come back together.

use std::num::NonZeroU32;
use std::time::Duration;

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
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    attempts: NonZeroU32,
    first: Duration,
    longest: Duration,
}

impl Retry {
    /// As many attempts in all, the first one included. Default 16, at least 1.
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = match NonZeroU32::new(attempts) {
            Some(attempts) => attempts,
            None => NonZeroU32::MIN,
        };
        self
    }

    /// The longest delay behind the first attempt; it doubles with each further one. Default 200 ms.
    pub const fn first_delay(mut self, delay: Duration) -> Self {
        self.first = delay;
        self
    }

    /// The longest delay of all. Default 60 s.
    pub const fn longest_delay(mut self, delay: Duration) -> Self {
        self.longest = delay;
        self
    }

    /// How long to wait behind so many failed attempts; `None` when there is to be no further one. `random` is drawn anew for
    /// each delay, from all numbers.
    #[must_use]
    pub fn after(&self, failed: u32, random: u64) -> Option<Duration> {
        if failed >= self.attempts.get() {
            return None;
        }
        let doublings = failed.saturating_sub(1).min(DOUBLINGS_MAX);
        let longest = self.first.saturating_mul(1 << doublings).min(self.longest);
        let nanos = longest.as_nanos().min(u128::from(u64::MAX));
        // A part of `random` in 2⁶⁴, rounded up: all of it is the whole delay.
        let drawn = (nanos * u128::from(random)).div_ceil(u128::from(u64::MAX));
        Some(Duration::from_nanos(u64::try_from(drawn).unwrap_or(u64::MAX)))
    }

    /// Whether there is to be no further attempt behind so many.
    #[must_use]
    pub const fn is_exhausted(&self, failed: u32) -> bool {
        failed >= self.attempts.get()
    }
}

/// 16 attempts within about eight minutes.
impl Default for Retry {
    fn default() -> Self {
        Self { attempts: ATTEMPTS, first: Duration::from_millis(200), longest: Duration::from_secs(60) }
    }
}

const ATTEMPTS: NonZeroU32 = NonZeroU32::new(16).unwrap();
/// What a `u32` holds.
const DOUBLINGS_MAX: u32 = 31;

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
        assert_eq!(Retry::default().attempts(0).after(1, 0), None, "at least one, and no more");
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
