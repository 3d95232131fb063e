//! How often the subscription table has changed, and why a cached match can trust the count.
//!
//! A writer first makes its new snapshot visible and then advances the generation (`Release`). A reader first reads the
//! generation (`Acquire`), then takes the snapshot, and stamps what it finds with the generation it read. So:
//!
//! - *A stamp is never newer than what was seen.* Whoever reads generation g also sees the snapshot of g, or a later one.
//!   A later one stamped g is recomputed once for nothing, which is harmless; an earlier one cannot be stamped g.
//! - *A change that has returned is seen.* Once `insert` or `remove` has returned, every lookup that happens after it
//!   reads its generation or a later one, and no result stamped before passes the comparison.
//!
//! Read the other way round, snapshot first, a reader could take the old snapshot, be overtaken by a writer, read the new
//! generation and so keep a match without the new subscription until the next change.

use std::sync::atomic::{AtomicU64, Ordering};

/// A state of a router's table: advanced by every insertion and removal, never repeated.
///
/// Equal generations of one router mean equal matches. Generations of different routers say nothing about each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(u64);

/// The one word that every lookup reads. Written under the writers' lock only.
#[derive(Debug, Default)]
pub(crate) struct GenerationClock(AtomicU64);

impl GenerationClock {
    /// To be called before the snapshot is taken.
    #[inline]
    pub(crate) fn read(&self) -> Generation {
        Generation(self.0.load(Ordering::Acquire))
    }

    /// To be called after the new snapshot has become visible.
    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}
