//! Parking: events that failed and wait for another attempt, and those of their lanes that wait behind them.

use std::time::{Duration, Instant};

use busway_event::{Priority, Timestamp};
use busway_persistence::{Attempts, DeadLetter, Parked, Position};
use busway_router::KeyHash;

use super::{Attempted, Moment, ParkedEvent, Turn, Verdict, Window};
use crate::clock::WAIT_MAX;
use crate::durable::lane::NO_LANE;
use crate::durable::settlements::Settlements;

impl<E> Window<E> {
    /// Parks an event unattempted: an earlier one of its lane is parked.
    pub(super) fn park_behind(&mut self, place: Position, lane: u64, at: Moment) {
        if let Some(closed) = self.lanes.get_mut(&(place.partition, lane)) {
            closed.parked.insert(place.offset);
        }
        self.parked.insert(place, ParkedEvent::unattempted(Some(lane), at));
        let (attempts, attempt_count) = (Attempts::NONE, 0);
        let row = Parked { offset: place.offset, due: at.utc, lane, attempts, attempt_count };
        self.settle(place.partition, |settlements| settlements.parked_behind(row));
    }

    /// Parked events that are due: to be read again and given back by [`loaded`](Self::loaded).
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Due> {
        let mut taken = Vec::new();
        while self.back < LOADS_MAX
            && let Some(due) = self.next_due_of(now)
        {
            self.back += 1;
            self.loading += 1;
            taken.push(due);
        }
        taken
    }

    /// A parked event that was taken because it is due is in hand again.
    pub(crate) fn loaded(
        &mut self,
        place: Position,
        (priority, expires): (Priority, Option<Timestamp>),
        (event, home): (E, Option<KeyHash>),
    ) {
        self.loading = self.loading.saturating_sub(1);
        let Some(so_far) = self.attempted(place, priority, expires) else { return };
        self.take_in(place, (event, home), so_far, Turn::Now);
    }

    /// A parked event that was taken because it is due cannot be had any more: finished, as the verdict says.
    pub(crate) fn lost(&mut self, place: Position, verdict: Verdict, at: Moment) {
        self.loading = self.loading.saturating_sub(1);
        let Some(so_far) = self.attempted(place, Priority::default(), None) else { return };
        self.decide(place, so_far, verdict, at);
    }

    /// What is known of a parked event that is in hand again. Its history goes with it, and comes back with what is decided: then there is one, and the next attempt
    /// is noted in it.
    fn attempted(
        &mut self,
        place: Position,
        priority: Priority,
        expires: Option<Timestamp>,
    ) -> Option<Attempted> {
        let parked = self.parked.get_mut(&place)?;
        let ParkedEvent { lane, count, replay, .. } = *parked;
        let attempts = std::mem::take(&mut parked.attempts);
        Some(Attempted { lane, priority, attempts, count, is_parked: true, replay, expires })
    }

    /// A parked event that was taken because it is due cannot be read now: it is due again later.
    pub(crate) fn not_loaded(&mut self, place: Position, until: Instant) {
        self.loading = self.loading.saturating_sub(1);
        self.back = self.back.saturating_sub(1);
        self.due.insert((until, place));
    }

    /// When the next parked event is due; `None` when none is waited for.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let due = self.due.first().map(|(due, _)| *due);
        [due, self.retries.opens()].into_iter().flatten().min().filter(|_| self.back < LOADS_MAX)
    }

    /// What a parked event waits for has come before its time: it is due now, if it waits for that alone. `false`: it is not parked any more.
    pub(crate) fn wake(&mut self, place: Position, now: Instant) -> bool {
        let Some(parked) = self.parked.get_mut(&place) else { return false };
        if self.due.remove(&(parked.due, place)) {
            parked.due = now;
            self.due.insert((now, place));
        }
        true
    }

    pub(super) fn decide(&mut self, place: Position, mut so_far: Attempted, verdict: Verdict, at: Moment) {
        let Position { partition, offset } = place;
        self.asked(place);
        self.back -= usize::from(so_far.is_parked);
        match verdict {
            Verdict::Settled => {
                self.settle(partition, |settlements| match so_far.is_parked {
                    true => settlements.released(offset),
                    false => settlements.settled(offset, offset + 1),
                });
                self.finish(place, so_far.is_parked, so_far.lane);
            }
            Verdict::Discarded => {
                self.settle(partition, |settlements| match so_far.is_parked {
                    true => settlements.discarded(offset),
                    false => settlements.settled(offset, offset + 1),
                });
                self.finish(place, so_far.is_parked, so_far.lane);
            }
            Verdict::Stored | Verdict::Gone => self.finish(place, so_far.is_parked, so_far.lane),
            Verdict::Dead { error, reason, handler } => {
                if let Some(error) = error {
                    so_far.note(at.utc, error);
                }
                let Attempted { lane, is_parked, attempts, count: attempt_count, .. } = so_far;
                let letter = DeadLetter { offset, at: at.utc, reason, handler, attempts, attempt_count };
                self.settle(partition, |settlements| settlements.dead(letter));
                self.finish(place, is_parked, lane);
            }
            Verdict::Later { delay } => {
                let is_granted = so_far.count > 0;
                self.park(place, so_far, delay.min(WAIT_MAX), (at, Settlements::parked_behind));
                self.set_granted(place, is_granted);
            }
            Verdict::Park { error, delay } => {
                so_far.note(at.utc, error);
                self.park(place, so_far, delay.min(WAIT_MAX), (at, Settlements::parked));
            }
            Verdict::NoRoom { error, reason, handler } => {
                if let Some(error) = error {
                    so_far.note(at.utc, error);
                }
                self.park(place, so_far, ROOM_AGAIN_AFTER, (at, Settlements::parked));
                self.wait_for_room(place, reason, handler);
            }
            Verdict::Wait(wait) => self.wait(place, so_far, wait, at),
        }
    }

    /// `note` says whether that is the end of an attempt: what was not attempted is no progress of its process.
    fn park(
        &mut self,
        place: Position,
        so_far: Attempted,
        delay: Duration,
        (at, note): (Moment, fn(&mut Settlements, Parked)),
    ) {
        let Position { partition, offset } = place;
        let Attempted { lane, attempts, count, replay, is_parked, .. } = so_far;
        let row = Parked {
            offset,
            due: at.utc.saturating_add(delay),
            lane: lane.unwrap_or(NO_LANE),
            attempts: attempts.clone(),
            attempt_count: count,
        };
        self.settle(partition, |settlements| note(settlements, row));
        let due = at.now.checked_add(delay).unwrap_or(at.now);
        let waiting =
            ParkedEvent { lane, attempts, count, due, replay, ..ParkedEvent::unattempted(lane, at) };
        self.keep_parked(place, waiting);
        self.due.insert((due, place));
        // One that was parked already has its place in its lane, of which nothing is held since.
        if let Some(number) = lane.filter(|_| !is_parked) {
            self.park_held(place, number, at);
        }
    }

    /// Closes the lane of an event that is parked: those that are held behind it are parked too.
    pub(super) fn park_held(&mut self, place: Position, number: u64, at: Moment) {
        let held = match self.lanes.get_mut(&(place.partition, number)) {
            Some(lane) => {
                lane.parked.insert(place.offset);
                std::mem::take(&mut lane.held)
            }
            None => return,
        };
        for behind in held {
            self.hand.remove(&behind);
            self.park_behind(behind, number, at);
        }
    }

    /// An event is finished: the next one of its lane has its turn.
    pub(super) fn finish(&mut self, place: Position, is_parked: bool, lane: Option<u64>) {
        if is_parked {
            self.no_longer_parked(place);
        }
        let Some(number) = lane else { return };
        let Some(lane) = self.lanes.get_mut(&(place.partition, number)) else { return };
        lane.parked.remove(&place.offset);
        if let Some(&offset) = lane.parked.first() {
            let next = Position { partition: place.partition, offset };
            if let Some(parked) = self.parked.get(&next) {
                self.due.insert((parked.due, next));
            }
        } else if let Some(next) = lane.held.pop_front() {
            self.turn_comes(next);
        } else {
            self.lanes.remove(&(place.partition, number));
        }
    }
}

/// A parked event whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) place: Position,
    /// Whether it is a dead letter that is given again: its event lies with the letter.
    pub(crate) is_replay: bool,
    /// Whether it is to be given up, as soon as there is room for its letter.
    pub(crate) lacks_room: bool,
}

impl ParkedEvent {
    pub(super) const fn due_at(&self, place: Position) -> Due {
        Due { place, is_replay: self.replay, lacks_room: self.no_room.is_some() }
    }

    pub(super) const fn unattempted(lane: Option<u64>, at: Moment) -> Self {
        Self {
            lane,
            attempts: Attempts::NONE,
            count: 0,
            due: at.now,
            is_granted: false,
            replay: false,
            no_room: None,
        }
    }
}

/// How long a row that was stored still waits. What was noted later than now, by more than clocks are apart, was noted by a clock that was wrong. The wait
/// behind an attempt begins anew then. What was not attempted waits for others of its lane, or for something that it asks for again when it comes
/// back: nothing more is waited for.
pub(super) fn wait_of(row: &Parked, utc: Timestamp) -> Duration {
    let wait = row.due.saturating_since(utc).min(WAIT_MAX);
    let ahead = utc.saturating_add(CLOCKS_APART);
    match row.attempts.last() {
        Some(last) if last.at > ahead => wait.min(row.due.saturating_since(last.at)),
        None if row.due > ahead => Duration::ZERO,
        _ => wait,
    }
}

impl Attempted {
    /// Notes an attempt that failed.
    fn note(&mut self, at: Timestamp, error: String) {
        self.count = self.count.saturating_add(1);
        self.attempts.note(at, error);
    }
}

/// An event that is to be given up, when there is no room for its letter, is looked at again behind this.
pub(super) const ROOM_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A correction of a clock within this is what clocks do: as for what waits in the schedule.
const CLOCKS_APART: Duration = Duration::from_secs(3_600);

/// Parked events that are in hand again at one time, beside the [`room`](Window::room): whoever was parked must not wait for
/// newcomers to leave.
const LOADS_MAX: usize = 64;
