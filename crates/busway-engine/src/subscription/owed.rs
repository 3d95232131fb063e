//! What a subscription owes beside what waits in its mailbox: events that breakers of its members have put aside.
//!
//! They end as those in its queues do: it is not over before they are handled, closing it abandons them, and who takes its place has them.

use std::sync::Arc;

use parking_lot::Mutex;

use super::core::SubscriptionCore;
use crate::breaker::Guard;

/// The guards that have events of a subscription aside; each is here for as long as it has some.
///
/// A guard comes and goes with its own lock held, so nothing of it is asked under this one.
#[derive(Debug, Default)]
pub(crate) struct Owed(Mutex<Vec<Arc<Guard>>>);

impl Owed {
    pub(crate) fn add(&self, guard: &Arc<Guard>) {
        self.0.lock().push(Arc::clone(guard));
    }

    pub(crate) fn remove(&self, guard: &Guard) {
        self.0.lock().retain(|other| !std::ptr::eq(Arc::as_ptr(other), guard));
    }

    fn guards(&self) -> Vec<Arc<Guard>> {
        self.0.lock().clone()
    }
}

impl SubscriptionCore {
    /// Whether an event waits: queued, for its lane, or aside.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.mailbox.is_empty() || self.owed.guards().iter().any(|guard| guard.owes_for(self))
    }

    /// It is closed: nothing of what is aside is handled any more.
    pub(super) fn abandon_owed(&self) {
        self.owed.guards().iter().for_each(|guard| guard.abandon_aside(self));
    }

    /// Another one has taken its place.
    pub(super) fn hand_owed_on(&self, heir: Option<&Arc<Self>>) {
        self.owed.guards().iter().for_each(|guard| guard.hand_aside_on(self, heir));
    }
}
