//! The window of a durable subscription: which events it has in hand, and which may start next. No clock, no store, no tasks.
//!
//! An event of the log is in one of these states for the subscription:
//!
//! | state | is | then |
//! |---|---|---|
//! | unfetched | behind the reading position | [`fetched`](Window::fetched) |
//! | startable | in hand, its lane is open to it | [`start`](Window::start) |
//! | held | in hand, an earlier one of its lane is startable or runs | startable when that one is settled, parked when it is parked |
//! | running | with a handler | [`ended`](Window::ended) |
//! | parked | stored with a due time, not in hand | [`take_due`](Window::take_due), [`loaded`](Window::loaded), startable again |
//! | paused | parked unattempted, its channel makes no calls | [`release`](Window::release), due |
//! | parked behind | stored, an earlier one of its lane is parked | parked and due when that one is finished |
//! | settled | finished: nothing is kept of it but its offset | – |
//!
//! A startable event is for one member of the subscription, or for whoever is free: `team` says which. Without a group there is one
//! member.
//!
//! Guarantees, for any sequence of calls: two events of a lane never run at once; an event of a lane starts when all earlier ones
//! of it are settled; every event that was fetched is settled once, or is in the parked rows. Events in hand are bounded by
//! [`room`](Window::room), those that come back from being parked by `LOADS_MAX`.

mod attempts;
mod gone;
mod look;
mod parking;
mod pausing;
mod retries;
mod team;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use busway_event::{Priority, Timestamp};
use busway_persistence::{Attempts, Cursor, Place, Position, Settlement};
use busway_reliability::{KeyHashing, PriorityLimits, Running};
use busway_router::{KeyHash, Share};

use super::lane::NO_LANE;
use super::settlements::Settlements;
use crate::idempotency::KeyDone;
pub(crate) use attempts::Made;
pub(crate) use parking::Due;
pub(crate) use pausing::{LaneOf, Wait};
use retries::Retries;
use team::Team;

/// A moment on both clocks: what is waited for goes by `now`, what is stored by `utc`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) utc: Timestamp,
}

/// See the module. `E` is the event itself.
#[derive(Debug)]
pub(crate) struct Window<E> {
    room: usize,
    parked_max: usize,
    running: Running,
    share: Share,
    partitions: BTreeMap<u32, Reading>,
    lanes: HashMap<(u32, u64), Lane, KeyHashing>,
    /// Startable and held.
    hand: HashMap<Position, InHand<E>, KeyHashing>,
    /// The startable ones, by who may start them.
    team: Team,
    started: HashMap<Position, Begun, KeyHashing>,
    /// Calls with several events, by number. An event is in one such call at most, ever.
    calls: HashMap<u64, attempts::SharedCall>,
    /// How many such calls there were. Not named by one of their events: one that was not attempted may be in another call before this one has
    /// ended.
    call_count: u64,
    parked: BTreeMap<Position, ParkedEvent>,
    /// The parked ones that wait for their time alone.
    due: BTreeSet<(Instant, Position)>,
    /// The parked ones that wait for their channel alone.
    paused: pausing::Paused,
    /// Parked ones that were taken because they are due, and have not ended yet.
    back: usize,
    /// Of those, how many are being read.
    loading: usize,
    /// Counts what came into hand.
    arrivals: u64,
    retries: Retries,
}

/// How far a partition was read.
#[derive(Debug)]
struct Reading {
    /// What was settled when reading began.
    cursor: Cursor,
    next: u64,
    settlements: Settlements,
}

/// A lane that is closed to newcomers.
#[derive(Debug, Default)]
struct Lane {
    /// Behind one that is startable or runs, in order.
    held: VecDeque<Position>,
    /// Offsets that are parked. While there are any, nothing is held.
    parked: BTreeSet<u64>,
}

#[derive(Debug)]
struct InHand<E> {
    event: E,
    priority: Priority,
    arrival: u64,
    home: Option<KeyHash>,
    so_far: Attempted,
}

/// What is known of an event beside itself.
#[derive(Debug, Clone)]
struct Attempted {
    lane: Option<u64>,
    priority: Priority,
    attempts: Attempts,
    count: u32,
    /// Whether the store has a parked row of it.
    is_parked: bool,
    /// Whether it is a dead letter that is given again.
    replay: bool,
    /// When its time to live is over, if it has one.
    expires: Option<Timestamp>,
}

/// An event with a handler.
#[derive(Debug)]
struct Begun {
    so_far: Attempted,
    /// The call that it shares with others, which has one place among those that run until all of it has ended.
    call: Option<u64>,
    /// Its handler is hung: it has no place among those that run.
    is_apart: bool,
}

#[derive(Debug)]
struct ParkedEvent {
    lane: Option<u64>,
    attempts: Attempts,
    count: u32,
    due: Instant,
    /// Whether the retry budget was asked for its next attempt: coming back without having been attempted is no second retry.
    is_granted: bool,
    /// Whether it is a dead letter that is given again: its event lies with the letter.
    replay: bool,
    /// It is to be given up as soon as there is room for its letter: why, and by which handler.
    no_room: Option<Box<(String, String)>>,
}

/// An event as it was read.
#[derive(Debug)]
pub(crate) struct Fetched<E> {
    pub(crate) offset: u64,
    pub(crate) lane: Option<u64>,
    pub(crate) priority: Priority,
    /// What sticks to a member, if anything does.
    pub(crate) home: Option<KeyHash>,
    /// When its time to live is over, if it has one.
    pub(crate) expires: Option<Timestamp>,
    pub(crate) event: E,
}

/// An event that starts now.
#[derive(Debug)]
pub(crate) struct Started<E> {
    pub(crate) place: Position,
    pub(crate) event: E,
    /// Its number, from 1.
    pub(crate) attempt: NonZeroU32,
    /// Whether it is a dead letter that is given again.
    pub(crate) replay: bool,
    /// Whether it has come back from waiting for its channel, and is to ask that: see [`asked`](Window::asked).
    pub(crate) is_released: bool,
    /// When its time to live is over, if it has one.
    pub(crate) expires: Option<Timestamp>,
}

/// What is to become of an event that was started.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is finished.
    Settled,
    /// It is given up and let go, and the letter with it that it may be.
    Discarded,
    /// It is finished, and the store knows: a transaction has settled it.
    Stored,
    /// It is not there any more, and nobody was told of that yet: the store is told when somebody was.
    Gone,
    /// It failed, and is attempted again.
    Park { error: String, delay: Duration },
    /// It was not attempted, and waits for its channel.
    Wait(Wait),
    /// It was not attempted, and is to be behind a delay: nothing is charged to it.
    Later { delay: Duration },
    /// It is given up. `error` is the last attempt's, when that failed.
    Dead { error: Option<String>, reason: String, handler: String },
    /// It is to be given up, and there is no room for its letter: it waits, and its lane with it.
    NoRoom { error: Option<String>, reason: String, handler: String },
}

impl<E> Window<E> {
    /// Nothing is known yet, and nobody is there. As many events as `room` are in hand at most.
    pub(crate) fn new(room: usize, parked_max: usize, running: Running, share: Share) -> Self {
        Self {
            room,
            parked_max,
            running,
            share,
            partitions: BTreeMap::new(),
            lanes: HashMap::default(),
            hand: HashMap::default(),
            team: Team::default(),
            started: HashMap::default(),
            calls: HashMap::new(),
            call_count: 0,
            parked: BTreeMap::new(),
            due: BTreeSet::new(),
            paused: pausing::Paused::default(),
            back: 0,
            loading: 0,
            arrivals: 0,
            retries: Retries::default(),
        }
    }

    /// A member comes, or comes back from a pause.
    pub(crate) fn join(&mut self, member: u64) {
        self.team.join(member);
    }

    /// A member goes, or pauses: what may start and was its own goes to the others. What runs with it goes on, and keeps its lane closed.
    pub(crate) fn part(&mut self, member: u64) {
        self.team.part(member);
    }

    /// Members have come or gone: what fits into the hand, and how many events run at once.
    pub(crate) const fn resize(&mut self, room: usize, limits: PriorityLimits, concurrency: NonZeroU32) {
        self.room = room;
        self.running.set_limits(limits, concurrency);
    }

    /// Takes up where the store says that the subscription stands.
    pub(crate) fn restore(&mut self, places: Vec<Place>, at: Moment) {
        for Place { partition, cursor, parked, redriven } in places {
            for row in parked {
                let wait = parking::wait_of(&row, at.utc);
                let lane = (row.lane != NO_LANE).then_some(row.lane);
                let due = at.now.checked_add(wait).unwrap_or(at.now);
                let place = Position { partition, offset: row.offset };
                let replay = redriven.binary_search(&row.offset).is_ok();
                let (attempts, count) = (row.attempts, row.attempt_count);
                let event =
                    ParkedEvent { lane, attempts, count, due, replay, ..ParkedEvent::unattempted(None, at) };
                self.parked.insert(place, event);
                let first = lane.is_none_or(|lane| {
                    let lane = self.lanes.entry((partition, lane)).or_default();
                    // Rows come in the order of their offsets: the first of a lane goes ahead.
                    lane.parked.insert(row.offset) && lane.parked.len() == 1
                });
                if first {
                    self.due.insert((due, place));
                }
            }
            let next = cursor.low();
            let reading = Reading { cursor, next, settlements: Settlements::default() };
            self.partitions.insert(partition, reading);
        }
    }

    /// Its partitions, and where each is to be read on.
    pub(crate) fn reading(&self) -> Vec<Position> {
        let reading = self.partitions.iter();
        reading.map(|(&partition, reading)| Position { partition, offset: reading.next }).collect()
    }

    /// Events that may be fetched now. None while too many are parked, or while the store is behind with what was decided: events
    /// that are parked at once would fill the memory otherwise.
    pub(crate) fn room(&self) -> usize {
        let mut settlements = self.partitions.values().map(|reading| &reading.settlements);
        match !self.is_parked_full() && settlements.all(|some| some.len() < UNSENT_MAX) {
            true => self.room.saturating_sub(self.hand.len() + self.started.len()),
            false => 0,
        }
    }

    /// A partition was read from its reading position up to `next`: `events` are in order, all others are not wanted.
    pub(crate) fn fetched(&mut self, partition: u32, mut events: Vec<Fetched<E>>, next: u64, at: Moment) {
        let Some(reading) = self.partitions.get_mut(&partition) else { return };
        let mut past = reading.next;
        for event in &events {
            reading.settlements.passed(past, event.offset);
            past = event.offset + 1;
        }
        // Finished in an earlier life, or parked.
        events.retain(|event| !reading.cursor.is_settled(event.offset));
        reading.settlements.passed(past, next);
        reading.next = reading.cursor.next_unsettled(next);
        events.into_iter().for_each(|event| self.admit(partition, event, at));
    }

    fn admit(&mut self, partition: u32, event: Fetched<E>, at: Moment) {
        let Fetched { offset, lane, priority, home, expires, event } = event;
        let place = Position { partition, offset };
        let (attempts, is_parked, replay) = (Attempts::NONE, false, false);
        let so_far = Attempted { lane, priority, attempts, count: 0, is_parked, replay, expires };
        let event = (event, home);
        let Some(number) = lane else { return self.take_in(place, event, so_far, Turn::Now) };
        match self.lanes.get_mut(&(partition, number)) {
            None => {
                self.lanes.insert((partition, number), Lane::default());
                self.take_in(place, event, so_far, Turn::Now);
            }
            Some(lane) if lane.parked.is_empty() => {
                lane.held.push_back(place);
                self.take_in(place, event, so_far, Turn::Later);
            }
            Some(_) => self.park_behind(place, number, at),
        }
    }

    fn take_in(
        &mut self,
        place: Position,
        (event, home): (E, Option<KeyHash>),
        so_far: Attempted,
        turn: Turn,
    ) {
        self.arrivals += 1;
        let (priority, arrival) = (so_far.priority, self.arrivals);
        self.hand.insert(place, InHand { event, priority, arrival, home, so_far });
        if turn == Turn::Now {
            self.turn_comes(place);
        }
    }

    fn turn_comes(&mut self, place: Position) {
        let Some(&InHand { priority, arrival, home, .. }) = self.hand.get(&place) else { return };
        self.team.add(priority, arrival, place, home);
    }

    fn settle(&mut self, partition: u32, note: impl FnOnce(&mut Settlements)) {
        if let Some(reading) = self.partitions.get_mut(&partition) {
            note(&mut reading.settlements);
        }
    }
}

impl<E> Window<E> {
    /// What was decided of a partition since the last call.
    pub(crate) fn take_settlement(&mut self, partition: u32) -> Option<Settlement> {
        self.partitions.get_mut(&partition)?.settlements.take()
    }

    /// The store did not take it.
    pub(crate) fn put_back(&mut self, partition: u32, settlement: Settlement) {
        self.settle(partition, |settlements| settlements.put_back(settlement));
    }

    /// The idempotency key of an event is done with the decision that follows.
    pub(crate) fn key_done(&mut self, partition: u32, done: KeyDone) {
        self.settle(partition, |settlements| settlements.key_done(done));
    }

    /// Events of decisions that the store has not been given.
    pub(crate) fn decided(&self) -> u64 {
        self.partitions.values().map(|reading| reading.settlements.decided()).sum()
    }

    /// Partitions with decisions that the store has not been given.
    pub(crate) fn unsent(&self) -> Vec<u32> {
        let unsent = self.partitions.iter().filter(|(_, reading)| !reading.settlements.is_empty());
        unsent.map(|(&partition, _)| partition).collect()
    }
}

/// When an event that comes into hand may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Now,
    Later,
}

/// Decisions about a partition that wait for the store while events are still fetched.
const UNSENT_MAX: usize = 4_096;

#[cfg(test)]
mod tests;
