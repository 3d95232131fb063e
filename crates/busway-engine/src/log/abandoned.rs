//! Durable subscriptions that nobody attends any more: what they have not settled is kept for them, for as long as they are in the store.
//!
//! One that does not run in this process, and was neither taken up nor got on for longer than the bus allows, is *abandoned*: a warning is given
//! once, and the account of the bus shows it until somebody takes it up again or removes it. Only an operator removes one.
//!
//! They are looked for when something is published, at most once an hour, and a minute after the start at the earliest: whoever attends one
//! must have had the time to take it up. While nothing is published nothing is kept for them either, so no timer runs for this.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use busway_event::Timestamp;
use busway_persistence::{Store, StoredSubscription};
use parking_lot::Mutex;

use super::Log;
use crate::bus::BusCore;

/// See the module.
#[derive(Debug)]
pub(super) struct Abandoned {
    after: Duration,
    /// When they are looked for next. `None`: the bus has only begun.
    next: Mutex<Option<Instant>>,
    /// Those that were found.
    names: Mutex<BTreeSet<String>>,
}

impl Abandoned {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, next: Mutex::default(), names: Mutex::default() }
    }

    /// Whether it is time to look.
    fn is_due(&self, now: Instant) -> bool {
        let mut next = self.next.lock();
        let due = *next.get_or_insert_with(|| now + FIRST);
        if now >= due {
            *next = Some(now + EVERY.min(self.after));
        }
        now >= due
    }

    /// These are abandoned; gives back those that were not when it was looked before.
    fn found(&self, names: BTreeSet<String>) -> Vec<String> {
        let mut known = self.names.lock();
        let found = names.difference(&known).cloned().collect();
        *known = names;
        found
    }
}

/// For how long nobody has attended a subscription that does not run here; `None` when nobody knows.
pub(crate) fn idle(stored: &StoredSubscription, utc: Timestamp) -> Option<Duration> {
    stored.attended.map(|attended| utc.saturating_since(attended))
}

impl Log {
    /// Whether that is longer than the bus allows.
    pub(crate) fn is_abandoned(&self, idle: Option<Duration>) -> bool {
        idle.is_some_and(|idle| idle >= self.abandoned.after)
    }

    /// The names of those that were found abandoned.
    pub(crate) fn abandoned(&self) -> Vec<String> {
        self.abandoned.names.lock().iter().cloned().collect()
    }

    /// Looks for abandoned subscriptions, when it is time to.
    pub(super) fn look_for_abandoned(self: &Arc<Self>, bus: &Weak<BusCore>) {
        let Some(services) = bus.upgrade().map(|bus| Arc::clone(&bus.services)) else { return };
        if !self.abandoned.is_due(services.clock.now()) {
            return;
        }
        let (log, bus, runtime) = (Arc::clone(self), Weak::clone(bus), services.runtime.clone());
        let look = async move {
            let stored = log.lend(&services, Store::subscriptions).await;
            let (Some(Ok(stored)), Some(bus)) = (stored, bus.upgrade()) else { return };
            let utc = services.clock.utc();
            let nobody_here = |stored: &&StoredSubscription| !bus.durable.has_name(&stored.name);
            let abandoned = stored.iter().filter(nobody_here);
            let abandoned = abandoned.filter(|stored| log.is_abandoned(idle(stored, utc)));
            let names: BTreeSet<String> = abandoned.map(|stored| stored.name.clone()).collect();
            for name in log.abandoned.found(names) {
                tracing::warn!(
                    subscription = name,
                    after = ?log.abandoned.after,
                    "nobody has attended this durable subscription for longer than abandoned_after, and what it has not settled is kept for it; take it up again, or let it go with bus.cursor(name).remove()"
                );
            }
        };
        drop(runtime.spawn(self.readers.track_future(look)));
    }
}

/// Behind the start.
const FIRST: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_is_told_of_once_and_again_when_it_was_attended_in_between() {
        let abandoned = Abandoned::new(Duration::from_secs(7 * 24 * 3_600));
        assert_eq!(abandoned.found(names(&["mail"])), ["mail"]);
        assert!(abandoned.found(names(&["mail"])).is_empty());
        assert_eq!(abandoned.found(names(&["mail", "stock"])), ["stock"]);
        assert!(abandoned.found(names(&["stock"])).is_empty());
        assert_eq!(abandoned.found(names(&["mail", "stock"])), ["mail"]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn they_are_looked_for_a_minute_behind_the_start_and_then_each_hour() {
        let (abandoned, start) = (Abandoned::new(Duration::from_secs(7 * 24 * 3_600)), Instant::now());
        let at = |seconds| abandoned.is_due(start + Duration::from_secs(seconds));
        assert_eq!(
            [0, 59, 60, 61, 3_659, 3_660, 9_000, 9_001].map(at),
            [false, false, true, false, false, true, true, false]
        );
    }
}
