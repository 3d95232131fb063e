//! A partition in a member's hands.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_engine::transport::{DeliveryId, Received, Unreadable};
use busway_event::AnyEvent;
use bytes::Bytes;
use tokio::time::Instant;

use crate::care::{Care, Said, Span};
use crate::gap::Gap;
use crate::mark;
use crate::message::{ORIGIN, Record};
use crate::ticket::{Fate, Ticket};

/// Which partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

/// See the module. It is this one from its assignment until it is revoked; assigned again it is another.
#[derive(Debug)]
pub(crate) struct Part {
    serial: u64,
    pub(crate) kind: Kind,
    pub(crate) gap: Gap,
    slots: BTreeMap<i64, Slot>,
    ready: BTreeSet<i64>,
    waits: BTreeSet<(Instant, i64)>,
    /// Of each key what holds it back.
    holding: HashMap<Bytes, BTreeSet<i64>>,
    weight: usize,
    /// Counts what the broker should hear of.
    pub(crate) changed: u64,
    fate: Arc<Fate>,
    pub(crate) is_paused: bool,
    care: Care,
    /// Nothing is handed over before it was tried to commit that the partition is taken up.
    is_shut: bool,
    /// What is to be handed over alone, and the change with which the broker hears that it is.
    charged: Option<(i64, u64)>,
    /// The change with which the broker hears that what it was told is charged is not any more.
    outlived: u64,
    /// The broker refuses what it is told, and not for now.
    is_refused: bool,
}

#[derive(Debug)]
struct Slot {
    record: Record,
    event: Result<AnyEvent, Box<Unreadable>>,
    weight: usize,
    attempt: u32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ready,
    Waits(Instant),
    Out,
}

/// What is to be committed of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) place: Place,
    pub(crate) position: i64,
    pub(crate) metadata: String,
    serial: u64,
    number: u64,
    reach: i64,
}

/// What lies in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Events of the stream.
    Stream,
    /// Events that were put off.
    Retries,
}

#[cfg(test)]
impl Change {
    pub(crate) fn of(place: Place, position: i64) -> Self {
        Self { place, position, metadata: String::new(), serial: 1, number: 1, reach: 0 }
    }
}

impl Part {
    pub(crate) fn new(serial: u64, kind: Kind, position: i64, settled: Vec<i64>) -> Self {
        Self {
            serial,
            kind,
            gap: Gap::new(position, settled),
            slots: BTreeMap::new(),
            ready: BTreeSet::new(),
            waits: BTreeSet::new(),
            holding: HashMap::new(),
            weight: 0,
            changed: 0,
            fate: Arc::default(),
            is_paused: false,
            care: Care::default(),
            is_shut: false,
            charged: None,
            outlived: 0,
            is_refused: false,
        }
    }

    /// It was asked where the group stands, and what was said there of those who had the partition before.
    pub(crate) fn take_up(&mut self, said: Said, span: Span, end: Option<i64>) {
        self.care = Care::take_up(self.gap.position(), said, span, end);
        self.changed += 1;
        self.is_shut = true;
    }

    /// A commit was tried, or heard, that says of those which were assigned up to this one that they are taken up.
    pub(crate) const fn open(&mut self, serial: u64) {
        self.is_shut &= self.serial > serial;
    }

    /// Its member leaves it and is alive.
    pub(crate) fn leave(&mut self) {
        self.changed += u64::from(self.care.leave());
    }

    fn told(&self) -> u64 {
        self.fate.told.load(Ordering::SeqCst)
    }

    /// Whether there is something that the broker should hear of.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed > self.told()
    }

    /// Whether somebody waits until the broker has heard of it, to hand something over.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_shut || self.charged.is_some() || self.is_outliving()
    }

    /// Whether the broker has yet to hear that one which was charged has killed nobody.
    fn is_outliving(&self) -> bool {
        self.outlived > self.told()
    }

    /// Whether the next that may be handed over is to be alone.
    fn is_careful(&self) -> bool {
        self.care.is_needed() && self.next_alone().is_some()
    }

    /// Whether one is out that is to be alone.
    fn is_alone_out(&self) -> bool {
        let slot = self.care.alone().and_then(|offset| self.slots.get(&offset));
        slot.is_some_and(|slot| slot.stage == Stage::Out)
    }

    /// Whether nothing of any partition may be handed over for now.
    pub(crate) fn holds_all_up(&self) -> bool {
        self.is_alone_out() || (self.is_outliving() && !self.is_refused)
    }

    /// Whether its next is to be handed over alone, and can be.
    pub(crate) fn wants_to_be_alone(&self) -> bool {
        self.is_careful() && !self.is_refused
    }

    /// The broker refuses what it was told of it.
    pub(crate) const fn refuse(&mut self) {
        self.is_refused = true;
    }

    fn next_alone(&self) -> Option<i64> {
        let charged = self.charged.map(|(offset, _)| offset);
        let next = charged.or_else(|| self.next_ready(1).first().copied());
        next.filter(|offset| !self.is_shut && self.care.is_for(*offset))
    }

    /// What may be handed over alone now: when the broker has heard that it is charged.
    pub(crate) fn alone(&mut self) -> Option<i64> {
        let offset = self.next_alone()?;
        match self.charged {
            None => {
                self.care.charge(offset);
                self.changed += 1;
                self.charged = Some((offset, self.changed));
                None
            }
            Some((_, change)) if change > self.told() => None,
            Some(_) => {
                self.charged = None;
                Some(offset)
            }
        }
    }

    /// It comes back into this member's hands, attempted or not.
    pub(crate) fn comes_back(&mut self, offset: i64, is_attempted: bool) {
        let is_said = match is_attempted {
            true => self.care.outlived(offset),
            false => self.care.given_back(offset),
        };
        if is_said {
            self.changed += 1;
            self.outlived = self.changed;
        }
    }

    /// It begins anew at an offset: of what was in hand nothing is there any more.
    pub(crate) fn restart(&mut self, serial: u64, offset: i64) {
        let next = Self { is_paused: self.is_paused, ..Self::new(serial, self.kind, offset, Vec::new()) };
        std::mem::replace(self, next).end();
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) const fn weight(&self) -> usize {
        self.weight
    }

    /// Whoever waits for something of it need not any longer.
    pub(crate) fn end(self) {
        self.fate.is_over.store(true, Ordering::SeqCst);
    }

    pub(crate) fn put(
        &mut self,
        record: Record,
        event: Result<AnyEvent, Box<Unreadable>>,
        due: Option<Instant>,
        attempt: u32,
    ) {
        let (offset, weight) = (record.offset, record.weight());
        let stage = match due {
            Some(due) => {
                self.waits.insert((due, offset));
                Stage::Waits(due)
            }
            None => {
                self.ready.insert(offset);
                Stage::Ready
            }
        };
        self.weight += weight;
        let attempt = attempt.saturating_add(self.care.charges(offset));
        self.slots.insert(offset, Slot { record, event, weight, attempt, stage });
    }

    /// What has waited until now waits no longer.
    pub(crate) fn ripen(&mut self, now: Instant) {
        while let Some((due, offset)) = self.waits.first().copied().filter(|(due, _)| *due <= now) {
            self.waits.remove(&(due, offset));
            if let Some(slot) = self.slots.get_mut(&offset) {
                slot.stage = Stage::Ready;
            }
            self.ready.insert(offset);
        }
    }

    /// What may be handed over now, in the order of offsets.
    pub(crate) fn next_ready(&self, max: usize) -> Vec<i64> {
        if self.holding.is_empty() {
            return self.ready.iter().take(max).copied().collect();
        }
        let is_free = |offset: &&i64| {
            let key = self.slots.get(offset).and_then(|slot| slot.record.key.as_ref());
            let first = key.and_then(|key| self.holding.get(key)).and_then(BTreeSet::first);
            first.is_none_or(|first| *offset <= first)
        };
        self.ready.iter().filter(is_free).take(max).copied().collect()
    }

    pub(crate) fn has_ready(&self) -> bool {
        let is_waiting = self.is_refused && (self.is_careful() || self.is_outliving());
        !self.is_shut && !is_waiting && !self.ready.is_empty()
    }

    pub(crate) fn next_wait(&self) -> Option<Instant> {
        self.waits.first().map(|(due, _)| *due)
    }

    pub(crate) fn hand_over(&mut self, offset: i64, id: DeliveryId) -> Option<Received> {
        let slot = self.slots.get_mut(&offset)?;
        self.ready.remove(&offset);
        slot.stage = Stage::Out;
        let received = Received::new(id, slot.event.clone()).attempt(slot.attempt);
        // What comes out of a topic of retries says where it lay first.
        let origin = |name: &str| slot.record.header(name);
        let at = origin(ORIGIN[2]).and_then(|at| at.parse().ok()).or_else(|| u64::try_from(offset).ok());
        let partition = origin(ORIGIN[1]).and_then(|partition| partition.parse().ok());
        let partition = partition.or_else(|| u16::try_from(slot.record.partition).ok());
        let received = match at {
            Some(at) => received.at(at),
            None => received,
        };
        Some(match partition {
            Some(partition) => received.in_partition(partition),
            None => received,
        })
    }

    pub(crate) fn record(&self, offset: i64) -> Option<(Record, u32)> {
        self.slots.get(&offset).map(|slot| (slot.record.clone(), slot.attempt))
    }

    /// It will be handed over again, at once or at a time; the later ones of its key behind it.
    pub(crate) fn put_off(&mut self, offset: i64, until: Option<Instant>, is_charged: bool) -> bool {
        let Some(slot) = self.slots.get_mut(&offset) else { return false };
        slot.attempt = slot.attempt.saturating_add(u32::from(is_charged));
        if let Some(key) = slot.record.key.clone() {
            self.holding.entry(key).or_default().insert(offset);
        }
        match until {
            Some(until) => {
                slot.stage = Stage::Waits(until);
                self.waits.insert((until, offset));
            }
            None => {
                slot.stage = Stage::Ready;
                self.ready.insert(offset);
            }
        }
        true
    }

    pub(crate) fn done(&mut self, offset: i64) -> Option<Ticket> {
        let slot = self.slots.remove(&offset)?;
        self.ready.remove(&offset);
        if let Stage::Waits(due) = slot.stage {
            self.waits.remove(&(due, offset));
        }
        if let Some(key) = &slot.record.key
            && let Some(held) = self.holding.get_mut(key)
        {
            held.remove(&offset);
            if held.is_empty() {
                self.holding.remove(key);
            }
        }
        self.weight -= slot.weight;
        self.gap.settle(offset);
        self.changed += 1;
        if self.care.outlived(offset) {
            self.outlived = self.changed;
        }
        Some(Ticket { fate: Arc::clone(&self.fate), change: self.changed, offset })
    }

    pub(crate) fn change(&self, place: &Place, filter: &str) -> Option<Change> {
        self.is_changed().then(|| {
            let position = self.gap.position();
            Change {
                place: place.clone(),
                position,
                metadata: mark::written(position, &self.gap.settled(), &self.care.said(position), filter),
                serial: self.serial,
                number: self.changed,
                reach: self.gap.reach(),
            }
        })
    }

    pub(crate) fn committed(&mut self, change: &Change) {
        if self.serial == change.serial {
            self.is_refused = false;
            self.fate.reach.fetch_max(change.reach, Ordering::SeqCst);
            self.fate.told.fetch_max(change.number, Ordering::SeqCst);
        }
    }
}
