//! Keys that are done: a ring in the order in which they were, and a table of where in it each lies.
//!
//! What tells a new key from the others is small (see `places`), and reads none of them; what is written of it is at the end of the ring. The table grows without reading
//! the ring either.

use std::collections::VecDeque;
use std::hash::BuildHasher as _;
use std::time::Instant;

use super::super::hashing::KeyHashing;
use super::super::key::IdempotencyKey;
use super::places::{Half, Places};

/// See the module.
#[derive(Debug)]
pub(super) struct DoneKeys {
    places: Places,
    ring: VecDeque<Record>,
    /// The number of the first record; numbers wrap around.
    first: u32,
    hashing: KeyHashing,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    key: IdempotencyKey,
    /// `None`: it was done again, and lies further behind.
    until: Option<Instant>,
}

impl DoneKeys {
    pub(super) fn new() -> Self {
        Self { places: Places::new(), ring: VecDeque::new(), first: 0, hashing: KeyHashing::default() }
    }

    /// How many there are; some may have run out.
    pub(super) const fn len(&self) -> usize {
        self.places.len()
    }

    /// Records, also of those that were done again.
    #[cfg(test)]
    pub(super) fn records(&self) -> usize {
        self.ring.len()
    }

    /// Until when a key is done.
    #[inline]
    pub(super) fn until(&self, key: IdempotencyKey) -> Option<Instant> {
        self.ring.get(self.index(self.find(self.half(key), key)?))?.until
    }

    /// Done until then, or longer if it was so before; the last in the order now.
    pub(super) fn put(&mut self, key: IdempotencyKey, mut until: Instant) {
        let half = self.half(key);
        if let Some(before) = self.find(half, key) {
            let at = self.index(before);
            if let Some(before) = self.ring.get_mut(at).and_then(|record| record.until.take()) {
                until = until.max(before);
            }
            self.places.forget(half, before);
        }
        self.append(half, key, until);
    }

    /// The same of a key that is known not to be there.
    #[inline]
    pub(super) fn put_new(&mut self, key: IdempotencyKey, until: Instant) {
        self.append(self.half(key), key, until);
    }

    #[inline]
    fn append(&mut self, half: Half, key: IdempotencyKey, until: Instant) {
        self.places.insert(half, self.first.wrapping_add(u32::try_from(self.ring.len()).unwrap_or(u32::MAX)));
        self.ring.push_back(Record { key, until: Some(until) });
        if self.ring.len() > self.places.len() * 2 + RECORDS_SPARE {
            self.close_up();
        }
    }

    /// Forgets the first as long as `goes` says so, of until when it is done and how many there are.
    pub(super) fn forget_while(&mut self, goes: impl Fn(Instant, usize) -> bool) {
        while let Some(&Record { key, until }) = self.ring.front() {
            if let Some(until) = until {
                if !goes(until, self.places.len()) {
                    return;
                }
                self.places.forget(self.half(key), self.first);
            }
            self.ring.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Leaves out records of what was done again.
    fn close_up(&mut self) {
        self.ring.retain(|record| record.until.is_some());
        self.places.clear();
        for (number, record) in (0_u32..).zip(&self.ring) {
            self.places.insert(self.half(record.key), self.first.wrapping_add(number));
        }
    }

    #[inline]
    fn half(&self, key: IdempotencyKey) -> Half {
        Half::of(self.hashing.hash_one(key))
    }

    /// The number of a key. The table knows numbers of records that have gone, or were done again, for a while longer: they are nobody's.
    #[inline]
    fn find(&self, half: Half, key: IdempotencyKey) -> Option<u32> {
        let is_it = |record: &Record| record.until.is_some() && record.key == key;
        self.places.find(half, |number| self.ring.get(self.index(number)).is_some_and(is_it))
    }

    #[inline]
    const fn index(&self, number: u32) -> usize {
        number.wrapping_sub(self.first) as usize
    }
}

/// So many records of what was done again are there before they are left out, and as many as there are keys.
const RECORDS_SPARE: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::epoch::epoch;

    fn key(number: u64) -> IdempotencyKey {
        IdempotencyKey::from_bytes(u128::from(number).to_be_bytes())
    }

    fn at(seconds: u64) -> Instant {
        epoch() + Duration::from_secs(seconds)
    }

    /// What is done again and again lies behind one that stays, and takes no more room for that; numbers wrap around meanwhile.
    #[test]
    fn what_is_done_again_and_again_takes_no_more_room() {
        let mut keys = DoneKeys::new();
        keys.first = u32::MAX - 20;
        keys.put(key(1), at(9));
        for round in 0..2_000 {
            keys.put(key(2 + round % 3), at(100 + round));
            assert!(keys.records() <= 2 * keys.len() + RECORDS_SPARE, "{} records", keys.records());
        }
        assert_eq!((keys.len(), keys.until(key(1)), keys.until(key(3))), (4, Some(at(9)), Some(at(2_099))));
        keys.forget_while(|until, _| until <= at(9));
        assert_eq!((keys.len(), keys.until(key(1))), (3, None));
        assert_eq!(keys.until(key(3)), Some(at(2_099)), "though numbers have wrapped around");
    }

    #[test]
    fn many_keys_come_and_go_and_each_is_found_while_it_is_there() {
        let mut keys = DoneKeys::new();
        for number in 0..20_000 {
            assert_eq!(keys.until(key(number)), None);
            keys.put(key(number), at(number));
            keys.forget_while(|_, count| count > 5_000);
        }
        assert_eq!((keys.len(), keys.records()), (5_000, 5_000));
        for number in 0..20_000 {
            assert_eq!(keys.until(key(number)), (number >= 15_000).then(|| at(number)), "{number}");
        }
    }

    /// Half of a hash is all that the table knows: keys that have it in common are told apart by the ring.
    #[test]
    fn keys_with_the_same_half_of_a_hash_are_two() {
        let mut keys = DoneKeys::new();
        let mut seen = std::collections::HashMap::new();
        let (one, other) = (0_u64..)
            .find_map(|number| {
                let before = seen.insert(keys.hashing.hash_one(key(number)) >> 33, number)?;
                Some((key(before), key(number)))
            })
            .unwrap();
        keys.put(one, at(1));
        assert_eq!(keys.until(other), None);
        keys.put(other, at(2));
        assert_eq!((keys.until(one), keys.until(other)), (Some(at(1)), Some(at(2))));
        keys.forget_while(|until, _| until <= at(1));
        assert_eq!((keys.until(one), keys.until(other)), (None, Some(at(2))));
    }
}
