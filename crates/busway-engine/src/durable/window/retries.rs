//! What waits beside its time: retries that are over the budget, events without room for their letters, and dead letters that are given again.

use std::collections::BTreeSet;
use std::time::Instant;

use busway_persistence::Position;
use busway_reliability::{RetryBudget, RetryMeter};

use super::{Due, Moment, ParkedEvent, Window};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Retries {
    meter: Option<RetryMeter>,
    /// Parked events that are due, and over the budget.
    over: BTreeSet<(Instant, Position)>,
    /// When some of them may be within it.
    opens: Option<Instant>,
    /// Parked events without room for their letters.
    no_room: usize,
}

impl Retries {
    /// When the budget is to be asked again.
    pub(super) fn opens(&self) -> Option<Instant> {
        self.opens.filter(|_| !self.over.is_empty())
    }

    /// A first attempt has ended.
    pub(super) fn attempted(&mut self, now: Instant) {
        if let Some(meter) = &mut self.meter {
            meter.attempted(now);
        }
    }

    /// Whether one more retry is within the budget.
    fn is_within(&mut self, now: Instant) -> bool {
        let Some(meter) = &mut self.meter else { return true };
        let granted = meter.try_retry(now);
        self.opens = granted.err();
        granted.is_ok()
    }
}

impl<E> Window<E> {
    /// As many retries as a budget allows. Without one: all.
    pub(crate) fn set_budget(&mut self, budget: Option<RetryBudget>) {
        self.retries.meter = budget.map(RetryMeter::new);
    }

    /// The next parked event whose time has come, taken out of what is due. Retries over the budget are put aside.
    pub(super) fn next_due_of(&mut self, now: Instant) -> Option<Due> {
        if let Some(&(due, place)) = self.retries.over.first()
            && self.retries.opens.is_none_or(|opens| opens <= now)
            && self.retries.is_within(now)
        {
            self.retries.over.remove(&(due, place));
            if let Some(parked) = self.parked.get_mut(&place) {
                parked.is_granted = true;
                return Some(parked.due_at(place));
            }
        }
        while let Some(&(due, place)) = self.due.first()
            && due <= now
        {
            self.due.pop_first();
            let Some(parked) = self.parked.get_mut(&place) else { continue };
            // What waits behind another event, or for room, is not attempted again by coming back.
            let is_retry = parked.count > 0 && !parked.is_granted && parked.no_room.is_none();
            if !is_retry || self.retries.is_within(now) {
                parked.is_granted |= is_retry;
                return Some(parked.due_at(place));
            }
            self.retries.over.insert((due, place));
        }
        None
    }

    /// Whether the next attempt of a parked event has its part of the budget.
    pub(super) fn set_granted(&mut self, place: Position, is_granted: bool) {
        if let Some(parked) = self.parked.get_mut(&place) {
            parked.is_granted = is_granted;
        }
    }

    /// Why an event is to be given up, and by which handler, when it waits for room for its letter.
    pub(crate) fn waits_for_room(&self, place: Position) -> Option<(String, String)> {
        self.parked.get(&place)?.no_room.as_deref().cloned()
    }

    pub(super) fn wait_for_room(&mut self, place: Position, reason: String, handler: String) {
        if let Some(parked) = self.parked.get_mut(&place) {
            self.retries.no_room += usize::from(parked.no_room.is_none());
            parked.no_room = Some(Box::new((reason, handler)));
        }
    }

    pub(super) fn no_longer_parked(&mut self, place: Position) {
        let parked = self.parked.remove(&place);
        self.left(parked);
    }

    /// Parks an event, or again one that is parked.
    pub(super) fn keep_parked(&mut self, place: Position, waiting: ParkedEvent) {
        let before = self.parked.insert(place, waiting);
        self.left(before);
    }

    fn left(&mut self, parked: Option<ParkedEvent>) {
        self.retries.no_room -= usize::from(parked.is_some_and(|parked| parked.no_room.is_some()));
    }

    /// A dead letter is given again: parked in the store, due now, behind what runs of its lane, and before what waits there: its offset is lower. One
    /// that is known already, or lies in a partition that is not read, is left as it is.
    pub(crate) fn redriven(&mut self, place: Position, lane: Option<u64>, at: Moment) {
        let is_known = self.parked.contains_key(&place)
            || self.hand.contains_key(&place)
            || self.started.contains_key(&place);
        if is_known || !self.partitions.contains_key(&place.partition) {
            return;
        }
        self.parked.insert(place, ParkedEvent { replay: true, ..ParkedEvent::unattempted(lane, at) });
        let is_free = lane.is_none_or(|lane| {
            let is_new = !self.lanes.contains_key(&(place.partition, lane));
            self.lanes.entry((place.partition, lane)).or_default().parked.insert(place.offset);
            is_new
        });
        if is_free {
            self.due.insert((at.now, place));
        }
        // Of a lane with a parked event nothing is held: what comes later would overtake it.
        if let Some(lane) = lane {
            self.park_held(place, lane, at);
        }
    }

    /// Retries that are over the budget, and events without room for their letters.
    pub(crate) fn held_back(&self) -> (usize, usize) {
        (self.retries.over.len(), self.retries.no_room)
    }
}
