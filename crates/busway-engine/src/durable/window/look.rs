//! What can be seen of a window: what may start, what it holds, whether it is at rest.

use std::time::Instant;

use busway_event::Priority;
use busway_persistence::Position;

use super::Window;

impl<E> Window<E> {
    /// Events that may start as soon as there is a place for them.
    pub(crate) fn startable(&self) -> usize {
        self.team.len()
    }

    /// Whether anything may start, with whoever.
    pub(crate) fn may_start(&self) -> bool {
        self.at_some_priority(|priority| self.team.has_any(priority))
    }

    /// Whether something may start that is for whoever is free.
    pub(crate) fn has_shared(&self) -> bool {
        self.at_some_priority(|priority| self.team.has_shared(priority))
    }

    /// Whether something may start that sticks to this member.
    pub(crate) fn has_own(&self, member: u64) -> bool {
        self.at_some_priority(|priority| self.team.has_own(member, priority))
    }

    pub(super) fn at_some_priority(&self, waits: impl Fn(Priority) -> bool) -> bool {
        Priority::ALL.into_iter().any(|priority| waits(priority) && self.running.has_room(priority))
    }

    /// Whether nothing is in hand, runs or is due.
    pub(crate) fn is_at_rest(&self, now: Instant) -> bool {
        let is_due = self.due.first().is_some_and(|(due, _)| *due <= now);
        self.hand.is_empty() && self.started.is_empty() && self.back == 0 && !is_due
    }

    /// Events with a handler, in hand without one, and parked without being in hand; one that is being read is parked still.
    pub(crate) fn counts(&self) -> [usize; 3] {
        let in_hand_again = self.back.saturating_sub(self.loading);
        [self.started.len(), self.hand.len(), self.parked.len().saturating_sub(in_hand_again)]
    }

    /// Events that are parked, those that are in hand again included; and how many may be.
    pub(crate) fn parked(&self) -> (usize, usize) {
        (self.parked.len(), self.parked_max)
    }

    /// Whether as many are parked as may be: nothing is read until some have come to their end, which their time or somebody else has to bring about.
    pub(crate) fn is_parked_full(&self) -> bool {
        self.parked.len() >= self.parked_max
    }

    /// The lowest offset of each partition that is not settled: of an event that was fetched, or the next to be.
    pub(crate) fn lowest_unsettled(&self) -> Vec<Position> {
        let in_hand = || self.hand.keys().chain(self.started.keys());
        let lowest = |next: Position| {
            let parked = self.parked.range(Position { offset: 0, ..next }..next).next();
            let in_hand = in_hand().filter(|place| place.partition == next.partition);
            in_hand.chain(parked.map(|(place, _)| place)).copied().min().unwrap_or(next).min(next)
        };
        self.reading().into_iter().map(lowest).collect()
    }
}
