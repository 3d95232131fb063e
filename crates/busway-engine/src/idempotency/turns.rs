//! Whose turn it is: which keys are at work in this process, and who waits for them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use busway_event::AnyEvent;
use busway_persistence::Position;
use busway_reliability::{IdempotencyKey, Ledger};

use super::Keeper;
use super::stats::TurnCounts;

/// See the module.
pub(super) struct Turns {
    /// Leases of this process; with the bus's own store, what is done too.
    pub(super) ledger: Ledger,
    /// Parked events that wait for a key to be let go.
    pub(super) waiting: HashMap<IdempotencyKey, BTreeSet<Position>>,
    /// Numbers the attempts.
    pub(super) epochs: u64,
    pub(super) counts: TurnCounts,
}

impl Turns {
    pub(super) const fn next_epoch(&mut self) -> u64 {
        let epoch = self.epochs;
        self.epochs += 1;
        epoch
    }

    /// It looks for itself now: left there, it would be woken by what it lets go itself.
    #[inline]
    pub(super) fn waits_no_more(&mut self, key: IdempotencyKey, place: Position) {
        // As a rule.
        if self.waiting.is_empty() {
            return;
        }
        if let Entry::Occupied(mut waiting) = self.waiting.entry(key) {
            waiting.get_mut().remove(&place);
            if waiting.get().is_empty() {
                waiting.remove();
            }
        }
    }

    /// In the order of the log.
    #[inline]
    pub(super) fn take_waiting(&mut self, key: IdempotencyKey, waiters: Waiters) -> Vec<Position> {
        match self.waiting.is_empty() {
            // As a rule.
            true => Vec::new(),
            false => self.take_some_waiting(key, waiters),
        }
    }

    #[cold]
    fn take_some_waiting(&mut self, key: IdempotencyKey, waiters: Waiters) -> Vec<Position> {
        match waiters {
            Waiters::None => Vec::new(),
            Waiters::All => self.waiting.remove(&key).unwrap_or_default().into_iter().collect(),
            Waiters::Next => {
                let Entry::Occupied(mut waiting) = self.waiting.entry(key) else { return Vec::new() };
                let next = waiting.get_mut().pop_first();
                if waiting.get().is_empty() {
                    waiting.remove();
                }
                next.into_iter().collect()
            }
        }
    }
}

impl Keeper {
    /// The event at `place` is decided without having asked for its key. Nobody lets that go behind it, so that whoever waits for it has the turn now that may have been this one's:
    /// the key, unless an attempt has it, and who is next.
    pub(crate) fn pass_on(
        &self,
        event: &AnyEvent,
        place: Position,
        now: Instant,
    ) -> Option<(IdempotencyKey, Vec<Position>)> {
        // What has no key waits for none.
        let key = self.source.key(event).ok()?;
        let mut turns = self.turns.lock();
        turns.waits_no_more(key, place);
        let is_free = !turns.ledger.is_leased(key, now);
        is_free.then(|| (key, turns.take_waiting(key, Waiters::Next)))
    }

    /// Tells those who wait for a key where they are. Who waits for the bus's own store is parked.
    #[inline]
    pub(super) fn tell_of_change(&self) {
        if !self.is_in_own_store() {
            self.changed.notify_waiters();
        }
    }

    /// Who was to be next does not wait any more: who is behind it.
    pub(crate) fn next_waiting(&self, key: IdempotencyKey) -> Vec<Position> {
        self.turns.lock().take_waiting(key, Waiters::Next)
    }
}

/// Who of those that wait for a key has its turn when it is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiters {
    None,
    Next,
    All,
}
