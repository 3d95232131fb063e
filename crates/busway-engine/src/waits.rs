//! Counting those that wait.

use std::sync::atomic::{AtomicU64, Ordering};

/// One that waits: counted for as long as this is held.
#[derive(Debug)]
pub(crate) struct Waits<'a>(&'a AtomicU64);

impl<'a> Waits<'a> {
    pub(crate) fn new(waiting: &'a AtomicU64) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
