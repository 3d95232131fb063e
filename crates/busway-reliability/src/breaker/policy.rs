//! What opens a circuit, and for how long.

use std::fmt;
use std::time::{Duration, Instant};

use failsafe::backoff::{Constant, constant};
use failsafe::failure_policy::{ConsecutiveFailures, FailurePolicy, consecutive_failures};

use super::rate_window::RateWindow;
use super::rules::BreakerRules;

/// Decides when a closed circuit opens.
pub(super) struct Policy {
    /// Only whether it is reached counts: the time that it comes with is no time.
    in_a_row: ConsecutiveFailures<Constant>,
    /// Whether there was a failure since the last success.
    has_failed: bool,
    rate: Option<RateWindow>,
}

impl Policy {
    pub(super) fn new(rules: &BreakerRules, now: Instant) -> Self {
        let in_a_row = consecutive_failures(rules.failures.max(1), constant(Duration::ZERO));
        Self { in_a_row, has_failed: false, rate: rules.rate.map(|rate| RateWindow::new(rate, now)) }
    }

    pub(super) fn succeeded(&mut self, now: Instant) {
        self.in_a_row.record_success();
        self.has_failed = false;
        if let Some(rate) = &mut self.rate {
            _ = rate.note(false, now);
        }
    }

    /// Whether the circuit is to open.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.has_failed = true;
        let is_reached = self.in_a_row.mark_dead_on_failure().is_some();
        self.rate.as_mut().is_some_and(|rate| rate.note(true, now)) | is_reached
    }

    pub(super) fn clear(&mut self, now: Instant) {
        self.in_a_row.revived();
        self.has_failed = false;
        if let Some(rate) = &mut self.rate {
            rate.clear(now);
        }
    }

    /// Whether a success would change nothing.
    pub(super) const fn is_spotless(&self) -> bool {
        !self.has_failed && self.rate.is_none()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("in_a_row", &self.in_a_row)
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

/// How long a circuit is open, one time after the other.
#[derive(Debug)]
pub(super) enum OpenTimes {
    Constant(Constant),
    Doubling { next: Duration, longest: Duration },
}

impl OpenTimes {
    pub(super) fn new(rules: &BreakerRules) -> Self {
        let (first, longest) = (rules.open_for, rules.open_for_longest);
        match longest > first {
            true => Self::Doubling { next: first, longest },
            false => Self::Constant(constant(first)),
        }
    }

    pub(super) fn next(&mut self) -> Duration {
        match self {
            Self::Constant(times) => times.next().unwrap_or_default(),
            Self::Doubling { next, longest } => {
                let time = *next;
                *next = next.saturating_mul(2).min(*longest);
                time
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_doubles_up_to_the_longest_and_is_else_always_the_same() {
        let millis = |rules: BreakerRules| {
            let mut times = OpenTimes::new(&rules);
            [(); 5].map(|()| times.next().as_millis())
        };
        let rules = BreakerRules::default().open_for(Duration::from_millis(1_500));
        assert_eq!(millis(rules), [1_500; 5]);
        assert_eq!(millis(rules.open_for_longest(Duration::from_secs(1))), [1_500; 5]);
        assert_eq!(
            millis(rules.open_for_longest(Duration::from_secs(7))),
            [1_500, 3_000, 6_000, 7_000, 7_000]
        );
    }
}
