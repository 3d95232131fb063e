//! What members of a group have counted that have left it.

use std::sync::Arc;

use crate::idempotency::{IdempotencyStats, Keeper};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Those who may count on: an attempt that ran when its member left, or an heir.
    keepers: Vec<Arc<Keeper>>,
    /// Of all others together.
    counted: Option<IdempotencyStats>,
}

impl Left {
    /// A member leaves.
    pub(super) fn add(&mut self, keeper: Option<&Arc<Keeper>>) {
        self.settle();
        self.keepers.extend(keeper.cloned());
    }

    /// What they have counted, together with those that are there. Who has inherited the keys of another one counts on where that one was.
    pub(super) fn with<'a>(
        &'a mut self,
        there: impl Iterator<Item = &'a Arc<Keeper>>,
    ) -> Option<IdempotencyStats> {
        self.settle();
        let mut all: Vec<&Arc<Keeper>> = there.chain(&self.keepers).collect();
        all.sort_unstable_by_key(|keeper| Arc::as_ptr(keeper));
        all.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let all = all.into_iter().map(|keeper| keeper.stats());
        self.counted.into_iter().chain(all).reduce(IdempotencyStats::and)
    }

    /// Keeps of those that nobody else has what they have counted, and no more.
    fn settle(&mut self) {
        let Self { keepers, counted } = self;
        keepers.retain(|keeper| {
            let is_used = Arc::strong_count(keeper) > 1;
            if !is_used {
                *counted = Some(counted.unwrap_or_default().and(keeper.stats()));
            }
            is_used
        });
    }
}
