//! What a member has in its hands: events of its partitions that are not settled, and where each of them is.
//!
//! | stage | |
//! |---|---|
//! | ready | read, and not handed over |
//! | waits | put off until a time |
//! | out | handed over, until its time is over: then it is ready again, as another delivery |
//!
//! What was put off, given back or not settled in time holds the later events of its key back until it is settled; those that are out already are not called back. Where members have
//! died of a partition, what is next of it is out alone ([`care`](crate::care)). Nothing here waits, asks a broker, or reads a clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use busway_engine::transport::{DeliveryId, Received, Unreadable};
use busway_event::{AnyEvent, Filter};
use tokio::time::Instant;

use crate::care::{Said, Span};
use crate::gap::Read;
use crate::message::Record;
use crate::part::{Change, Kind, Part, Place};
use crate::ticket::Ticket;

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    filter: Filter,
    limits: Limits,
    parts: BTreeMap<Place, Part>,
    /// Deliveries that are out, and by the time that each of them has.
    out: HashMap<u64, Out>,
    times: BTreeSet<(Instant, u64)>,
    next_id: u64,
    next_serial: u64,
    turn: usize,
    /// Something was charged, and is handed over when the broker has heard of it.
    is_urgent: bool,
}

/// A delivery that is out.
#[derive(Debug)]
struct Out {
    place: Place,
    offset: i64,
    until: Instant,
}

/// What became of a record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) is_kept: bool,
    /// The log of its partition was made anew: who has settled something of the old one is to look at once.
    pub(crate) is_anew: bool,
}

/// What is kept at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) in_flight: usize,
    /// Of a partition: see [`crate::gap`].
    pub(crate) gap: u64,
    /// Of all partitions of the stream together.
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    /// Of a topic of retries, beside those: what waits there holds up no event of the stream.
    pub(crate) retries: usize,
}

impl Desk {
    pub(crate) fn new(filter: Filter, limits: Limits) -> Self {
        Self {
            filter,
            limits,
            parts: BTreeMap::new(),
            out: HashMap::new(),
            times: BTreeSet::new(),
            next_id: 0,
            next_serial: 0,
            turn: 0,
            is_urgent: false,
        }
    }

    /// A partition is this member's, from a position on, with what was settled above it.
    pub(crate) fn assign(&mut self, place: Place, kind: Kind, position: i64, settled: Vec<i64>) {
        self.next_serial += 1;
        self.revoke(&place);
        self.parts.insert(place, Part::new(self.next_serial, kind, position, settled));
    }

    /// What was said of those who had a partition before this member, which takes it up, and where its log ends, if that was asked.
    pub(crate) fn take_up(&mut self, place: &Place, said: Said, end: Option<i64>) {
        let span =
            Span { least: u64::try_from(self.limits.in_flight).unwrap_or(u64::MAX), most: self.limits.gap };
        if let Some(part) = self.parts.get_mut(place) {
            part.take_up(said, span, end);
        }
    }

    /// The number of the partition that was assigned last.
    pub(crate) const fn last_serial(&self) -> u64 {
        self.next_serial
    }

    /// A commit of all that was changed was tried, of partitions that were assigned up to this one.
    pub(crate) fn open(&mut self, serial: u64) {
        self.parts.values_mut().for_each(|part| part.open(serial));
    }

    /// The member leaves these, and is alive.
    pub(crate) fn leave(&mut self, places: &[Place]) {
        for place in places {
            if let Some(part) = self.parts.get_mut(place) {
                part.leave();
            }
        }
    }

    /// Whether something of these is to be committed.
    pub(crate) fn is_changed(&self, of: &[Place]) -> bool {
        of.iter().filter_map(|place| self.parts.get(place)).any(Part::is_changed)
    }

    /// Whether the next commit has no time, for something is handed over behind it. Once.
    pub(crate) fn is_urgent(&mut self) -> bool {
        std::mem::take(&mut self.is_urgent)
    }

    /// Whether something is handed over only when a commit was heard, or tried.
    pub(crate) fn is_awaiting(&self) -> bool {
        self.parts.values().any(Part::is_awaited)
    }

    /// Which of these partitions are paused.
    pub(crate) fn paused(&self, of: &[Place]) -> Vec<Place> {
        let is_paused = |place: &&Place| self.parts.get(place).is_some_and(|part| part.is_paused);
        of.iter().filter(is_paused).cloned().collect()
    }

    /// A partition is not this member's any more: what was out of it is gone.
    pub(crate) fn revoke(&mut self, place: &Place) {
        if let Some(part) = self.parts.remove(place) {
            part.end();
        }
        self.forget_all(place);
    }

    /// What is out of a partition is out no more.
    fn forget_all(&mut self, of: &Place) {
        let times = &mut self.times;
        self.out.retain(|id, out| {
            let is_kept = out.place != *of;
            if !is_kept {
                times.remove(&(out.until, *id));
            }
            is_kept
        });
    }

    fn forget(&mut self, id: u64) -> Option<Out> {
        let out = self.out.remove(&id)?;
        self.times.remove(&(out.until, id));
        Some(out)
    }

    /// All of them.
    pub(crate) fn revoke_all(&mut self) {
        let places: Vec<_> = self.parts.keys().cloned().collect();
        places.iter().for_each(|place| self.revoke(place));
    }

    /// A record was read of a partition, which is this event or none. It waits until `due`, if it is told so; what is not meant for this subscription is settled by itself.
    pub(crate) fn arrived(
        &mut self,
        place: &Place,
        record: Record,
        event: Result<AnyEvent, Box<Unreadable>>,
        due: Option<Instant>,
        attempt: u32,
        is_meant: bool,
    ) -> Arrival {
        let left = Arrival { is_kept: false, is_anew: false };
        let Some(mut part) = self.parts.get_mut(place) else { return left };
        let offset = record.offset;
        let mut read = part.gap.read(offset);
        let is_anew = read == Read::Reset;
        let left = Arrival { is_anew, ..left };
        if is_anew {
            let (topic, partition, position) = (&place.topic, place.partition, part.gap.position());
            tracing::warn!(
                %topic, partition, position, offset,
                "the log is read from below what was settled: it was cut or made anew, and what is there now is delivered, settled or not"
            );
            self.next_serial += 1;
            part.restart(self.next_serial, offset);
            read = part.gap.read(offset);
            self.forget_all(place);
            let Some(anew) = self.parts.get_mut(place) else { return left };
            part = anew;
        }
        match read {
            Read::Again | Read::Reset => return left,
            Read::Settled => {
                part.changed += 1;
                return left;
            }
            Read::New => {}
        }
        let is_wanted = event.as_ref().map_or(true, |event| self.filter.matches(event.topic()));
        if !is_meant || !is_wanted {
            part.gap.settle(offset);
            part.changed += 1;
            return left;
        }
        part.put(record, event, due, attempt);
        Arrival { is_kept: true, ..left }
    }

    /// Hands over what is ready, so many at most, each until a time.
    pub(crate) fn take(&mut self, max: usize, now: Instant, until: Instant) -> Vec<Received> {
        self.expire(now);
        self.parts.values_mut().for_each(|part| part.ripen(now));
        if self.parts.values().any(Part::holds_all_up) {
            return Vec::new();
        }
        if let Some((place, _)) = self.parts.iter().find(|(_, part)| part.wants_to_be_alone()) {
            return self.take_alone(&place.clone(), until).into_iter().collect();
        }
        let room = self.limits.in_flight.saturating_sub(self.out.len());
        let mut left = max.max(1).min(room);
        let mut taken = Vec::new();
        let parts = self.parts.iter().filter(|(_, part)| part.has_ready());
        let places: Vec<_> = parts.map(|(place, _)| place.clone()).collect();
        let count = places.len();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn.checked_rem(count).unwrap_or(0);
        for place in places.iter().cycle().skip(first).take(count) {
            let ready = self.parts.get(place).map(|part| part.next_ready(left)).unwrap_or_default();
            for offset in ready {
                if let Some(received) = self.hand_over(place, offset, until) {
                    taken.push(received);
                    left -= 1;
                }
            }
        }
        taken
    }

    /// Hands over one that may be what members have died of, when nothing else is out and the broker has heard of it.
    fn take_alone(&mut self, place: &Place, until: Instant) -> Option<Received> {
        if !self.out.is_empty() {
            return None;
        }
        let part = self.parts.get_mut(place)?;
        let before = part.changed;
        let offset = part.alone();
        self.is_urgent |= part.changed > before;
        self.hand_over(place, offset?, until)
    }

    fn hand_over(&mut self, place: &Place, offset: i64, until: Instant) -> Option<Received> {
        let id = self.next_id;
        self.next_id += 1;
        let received = self.parts.get_mut(place)?.hand_over(offset, DeliveryId(id))?;
        self.out.insert(id, Out { place: place.clone(), offset, until });
        self.times.insert((until, id));
        Some(received)
    }

    /// What was not settled in time is ready again.
    fn expire(&mut self, now: Instant) {
        while self.times.first().is_some_and(|(until, _)| *until <= now) {
            let Some(out) = self.times.pop_first().and_then(|(_, id)| self.out.remove(&id)) else { continue };
            if let Some(part) = self.parts.get_mut(&out.place) {
                part.put_off(out.offset, None, true);
            }
        }
    }

    /// When something is ready or over that is not yet.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let waits = self.parts.values().filter_map(Part::next_wait);
        waits.chain(self.times.first().map(|(until, _)| *until)).min()
    }

    /// The record of a delivery that is out, with the attempts that were made.
    pub(crate) fn record(&self, id: DeliveryId) -> Option<(Record, u32)> {
        let out = self.out.get(&id.0)?;
        self.parts.get(&out.place)?.record(out.offset)
    }

    /// A delivery is settled. What is to be waited for, or nothing when it is not out any more.
    pub(crate) fn done(&mut self, id: DeliveryId) -> Option<Ticket> {
        let out = self.forget(id.0)?;
        self.parts.get_mut(&out.place)?.done(out.offset)
    }

    /// A delivery is put off until a time, or given back: then the attempt does not count. Whether it was out.
    pub(crate) fn put_off(&mut self, id: DeliveryId, until: Option<Instant>) -> bool {
        let Some(out) = self.forget(id.0) else { return false };
        let Some(part) = self.parts.get_mut(&out.place) else { return false };
        part.comes_back(out.offset, until.is_some());
        part.put_off(out.offset, until, until.is_some())
    }

    /// A delivery is still worked on. Whether it is out.
    pub(crate) fn renew(&mut self, id: DeliveryId, until: Instant) -> bool {
        let Some(out) = self.out.get_mut(&id.0) else { return false };
        self.times.remove(&(out.until, id.0));
        self.times.insert((until, id.0));
        out.until = until;
        true
    }

    /// What is to be committed, of these partitions or of all.
    pub(crate) fn changes(&self, of: Option<&[Place]>) -> Vec<Change> {
        let is_asked = |place: &Place| of.is_none_or(|of| of.contains(place));
        let parts = self.parts.iter().filter(|(place, _)| is_asked(place));
        parts.filter_map(|(place, part)| part.change(place, self.filter.as_str())).collect()
    }

    /// The broker has heard of these.
    pub(crate) fn committed(&mut self, changes: &[Change]) {
        for change in changes {
            if let Some(part) = self.parts.get_mut(&change.place) {
                part.committed(change);
            }
        }
    }

    /// The broker refuses what it was told of these, and not for now: they hold up no other until it is heard.
    pub(crate) fn refused(&mut self, places: &[Place]) {
        for place in places {
            if let Some(part) = self.parts.get_mut(place) {
                part.refuse();
            }
        }
    }

    /// Partitions that are to be paused, and those that are to go on. They count as told.
    ///
    /// Those of topics of retries have limits of their own: a part of the bytes, shared evenly among them, and so many records each. What is behind those comes when some are settled,
    /// later than it is due where all before it are due later.
    pub(crate) fn pace(&mut self) -> (Vec<Place>, Vec<Place>) {
        let Limits { gap, events: events_max, bytes: bytes_max, retries: retries_max, .. } = self.limits;
        let of = |kind| self.parts.values().filter(move |part| part.kind == kind);
        let events: usize = of(Kind::Stream).map(Part::len).sum();
        let bytes: usize = of(Kind::Stream).map(Part::weight).sum();
        let retries_bytes = bytes_max / RETRIES_PART / of(Kind::Retries).count().max(1);
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (place, part) in &mut self.parts {
            let counts = match part.kind {
                Kind::Stream => [(events, events_max), (bytes, bytes_max)],
                Kind::Retries => [(part.len(), retries_max), (part.weight(), retries_bytes)],
            };
            let span = part.gap.len();
            let is_full = span >= gap || counts.iter().any(|(has, max)| has >= max);
            let is_roomy = span <= gap / 4 * 3 && counts.iter().all(|(has, max)| *has <= max / 4 * 3);
            if !part.is_paused && is_full {
                part.is_paused = true;
                pause.push(place.clone());
            } else if part.is_paused && is_roomy {
                part.is_paused = false;
                resume.push(place.clone());
            }
        }
        (pause, resume)
    }

    /// Whether a partition has come to the limit of its gap.
    pub(crate) fn is_at_limit(&self, place: &Place) -> bool {
        self.parts.get(place).is_some_and(|part| part.gap.len() >= self.limits.gap)
    }

    /// Whether all partitions of the stream are read and none may have more: then who waits for room holds up none of them.
    pub(crate) fn is_full(&self) -> bool {
        let Limits { gap, events: events_max, bytes: bytes_max, .. } = self.limits;
        let of = || self.parts.values().filter(|part| part.kind == Kind::Stream);
        let (events, bytes) =
            of().fold((0, 0), |(events, bytes), part| (events + part.len(), bytes + part.weight()));
        let is_full = events >= events_max || bytes >= bytes_max;
        of().next().is_some() && of().all(|part| !part.is_paused && (is_full || part.gap.len() >= gap))
    }

    /// Whether a partition is paused, so that somebody has to look when it may go on.
    pub(crate) fn is_pausing(&self) -> bool {
        self.parts.values().any(|part| part.is_paused)
    }
}

/// The part of a member's bytes that topics of retries have, beside those of the stream: a quarter.
const RETRIES_PART: usize = 4;

#[cfg(test)]
mod tests;
