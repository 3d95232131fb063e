//! Moments in the future, however far.

use std::time::{Duration, Instant};

/// `wait` after `now`, or the far future if that moment cannot be written down.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).or_else(|| now.checked_add(FAR_FUTURE)).unwrap_or(now)
}

/// Thirty years: longer than a process lives, short enough for the clock of every platform.
pub(crate) const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FAR_FUTURE, after};
    use crate::epoch::epoch;

    #[test]
    fn a_moment_that_cannot_be_written_down_is_the_far_future() {
        assert_eq!(after(epoch(), Duration::MAX), epoch() + FAR_FUTURE);
        assert_eq!(after(epoch(), Duration::from_secs(1)), epoch() + Duration::from_secs(1));
    }
}
