//! Targets on loan from a thread's memory of matches.

use std::cell::RefCell;
use std::fmt;
use std::mem;
use std::ops::Deref;
use std::sync::Arc;

use busway_event::Topic;

use crate::generation::Generation;
use crate::match_cache::{MatchCache, Place};
use crate::targets::Targets;

/// The targets of one topic, taken out of this thread's memory of matches for as long as this is held: no reference is
/// counted for it. Given by [`Router::lent`](crate::Router::lent); dereferences to the list.
///
/// Meanwhile the same thread may look up, insert and remove; it walks for this very topic. One that is leaked makes the thread
/// walk for its topic until the next change of the table.
pub struct Lent<'a, T> {
    cache: &'a RefCell<MatchCache<T>>,
    place: Place,
    serial: u64,
    pub(crate) targets: Targets<T>,
}

impl<'a, T> Lent<'a, T> {
    #[inline]
    pub(crate) fn of(cache: &'a RefCell<MatchCache<T>>, place: Place) -> Self {
        let (targets, serial) = cache.borrow_mut().lend(place);
        Self { cache, place, serial, targets }
    }

    /// What `topic` matched, if its text lies where it lay before.
    #[inline]
    pub(crate) fn of_same(
        cache: &'a RefCell<MatchCache<T>>,
        generation: Generation,
        topic: &Topic,
    ) -> Option<Self> {
        let (place, targets, serial) = cache.borrow_mut().lend_same(generation, topic)?;
        Some(Self { cache, place, serial, targets })
    }
}

impl<T> Deref for Lent<'_, T> {
    type Target = [Arc<T>];

    #[inline]
    fn deref(&self) -> &[Arc<T>] {
        &self.targets
    }
}

impl<T> Drop for Lent<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let targets = mem::take(&mut self.targets);
        let outdated = self.cache.borrow_mut().give_back(self.place, self.serial, targets);
        // Outside the borrow: this may run destructors of targets, which may look up.
        drop(outdated);
    }
}

impl<T: fmt::Debug> fmt::Debug for Lent<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.targets).finish()
    }
}
