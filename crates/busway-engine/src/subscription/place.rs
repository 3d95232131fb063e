//! A place in the routing table that one subscription after another has.
//!
//! A publisher that still has an old table finds somebody whose place is another's by now, and goes on to whoever has it. All who have had a place know it, and it knows the one
//! who has it: were each to know the next instead, the oldest that anybody remembers (a thread's cache, say) would keep all of them alive.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::entry::Entry;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Place(Mutex<Has>);

#[derive(Debug, Default, Clone)]
enum Has {
    #[default]
    Nobody,
    /// Weak: who has it is kept alive by the routing table, or is over.
    One(Weak<Entry>),
    /// It was joined with another place.
    Joined(Arc<Place>),
}

impl Place {
    /// Who has it now; `None` when that one is gone.
    pub(crate) fn owner(&self) -> Option<Arc<Entry>> {
        let mut has = self.0.lock().clone();
        loop {
            match has {
                Has::Nobody => return None,
                Has::One(entry) => return entry.upgrade(),
                Has::Joined(place) => has = place.0.lock().clone(),
            }
        }
    }

    pub(super) fn is_now_of(&self, entry: &Arc<Entry>) {
        *self.0.lock() = Has::One(Arc::downgrade(entry));
    }

    /// Whoever has `other` has this one too, now and later.
    pub(super) fn joins(&self, other: &Arc<Self>) {
        *self.0.lock() = Has::Joined(Arc::clone(other));
    }
}
