//! One thread's memory of its latest matches.
//!
//! All entries are of one generation. A thread that comes by after a change drops them all, in its next lookup, whatever
//! the topic: so a removed target is held by a cache no longer than until its thread looks up anything, and not until it
//! asks for that very topic again. A thread that never looks up again, or has ended, holds up to [`TOPICS_MAX`] matches
//! until the router is dropped (or until a new thread takes over the place of an ended one).
//!
//! **Shape.** A table of sets of [`WAYS`] slots; the hash of a topic chooses its set. It starts small and grows as its sets
//! fill up, to [`TOPICS_MAX`] slots in all.
//!
//! **Who is remembered.** A match that is handed out as a list is remembered at once. One that is only lent is remembered
//! when its topic is asked for the second time: the first time leaves no more than its hash in a slot, which is the first
//! to be overwritten. So topics that are asked once cost no list, and drive none out of a set but the first.
//!
//! **Lending.** A hit takes the list out of its slot, so that it can be used without a borrow and without counting a
//! reference, and puts it back afterwards, unless the slot has been given to another meanwhile. While it is out, the same
//! thread finds the slot empty-handed and walks.
//!
//! **Hints.** A publisher that keeps its topic asks with the very same text each time. Where such a text was found is noted by
//! its address, so that a hit need not hash it. An entry keeps its text alive, so that no other can lie there.
//!
//! Whatever is dropped is handed to the caller, to be dropped when the cache is no longer borrowed: the last owner of a
//! target runs its destructor, and that may well publish.

use std::{mem, ptr};

use busway_event::Topic;

use crate::generation::Generation;
use crate::targets::Targets;

/// Matches by topic, all computed at `generation`; matches of nothing too.
pub(crate) struct MatchCache<T> {
    generation: Generation,
    /// Sets of [`WAYS`], a power of two of them, or none.
    slots: Vec<Slot<T>>,
    /// How many slots are `Kept`.
    kept: usize,
    /// Of the latest entry.
    serial: u64,
    /// Where topics were found, by the address of their text. May be outdated.
    hints: [u16; HINTS],
}

enum Slot<T> {
    Empty,
    /// A topic with this hash was asked for once.
    Seen(u64),
    Kept(Entry<T>),
}

struct Entry<T> {
    key: u64,
    topic: Topic,
    /// None while they are lent.
    targets: Targets<T>,
    lent: bool,
    /// Tells entries apart that have come one after the other into the same slot.
    serial: u64,
}

impl<T> Entry<T> {
    #[inline]
    fn is_for(&self, key: u64, topic: &Topic) -> bool {
        let (kept, asked) = (self.topic.as_str(), topic.as_str());
        // Most publishers come with the very same text again. The entry keeps its own alive: same place, same text.
        self.key == key && (ptr::eq(kept, asked) || kept == asked)
    }
}

/// A slot, by its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(usize);

/// What had to go. To be dropped after the cache is released.
#[must_use = "to be dropped after the cache is released"]
pub(crate) struct Garbage<T> {
    _slot: Slot<T>,
    _slots: Vec<Slot<T>>,
}

/// How often a topic that missed was asked for at this generation, as far as the cache remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    First,
    Again,
}

impl<T> MatchCache<T> {
    pub(crate) fn new() -> Self {
        Self { generation: Generation::default(), slots: Vec::new(), kept: 0, serial: 0, hints: [0; HINTS] }
    }

    /// What `topic`, whose hash is `key`, matched, if that was computed at `generation`.
    pub(crate) fn get(&self, generation: Generation, key: u64, topic: &Topic) -> Option<Targets<T>> {
        if self.generation != generation {
            return None;
        }
        self.set(key).iter().find_map(|slot| match slot {
            Slot::Kept(entry) if !entry.lent && entry.is_for(key, topic) => Some(entry.targets.clone()),
            _ => None,
        })
    }

    /// Where that can be lent from, if its text lies where it lay when it was asked for before: found without a hash.
    #[inline]
    pub(crate) fn find_same(&self, generation: Generation, topic: &Topic) -> Option<Place> {
        let place = Place(usize::from(*self.hints.get(hint_of(topic))?));
        let Slot::Kept(entry) = self.slots.get(place.0)? else { return None };
        let is_here =
            self.generation == generation && !entry.lent && ptr::eq(entry.topic.as_str(), topic.as_str());
        is_here.then_some(place)
    }

    /// Where that can be lent from.
    pub(crate) fn find(&mut self, generation: Generation, key: u64, topic: &Topic) -> Option<Place> {
        if self.generation != generation {
            return None;
        }
        let start = self.set_of(key);
        let (way, entry) = self.set(key).iter().enumerate().find_map(|(way, slot)| match slot {
            Slot::Kept(entry) if !entry.lent && entry.is_for(key, topic) => Some((way, entry)),
            _ => None,
        })?;
        if ptr::eq(entry.topic.as_str(), topic.as_str())
            && let Some(hint) = self.hints.get_mut(hint_of(topic))
            && let Ok(place) = u16::try_from(start + way)
        {
            *hint = place;
        }
        Some(Place(start + way))
    }

    /// [`find_same`](Self::find_same) and [`lend`](Self::lend) in one.
    #[inline]
    pub(crate) fn lend_same(
        &mut self,
        generation: Generation,
        topic: &Topic,
    ) -> Option<(Place, Targets<T>, u64)> {
        if self.generation != generation {
            return None;
        }
        let place = Place(usize::from(*self.hints.get(hint_of(topic))?));
        let Slot::Kept(entry) = self.slots.get_mut(place.0)? else { return None };
        if entry.lent || !ptr::eq(entry.topic.as_str(), topic.as_str()) {
            return None;
        }
        entry.lent = true;
        Some((place, mem::take(&mut entry.targets), entry.serial))
    }

    /// Takes a list out of its slot; and the number by which to give it back.
    #[inline]
    pub(crate) fn lend(&mut self, place: Place) -> (Targets<T>, u64) {
        match self.entry(place) {
            Some(entry) => {
                entry.lent = true;
                (mem::take(&mut entry.targets), entry.serial)
            }
            None => (Targets::none(), 0),
        }
    }

    /// Takes back what was lent, or gives it to the caller if its entry is gone.
    #[inline]
    #[must_use = "to be dropped after the cache is released"]
    pub(crate) fn give_back(&mut self, place: Place, serial: u64, targets: Targets<T>) -> Targets<T> {
        match self.entry(place) {
            Some(entry) if entry.serial == serial => {
                entry.lent = false;
                mem::replace(&mut entry.targets, targets)
            }
            _ => targets,
        }
    }

    #[inline]
    fn entry(&mut self, place: Place) -> Option<&mut Entry<T>> {
        match self.slots.get_mut(place.0)? {
            Slot::Kept(entry) => Some(entry),
            Slot::Empty | Slot::Seen(_) => None,
        }
    }

    /// To be called after a miss: forgets what is older than `generation`, and marks `key` as asked for.
    pub(crate) fn miss(&mut self, generation: Generation, key: u64) -> (Sight, Garbage<T>) {
        let swept = self.renew(generation);
        let slots = self.set(key);
        if slots.iter().any(|slot| matches!(slot, Slot::Seen(seen) if *seen == key)) {
            return (Sight::Again, Garbage { _slot: Slot::Empty, _slots: swept });
        }
        let lent = slots.iter().any(|slot| matches!(slot, Slot::Kept(entry) if entry.key == key));
        // Somebody further up this stack uses the list and gives it back.
        let slot = if lent { Slot::Empty } else { self.place(Slot::Seen(key), key) };
        (Sight::First, Garbage { _slot: slot, _slots: swept })
    }

    /// Remembers a match computed at `generation`.
    pub(crate) fn keep(
        &mut self,
        generation: Generation,
        key: u64,
        topic: &Topic,
        targets: &Targets<T>,
    ) -> Garbage<T> {
        let swept = self.renew(generation);
        if generation < self.generation {
            // A destructor further down this very stack has looked up something since: the later state stays.
            return Garbage { _slot: Slot::Empty, _slots: swept };
        }
        self.serial += 1;
        let (topic, targets) = (topic.clone(), targets.clone());
        let slot =
            self.place(Slot::Kept(Entry { key, topic, targets, lent: false, serial: self.serial }), key);
        Garbage { _slot: slot, _slots: swept }
    }

    /// Empties the cache if it is older than `generation`.
    fn renew(&mut self, generation: Generation) -> Vec<Slot<T>> {
        if self.generation >= generation {
            return Vec::new();
        }
        self.generation = generation;
        // Hashes that were seen hold nothing: they may stay.
        if mem::take(&mut self.kept) == 0 { Vec::new() } else { mem::take(&mut self.slots) }
    }

    /// Puts `slot` where `key` belongs, and gives back what was there.
    fn place(&mut self, slot: Slot<T>, key: u64) -> Slot<T> {
        self.kept += usize::from(matches!(slot, Slot::Kept(_)));
        loop {
            let (start, full) = (self.set_of(key), self.slots.len() >= TOPICS_MAX);
            if let Some(slots) = self.slots.get_mut(start..start + WAYS)
                && let Some(place) = place_for(key, slots, full)
            {
                let old = mem::replace(place, slot);
                self.kept -= usize::from(matches!(old, Slot::Kept(_)));
                return old;
            }
            self.grow();
        }
    }

    /// Makes the table larger. What was kept moves, what was only seen is forgotten, as is what is lent.
    fn grow(&mut self) {
        let len = (self.slots.len() * GROWTH).clamp(TOPICS_MIN, TOPICS_MAX);
        let old = mem::replace(&mut self.slots, (0..len).map(|_| Slot::Empty).collect());
        for slot in old {
            match slot {
                Slot::Kept(entry) if !entry.lent => {
                    let start = self.set_of(entry.key);
                    let mut slots = self.slots.iter_mut().skip(start).take(WAYS);
                    // There is room: each new set takes in the slots of one old set at most.
                    if let Some(free) = slots.find(|slot| matches!(slot, Slot::Empty)) {
                        *free = Slot::Kept(entry);
                    }
                }
                Slot::Kept(_) => self.kept -= 1,
                Slot::Seen(_) | Slot::Empty => {}
            }
        }
    }

    /// The slots where `key` may be.
    fn set(&self, key: u64) -> &[Slot<T>] {
        let start = self.set_of(key);
        self.slots.get(start..start + WAYS).unwrap_or_default()
    }

    /// Where they begin.
    fn set_of(&self, key: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "a few low bits are wanted")]
        let low = key as usize;
        low & self.slots.len().wrapping_sub(1) & !(WAYS - 1)
    }
}

/// Which hint is for a text that lies there.
#[inline]
fn hint_of(topic: &Topic) -> usize {
    let address = topic.as_str().as_ptr().addr() as u64;
    // The high bits of a product with the golden ratio: Knuth's multiplicative hash.
    #[expect(clippy::cast_possible_truncation, reason = "a few bits are left")]
    let hint = (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - HINTS.ilog2())) as usize;
    hint
}

/// The slot to use for `key`: its own, an empty one, one that was only seen, or, if the table is `full`, any.
fn place_for<T>(key: u64, slots: &mut [Slot<T>], full: bool) -> Option<&mut Slot<T>> {
    let rank = |slot: &Slot<T>| match slot {
        Slot::Kept(Entry { key: kept, .. }) | Slot::Seen(kept) if *kept == key => 0,
        Slot::Empty => 1,
        Slot::Seen(_) => 2,
        Slot::Kept(_) => 3,
    };
    let (way, rank) = slots.iter().map(rank).enumerate().min_by_key(|(_, rank)| *rank)?;
    match rank {
        3 if !full => None,
        // Left to chance, so that no order of topics defeats the cache and no bookkeeping is paid on a hit.
        3 => slots.get_mut((key >> 32) as usize % WAYS),
        _ => slots.get_mut(way),
    }
}

/// Enough that topics which share a set by chance are seldom too many for it.
const WAYS: usize = 4;

/// About four kilobytes, when a thread first looks up something.
const TOPICS_MIN: usize = 64;

const GROWTH: usize = 4;

/// As many topics as the shared cache of NATS holds. More would be per-device names, which are seldom asked twice.
const TOPICS_MAX: usize = 1_024;

/// More topics than a thread uses in turn as a rule; two cache lines.
const HINTS: usize = 64;

#[cfg(test)]
mod tests;
