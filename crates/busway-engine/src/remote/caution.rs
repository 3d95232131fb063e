//! What is asked of a broker that counts deliveries and not attempts.
//!
//! A process dies with all that it has in hand, and the broker charges all of it: the event that kills, and those that only waited behind it. So that the others do not come to
//! their last delivery beside it,
//! - the first event of a member is asked for alone, and so is the next after one that was delivered suspiciously often;
//! - none is asked for while one of those is attempted here for the first time, [`ack_wait`](super::RemoteBuilder::ack_wait) long at most;
//! - of events that come in a row and were all delivered too often the first is given up: it was at work, and the others are attempted.
//!
//! The last is for brokers that give more than is asked for now: what was asked for before comes all the same.

use std::time::Instant;

/// What a member remembers between two answers of its broker.
#[derive(Debug)]
pub(super) struct Caution {
    is_careful: bool,
    /// Since when none is asked for, because of those that came last.
    stopped: Option<Instant>,
    /// Gave up the first of a row.
    is_in_row: bool,
}

impl Caution {
    pub(super) const fn new() -> Self {
        Self { is_careful: true, stopped: None, is_in_row: false }
    }

    /// How many of `room` are asked for.
    pub(super) fn of(&self, room: usize) -> usize {
        if self.is_careful { room.min(1) } else { room }
    }

    /// Something has come; whether any of it is suspicious.
    pub(super) const fn came(&mut self, is_suspicious: bool) {
        self.is_careful = is_suspicious;
        self.stopped = None;
    }

    /// None is asked for now, because of those that came last. Since when that is so: looked at again and again meanwhile, it stays what it was.
    pub(super) fn stopped_since(&mut self, now: Instant) -> Instant {
        *self.stopped.get_or_insert(now)
    }

    /// Whether an event is given up, of which it is said whether it was delivered too often.
    pub(super) const fn gives_up(&mut self, is_worn_out: bool) -> bool {
        let is_first = is_worn_out && !self.is_in_row;
        self.is_in_row = is_worn_out;
        is_first
    }
}

/// An event that comes oftener was in hand at two deaths.
pub(super) const UNSUSPICIOUS_MAX: u32 = 2;
