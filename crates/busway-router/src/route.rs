//! Routes: one target under one filter, and the identity by which it is removed again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names one insertion into a [`Router`](crate::Router).
///
/// Ids grow in the order of insertion, which is the order of targets in every match. An id is never used twice in a
/// process, not even by another router, so an old or foreign one removes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(u64);

impl RouteId {
    /// Called under the writers' lock, so that within a router the order of ids is the order of insertion.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only uniqueness is asked of it, and the lock orders the callers that share a router.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {}", self.0)
    }
}

/// What the tables hold for one insertion.
pub(crate) struct Route<T> {
    pub(crate) id: RouteId,
    pub(crate) target: Arc<T>,
}

impl<T> Clone for Route<T> {
    fn clone(&self) -> Self {
        Self { id: self.id, target: Arc::clone(&self.target) }
    }
}
