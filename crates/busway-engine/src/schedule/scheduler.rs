//! What the timer, publishers and who waits for rest know of the schedule.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use busway_event::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::declared::Declared;
use super::reckoning::Reckoning;
use crate::clock::Clock;

/// See the module.
pub(crate) struct Scheduler {
    reckoning: Reckoning,
    known: Mutex<Known>,
    /// Schedules that this program has declared, by name.
    declared: Mutex<BTreeMap<String, Arc<Declared>>>,
    /// Rung when something is due earlier than was known.
    pub(super) changed: Notify,
    /// Nothing is published any more.
    pub(super) stopping: CancellationToken,
}

/// What is known of delayed events.
#[derive(Debug)]
struct Known {
    /// Nothing is due before this; `None` when nothing waits.
    earliest: Option<Timestamp>,
    /// The timer is at it.
    is_working: bool,
}

impl Scheduler {
    pub(crate) fn new() -> Self {
        // Until the timer has looked, anything may be due.
        let known = Known { earliest: Some(Timestamp::from_nanos(i64::MIN)), is_working: false };
        Self {
            reckoning: Reckoning::default(),
            known: Mutex::new(known),
            declared: Mutex::default(),
            changed: Notify::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// The time that the schedule goes by.
    pub(crate) fn time(&self, clock: &dyn Clock) -> Timestamp {
        self.reckoning.time(clock)
    }

    /// Events with these due times are stored.
    pub(crate) fn waits(&self, due: impl Iterator<Item = Timestamp>) {
        let Some(due) = due.min() else { return };
        if self.at_the_latest(Some(due)) {
            self.changed.notify_one();
        }
    }

    /// Whether nothing is due that has not been published. What the store refuses at the moment counts as due later; once
    /// nothing is published any more, nothing is waited for.
    pub(crate) fn is_at_rest(&self, clock: &dyn Clock) -> bool {
        if self.stopping.is_cancelled() {
            return true;
        }
        let now = self.time(clock);
        let known = self.known.lock();
        let is_due = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
        !known.is_working && !is_due(known.earliest) && !is_due(self.next_tick())
    }

    /// Nothing is published from now on.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    /// When the timer has to look next; `None` when nothing waits.
    pub(super) fn earliest(&self) -> Option<Timestamp> {
        [self.known.lock().earliest, self.next_tick()].into_iter().flatten().min()
    }

    /// Begins to publish what is due, if anything may be; whatever is stored from now on is noted anew.
    pub(super) fn begin(&self, now: Timestamp) -> bool {
        let mut known = self.known.lock();
        let is_due = known.earliest.is_some_and(|due| due <= now);
        if is_due {
            (known.earliest, known.is_working) = (None, true);
        }
        is_due
    }

    /// Everything that was due is looked at; what is left is due at `next`.
    pub(super) fn end(&self, next: Option<Timestamp>) {
        self.at_the_latest(next);
        self.known.lock().is_working = false;
    }

    /// Something is due at this time; whether it is earlier than was known.
    fn at_the_latest(&self, due: Option<Timestamp>) -> bool {
        let mut known = self.known.lock();
        let Some(due) = due.filter(|due| known.earliest.is_none_or(|known| *due < known)) else {
            return false;
        };
        known.earliest = Some(due);
        true
    }

    fn next_tick(&self) -> Option<Timestamp> {
        self.declared.lock().values().filter_map(|declared| declared.wakes_at()).min()
    }

    /// Schedules whose tick is due.
    pub(super) fn due(&self, now: Timestamp) -> Vec<Arc<Declared>> {
        let declared = self.declared.lock();
        let is_due = |declared: &&Arc<Declared>| declared.wakes_at().is_some_and(|due| due <= now);
        declared.values().filter(is_due).cloned().collect()
    }

    /// Enters a schedule, in the place of another one of its name.
    pub(super) fn declare(&self, declared: Arc<Declared>) {
        self.declared.lock().insert(declared.name.clone(), declared);
        self.changed.notify_one();
    }

    /// The schedule of this name, if the program has declared it.
    pub(super) fn declared(&self, name: &str) -> Option<Arc<Declared>> {
        self.declared.lock().get(name).cloned()
    }

    /// Forgets a schedule.
    pub(super) fn forget(&self, name: &str) {
        self.declared.lock().remove(name);
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("known", &self.known).finish_non_exhaustive()
    }
}
