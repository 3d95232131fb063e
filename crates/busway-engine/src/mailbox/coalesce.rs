//! Coalescing: of the events of a key that wait, only the latest is kept, in the place of the first.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use busway_event::{AnyEvent, Key};

use super::Waiting;
use crate::sync::Mutex;

/// What coalesces events: their own key, unless a function says otherwise. Events without one are never coalesced.
#[derive(Clone, Default)]
pub(crate) struct CoalesceKey(pub(crate) Option<Arc<KeyOf>>);

pub(crate) type KeyOf = dyn Fn(&AnyEvent) -> Option<String> + Send + Sync;

impl CoalesceKey {
    /// Whether somebody said what coalesces, instead of the event's own key.
    pub(crate) const fn is_function(&self) -> bool {
        self.0.is_some()
    }

    fn of(&self, event: &AnyEvent) -> Option<Key> {
        match &self.0 {
            None => event.key().cloned(),
            // The user's own code: an event whose key cannot be found is not coalesced.
            Some(of) => Key::new(catch_unwind(AssertUnwindSafe(|| of(event))).ok()??).ok(),
        }
    }
}

/// The latest event of each key that has a place in a queue. The lock is held while the place is made or taken, so both
/// always agree.
pub(crate) struct Coalescer {
    key: CoalesceKey,
    latest: Mutex<HashMap<Key, Waiting>>,
}

/// What became of an event at the coalescer.
pub(super) enum Coalesced {
    /// It took the place of this one.
    Replaced(Waiting),
    /// It has a place of its own now.
    Placed,
    /// There is no place.
    Full(Waiting),
    /// It has no key: not for the coalescer.
    NoKey(Waiting),
}

impl Coalescer {
    pub(super) fn new(key: CoalesceKey) -> Self {
        Self { key, latest: Mutex::new(HashMap::new()) }
    }

    /// Replaces the waiting event of the same key; `settle` moves the bytes from the old one to the new one.
    pub(super) fn replace(
        &self,
        mut waiting: Waiting,
        settle: impl FnOnce(&mut Waiting, &Waiting),
    ) -> Result<Waiting, Waiting> {
        let Some(key) = self.key.of(&waiting.event) else { return Err(waiting) };
        let mut latest = self.latest.lock();
        let Some(old) = latest.get_mut(&key) else { return Err(waiting) };
        settle(&mut waiting, old);
        Ok(std::mem::replace(old, waiting))
    }

    /// Replaces the waiting event of the same key, or asks `place` for a place in the queue.
    pub(super) fn put(&self, waiting: Waiting, place: impl FnOnce(Key) -> bool) -> Coalesced {
        let Some(key) = self.key.of(&waiting.event) else { return Coalesced::NoKey(waiting) };
        let mut latest = self.latest.lock();
        if let Some(old) = latest.get_mut(&key) {
            return Coalesced::Replaced(std::mem::replace(old, waiting));
        }
        match place(key.clone()) {
            true => {
                latest.insert(key, waiting);
                Coalesced::Placed
            }
            false => Coalesced::Full(waiting),
        }
    }

    /// Takes the event whose place came up.
    pub(super) fn take(&self, key: &Key) -> Option<Waiting> {
        self.latest.lock().remove(key)
    }
}

impl fmt::Debug for Coalescer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Coalescer")
    }
}
