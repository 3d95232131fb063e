//! When an event is to be published.

use std::time::Duration;

use super::Invalid;
use crate::timestamp::Timestamp;

/// When a draft is to be published, as its publisher said it: [`Draft::delay`](super::Draft::delay) or
/// [`Draft::at`](super::Draft::at).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// So long after `publish` was called.
    After(Duration),
    /// At this time.
    At(Timestamp),
}

impl Due {
    /// The time that is meant when it is `now`.
    #[must_use]
    pub fn time(self, now: Timestamp) -> Timestamp {
        match self {
            Self::After(delay) => now.saturating_add(delay),
            Self::At(time) => time,
        }
    }

    /// Whether an event may wait so long.
    pub(super) fn check(self, now: Timestamp) -> Result<(), Invalid> {
        let delay = match self {
            Self::After(delay) => delay,
            Self::At(time) => time.saturating_since(now),
        };
        match delay <= DELAY_MAX && self.time(now) < LATEST {
            true => Ok(()),
            false => Err(Invalid::DelayTooLong { delay, limit: DELAY_MAX }),
        }
    }
}

/// How long an event may wait before it is published: 3,660 days, about ten years.
pub const DELAY_MAX: Duration = Duration::from_secs(3_660 * 24 * 3_600);

/// The end of representable time, where sums would be cut.
const LATEST: Timestamp = Timestamp::from_nanos(i64::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_bounded_and_never_overflows() {
        let now = Timestamp::from_nanos(1_800_000_000_000_000_000);
        let day = Duration::from_secs(24 * 3_600);
        for fits in
            [Due::After(Duration::ZERO), Due::After(DELAY_MAX), Due::At(now.saturating_add(DELAY_MAX))]
        {
            assert_eq!(fits.check(now), Ok(()), "{fits:?}");
        }
        let past = Due::At(Timestamp::from_nanos(i64::MIN));
        assert_eq!((past.check(now), past.time(now)), (Ok(()), Timestamp::from_nanos(i64::MIN)));
        for late in [
            Due::After(DELAY_MAX + Duration::from_nanos(1)),
            Due::After(Duration::MAX),
            Due::At(LATEST),
            Due::At(now.saturating_add(DELAY_MAX + day)),
        ] {
            assert!(matches!(late.check(now), Err(Invalid::DelayTooLong { .. })), "{late:?}");
        }
        // A wall clock at the end of time.
        assert!(Due::After(day).check(LATEST).is_err());
    }
}
