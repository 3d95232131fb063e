//! Time to live: how long an event may wait for its handler before nobody wants it any more.
//!
//! The clock runs from the moment in which the subscription was offered the event, on the monotonic clock, to
//! the moment in which a handler would start. An event that expires is settled as `expired` and counted; a
//! handler that has started is never cut short by it. In a durable subscription, which outlives processes, it runs
//! from when the store took the event, by the time that the engine believes.

use std::time::{Duration, Instant};

use busway_event::Priority;

use crate::per_priority::PerPriority;

/// The time to live that a subscription gives to events which bring none of their own, for each priority.
///
/// There is no `Default`, on purpose: [`ephemeral`](Self::ephemeral) and [`none`](Self::none) promise
/// different things, and a durable subscription that got the former by accident would give up acknowledged
/// events after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeToLive {
    limits: PerPriority<Option<Duration>>,
}

impl TimeToLive {
    /// What ephemeral subscriptions start from: P0 30 seconds, P1 300 seconds, P2 and P3 none.
    ///
    /// The urgent ones expire first: an alarm that nobody took for half a minute is no longer one.
    pub const fn ephemeral() -> Self {
        Self {
            limits: PerPriority {
                p0: Some(EPHEMERAL_TTL_P0),
                p1: Some(EPHEMERAL_TTL_P1),
                p2: None,
                p3: None,
            },
        }
    }

    /// What durable subscriptions start from: events wait as long as it takes.
    pub const fn none() -> Self {
        Self { limits: PerPriority { p0: None, p1: None, p2: None, p3: None } }
    }

    /// The same settings, with another time to live for `priority`; `None` for as long as it takes.
    ///
    /// A time to live of zero expires every event of that priority.
    #[must_use]
    pub const fn with(mut self, priority: Priority, ttl: Option<Duration>) -> Self {
        *self.limits.of_mut(priority) = ttl;
        self
    }

    /// The setting of `priority`.
    pub const fn of(&self, priority: Priority) -> Option<Duration> {
        *self.limits.of(priority)
    }

    /// The time to live of one event: its own if it brings one, also if that is the longer one; else the
    /// setting of its priority. `None` means that it never expires.
    #[inline]
    pub fn effective(&self, event_ttl: Option<Duration>, priority: Priority) -> Option<Duration> {
        event_ttl.or(self.of(priority))
    }
}

/// What [`expired`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// The event may start.
    Fresh,
    /// Its time is over: settle it as expired.
    Expired {
        /// For how long it has been over; zero at the very moment.
        by: Duration,
    },
}

/// Whether an event that was offered at `offered_at` is past its time to live at `now`.
///
/// The event is fresh *before* `offered_at + ttl` and expired from that moment on. Without a time to live it
/// is always fresh. A `now` before `offered_at`, as two threads that read the clock may produce, counts as
/// `offered_at`. No input overflows, however long the time to live.
///
/// ```
/// use std::time::{Duration, Instant};
/// use busway_reliability::{Expiry, expired};
///
/// # let offered_at = Instant::now();
/// let ttl = Some(Duration::from_secs(30));
/// assert_eq!(expired(offered_at, ttl, offered_at + Duration::from_secs(29)), Expiry::Fresh);
/// assert_eq!(
///     expired(offered_at, ttl, offered_at + Duration::from_secs(31)),
///     Expiry::Expired { by: Duration::from_secs(1) },
/// );
/// ```
pub fn expired(offered_at: Instant, ttl: Option<Duration>, now: Instant) -> Expiry {
    // The age is compared, not `offered_at + ttl`: that sum may not exist.
    let waited = now.saturating_duration_since(offered_at);
    match ttl.and_then(|ttl| waited.checked_sub(ttl)) {
        Some(by) => Expiry::Expired { by },
        None => Expiry::Fresh,
    }
}

const EPHEMERAL_TTL_P0: Duration = Duration::from_secs(30);
const EPHEMERAL_TTL_P1: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use busway_event::Priority;
    use proptest::prelude::*;

    use super::{Expiry, TimeToLive, expired};
    use crate::epoch::epoch;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ephemeral_subscriptions_give_up_urgent_events_first_and_the_rest_never() {
        let ttl = Priority::ALL.map(|priority| TimeToLive::ephemeral().of(priority));
        assert_eq!(ttl, [Some(30 * SECOND), Some(300 * SECOND), None, None]);
    }

    #[test]
    fn durable_subscriptions_never_expire_anything_unless_told_so() {
        let ttl = TimeToLive::none();
        assert!(Priority::ALL.iter().all(|priority| ttl.effective(None, *priority).is_none()));
        let ttl = ttl.with(Priority::P3, Some(SECOND));
        assert_eq!(ttl.effective(None, Priority::P3), Some(SECOND));
        assert_eq!(ttl.effective(None, Priority::P2), None);
    }

    #[test]
    fn the_time_to_live_of_the_event_wins_also_if_it_is_longer() {
        let ttl = TimeToLive::ephemeral();
        assert_eq!(ttl.effective(Some(SECOND), Priority::P0), Some(SECOND));
        assert_eq!(ttl.effective(Some(3_600 * SECOND), Priority::P0), Some(3_600 * SECOND));
        assert_eq!(ttl.effective(Some(SECOND), Priority::P2), Some(SECOND));
    }

    #[test]
    fn an_event_expires_at_the_moment_its_time_is_over_and_not_before() {
        let (offered, ttl) = (epoch(), Some(SECOND));
        let just_before = offered + Duration::from_nanos(999_999_999);
        assert_eq!(expired(offered, ttl, just_before), Expiry::Fresh);
        assert_eq!(expired(offered, ttl, offered + SECOND), Expiry::Expired { by: Duration::ZERO });
        assert_eq!(expired(offered, ttl, offered + 3 * SECOND), Expiry::Expired { by: 2 * SECOND });
    }

    #[test]
    fn an_event_without_a_time_to_live_is_fresh_for_ever() {
        assert_eq!(expired(epoch(), None, epoch() + 1_000_000_000 * SECOND), Expiry::Fresh);
    }

    #[test]
    fn a_clock_that_reads_earlier_than_the_offer_expires_nothing() {
        let now = epoch();
        assert_eq!(expired(now + SECOND, Some(Duration::from_nanos(1)), now), Expiry::Fresh);
    }

    #[test]
    fn a_time_to_live_of_zero_expires_at_once() {
        let now = epoch();
        assert_eq!(expired(now, Some(Duration::ZERO), now), Expiry::Expired { by: Duration::ZERO });
    }

    proptest! {
        #[test]
        fn expiry_follows_the_age_and_no_time_to_live_overflows(ttl: Duration, waited in 0_u64..1 << 60) {
            let waited = Duration::from_nanos(waited);
            let offered = epoch();
            let found = expired(offered, Some(ttl), offered + waited);
            if waited < ttl {
                prop_assert_eq!(found, Expiry::Fresh);
            } else {
                prop_assert_eq!(found, Expiry::Expired { by: waited.abs_diff(ttl) });
            }
        }
    }
}
