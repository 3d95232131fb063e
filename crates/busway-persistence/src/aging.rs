//! Aging: by which time it is judged how old something is: what retention lets go, and which ids that
//! publishers gave and which keys of idempotency are remembered.
//!
//! The store has no clock. It goes by the latest time that an event or a caller brought, and never later than it was told to: who has a monotonic
//! clock beside the wall clock knows when that is ahead, and says so.

use std::sync::atomic::{AtomicI64, Ordering};

use busway_event::Timestamp;

use crate::store::Store;
use crate::writer::Request;

/// What nothing is judged to be older than, in nanoseconds. Written by any thread, read by the writer: one number, with nothing behind it.
#[derive(Debug)]
pub(crate) struct AgedAtMost(AtomicI64);

impl Default for AgedAtMost {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

impl AgedAtMost {
    /// The time that age is judged by, when it seems to be `now`.
    #[inline]
    pub(crate) fn bound(&self, now: Timestamp) -> Timestamp {
        now.min(Timestamp::from_nanos(self.0.load(Ordering::Relaxed)))
    }
}

impl Store {
    /// Lets go what is older than its stream keeps it at this time. Appends do so too, by their own times; this is for times
    /// when nobody appends. Waits while the writer is busy.
    pub fn retain(&self, now: Timestamp) {
        self.ask(Request::Retain(now));
    }

    /// From now on, until it is called again, nothing is judged to be older than it is at `time`, whatever later times events and
    /// callers bring: those of a wall clock that is ahead let no events, no ids and no [keys](crate::DoneKeys) go too early. Until it is called the first time
    /// there is no such bound.
    pub fn age_at_most(&self, time: Timestamp) {
        self.shared.aged_at_most.0.store(time.as_nanos(), Ordering::Relaxed);
    }
}
