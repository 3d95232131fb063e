//! Keys that are done: a ring in the order in which they were, and where in it each lies.
//!
//! Most are found by the order in which they lie (`order`), the others in a table (`places`). What tells a new key from them is small, and reads none of them; what is written of it is at the end of
//! the ring. The table grows without reading the ring either.

use std::collections::VecDeque;
use std::hash::BuildHasher as _;
use std::time::Instant;

use super::super::hashing::KeyHashing;
use super::super::key::IdempotencyKey;
use super::order::InOrder;
use super::places::{Half, Places};
use super::record::{Record, Until};

/// See the module.
#[derive(Debug)]
pub(super) struct DoneKeys {
    order: InOrder,
    /// Those that are not in order.
    places: Places,
    ring: VecDeque<Record>,
    /// The number of the first record; numbers wrap around.
    first: u32,
    /// Without records of what was done again.
    len: usize,
    hashing: KeyHashing,
    /// What times are counted from: one of them.
    base: Option<Instant>,
}

impl DoneKeys {
    pub(super) fn new() -> Self {
        Self {
            order: InOrder::default(),
            places: Places::new(),
            ring: VecDeque::new(),
            first: 0,
            len: 0,
            hashing: KeyHashing::default(),
            base: None,
        }
    }

    /// How many there are; some may have run out.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Records, also of those that were done again.
    #[cfg(test)]
    pub(super) fn records(&self) -> usize {
        self.ring.len()
    }

    /// Until when a key is done.
    #[inline]
    pub(super) fn until(&self, key: IdempotencyKey) -> Option<Instant> {
        let until = self.ring.get(self.index(self.find(key)?))?.until()?;
        Some(until.at(self.base?))
    }

    /// Done until then, or longer if it was so before; the last in the order now.
    pub(super) fn put(&mut self, key: IdempotencyKey, until: Instant) {
        let mut until = self.counted(until);
        if let Some(before) = self.find(key) {
            let at = self.index(before);
            if let Some(record) = self.ring.get_mut(at) {
                until = record.until().map_or(until, |before| before.max(until));
                record.clear();
                if !record.is_in_order() {
                    self.places.forget(self.half(key), before);
                }
                self.len -= 1;
            }
        }
        self.append(key, until);
    }

    /// The same of a key that is known not to be there.
    #[inline]
    pub(super) fn put_new(&mut self, key: IdempotencyKey, until: Instant) {
        let until = self.counted(until);
        self.append(key, until);
    }

    #[inline]
    fn counted(&mut self, until: Instant) -> Until {
        Until::new(until, *self.base.get_or_insert(until))
    }

    #[inline]
    fn append(&mut self, key: IdempotencyKey, until: Until) {
        let number = self.first.wrapping_add(u32::try_from(self.ring.len()).unwrap_or(u32::MAX));
        let is_in_order = self.order.append(key, number);
        if !is_in_order {
            self.places.insert(self.half(key), number);
        }
        self.ring.push_back(Record::new(key, until, is_in_order));
        self.len += 1;
        if self.ring.len() > self.len * 2 + RECORDS_SPARE {
            self.close_up();
        }
    }

    /// Forgets the first as long as `goes` says so, of until when it is done and how many there are.
    pub(super) fn forget_while(&mut self, goes: impl Fn(Instant, usize) -> bool) {
        let Some(base) = self.base else { return };
        while let Some(record) = self.ring.front().copied() {
            if let Some(until) = record.until() {
                if !goes(until.at(base), self.len) {
                    return;
                }
                if !record.is_in_order() {
                    self.places.forget(self.half(record.key), self.first);
                }
                self.len -= 1;
            }
            self.ring.pop_front();
            self.first = self.first.wrapping_add(1);
            self.order.forget_before(self.first);
        }
    }

    /// Leaves out records of what was done again.
    fn close_up(&mut self) {
        self.ring.retain(|record| record.until().is_some());
        self.places.clear();
        self.order = InOrder::default();
        for (number, record) in (0_u32..).zip(&self.ring) {
            let number = self.first.wrapping_add(number);
            match record.is_in_order() {
                // Some of what was in order is left out: the rest still is.
                true => _ = self.order.append(record.key, number),
                false => self.places.insert(self.half(record.key), number),
            }
        }
    }

    #[inline]
    fn half(&self, key: IdempotencyKey) -> Half {
        Half::of(self.hashing.hash_one(key))
    }

    /// The number of a key. Order and table know numbers of records that have gone, or were done again, for a while longer: they are nobody's.
    #[inline]
    fn find(&self, key: IdempotencyKey) -> Option<u32> {
        let is_it = |number: u32| {
            let is_it = |record: &Record| record.key == key && record.until().is_some();
            self.ring.get(self.index(number)).is_some_and(is_it)
        };
        let in_order = self.order.find(key).and_then(|mut numbers| numbers.find(|&number| is_it(number)));
        in_order.or_else(|| self.places.find(self.half(key), is_it))
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

    /// Of version 7: they rise with the number.
    fn id(number: u64) -> IdempotencyKey {
        IdempotencyKey::from_bytes((u128::from(number) << 80 | 7 << 76 | 0b10 << 62).to_be_bytes())
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
        // Digests, ids that rise, ids of which every second is late by one, and both.
        let kinds: [fn(u64) -> IdempotencyKey; 4] = [
            key,
            id,
            |number| id(number ^ 1),
            |number| if number % 3 == 0 { key(number) } else { id(number) },
        ];
        for key in kinds {
            let mut keys = DoneKeys::new();
            keys.first = u32::MAX - 7_000;
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
    }

    #[test]
    fn ids_that_rise_have_no_place_in_the_table_and_little_beside_their_records() {
        let mut keys = DoneKeys::new();
        for number in 0..20_000 {
            keys.put(id(number), at(number));
            keys.forget_while(|_, count| count > 5_000);
            assert_eq!(keys.places.len(), 0);
            assert!(keys.order.starts() <= 5_000 / 32 + 2, "{} of {}", keys.order.starts(), keys.len());
        }
        // Late, and done again: both lie in the table, and go like the others.
        keys.put(id(17), at(30_000));
        keys.put(id(19_999), at(30_001));
        assert_eq!((keys.len(), keys.places.len()), (5_001, 2));
        keys.forget_while(|_, count| count > 2);
        assert_eq!((keys.len(), keys.records(), keys.places.len()), (2, 2, 2));
        assert_eq!((keys.until(id(17)), keys.until(id(19_999))), (Some(at(30_000)), Some(at(30_001))));
        keys.forget_while(|_, _| true);
        assert_eq!((keys.len(), keys.until(id(17)), keys.order.starts()), (0, None, 1));
    }

    /// Some of the ids that rose are done again and again, so that what is left is put together anew.
    #[test]
    fn what_is_in_order_still_is_when_records_are_left_out() {
        let mut keys = DoneKeys::new();
        (0..1_000).for_each(|number| keys.put(id(number), at(number)));
        for round in 0..5 {
            (0..1_000)
                .filter(|number| number % 3 != 0)
                .for_each(|number| keys.put(id(number), at(9_000 + round)));
        }
        assert_eq!((keys.len(), keys.places.len()), (1_000, 666));
        assert!(keys.records() <= 2 * 1_000 + RECORDS_SPARE);
        for number in 0..1_000 {
            let until = if number % 3 == 0 { at(number) } else { at(9_004) };
            assert_eq!(keys.until(id(number)), Some(until), "{number}");
        }
        assert_eq!((keys.until(id(1_000)), keys.until(key(3))), (None, None));
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
