//! A place in the routing table that one subscription after another has.
//!
//! A publisher that still has an old table finds somebody whose place is another's by now, and goes on to whoever has it. All who have had a place know it, and it knows the one
//! who has it: were each to know the next instead, the oldest that anybody remembers (a thread's cache, say) would keep all of them alive.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::entry::Entry;

/// See the module.
///
/// Weak: who has it is kept alive by the routing table, or is over.
#[derive(Debug, Default)]
pub(crate) struct Place(Mutex<Weak<Entry>>);

impl Place {
    /// Who has it now; `None` when that one is gone.
    pub(crate) fn owner(&self) -> Option<Arc<Entry>> {
        self.0.lock().upgrade()
    }

    /// Gives it from one to the next, who is to be in the routing table already, and held if the one before has events: whoever asks from now on is sent there.
    /// It stays where it is when another one has it: who is offered an event by the routing table is not offered it once more in the place of somebody else.
    pub(super) fn give(self: &Arc<Self>, from: &Entry, to: &Arc<Entry>) {
        give(&mut self.0.lock(), self, from, to);
    }

    /// The same, unless something of the one before is found that has to end first. Who asks meanwhile waits: between that look and the gift nobody
    /// would be found.
    pub(super) fn give_unless<C>(
        self: &Arc<Self>,
        from: &Entry,
        to: &Arc<Entry>,
        find: impl FnOnce() -> Option<C>,
    ) -> Option<C> {
        let mut owner = self.0.lock();
        let found = find();
        if found.is_none() {
            give(&mut owner, self, from, to);
        }
        found
    }
}

/// By addresses, and nothing is upgraded: the last reference to an entry is never dropped under the lock, where code of a handler's captures would run.
fn give(owner: &mut Weak<Entry>, place: &Arc<Place>, from: &Entry, to: &Arc<Entry>) {
    let is_others = owner.strong_count() > 0 && !std::ptr::eq(owner.as_ptr(), from);
    if !is_others && to.takes(place) {
        *owner = Arc::downgrade(to);
    }
}
