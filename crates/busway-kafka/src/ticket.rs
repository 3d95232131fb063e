//! Waiting until the broker has heard that something is settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// What becomes of what was settled in a partition. Written under the desk's lock, read by who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Changes that the broker has heard of.
    pub(crate) told: AtomicU64,
    /// Behind the last offset of which it can have heard.
    pub(crate) reach: AtomicI64,
    pub(crate) is_over: AtomicBool,
}

/// By this one who has settled something waits until the broker has heard of it.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) fate: Arc<Fate>,
    pub(crate) change: u64,
    pub(crate) offset: i64,
}

/// Whether the broker has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Yes,
    NotYet,
    /// It has not, and it will not: the partition is somebody else's.
    Never,
}

impl Ticket {
    pub(crate) fn heard(&self) -> Heard {
        let is_over = self.fate.is_over.load(Ordering::SeqCst);
        let is_told = self.fate.told.load(Ordering::SeqCst) >= self.change;
        match is_told && self.fate.reach.load(Ordering::SeqCst) > self.offset {
            true => Heard::Yes,
            false if is_over => Heard::Never,
            false => Heard::NotYet,
        }
    }
}
