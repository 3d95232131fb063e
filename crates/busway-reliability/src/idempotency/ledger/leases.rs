//! Keys that are leased: as many as attempts run, which is a handful as a rule.

use std::collections::HashMap;

use super::super::hashing::KeyHashing;
use super::super::key::IdempotencyKey;
use super::Held;

/// A short list that is searched from end to end, and a map for what does not fit into it. Hashing a key and its place in a map, twice for each attempt, take longer than looking at the
/// few that are there.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// [`FEW`] at most, in any order.
    few: Vec<(IdempotencyKey, Held)>,
    /// None of them is among the few.
    others: HashMap<IdempotencyKey, Held, KeyHashing>,
}

impl Leases {
    pub(super) fn len(&self) -> usize {
        self.few.len() + self.others.len()
    }

    /// What is held of it becomes known as done in another way.
    pub(super) fn is_new_no_more(&mut self, key: IdempotencyKey) {
        if let Some((_, held)) = self.few.iter_mut().find(|(other, _)| *other == key) {
            held.is_new = false;
        } else if let Some(held) = self.others.get_mut(&key) {
            held.is_new = false;
        }
    }

    #[inline]
    pub(super) fn get(&self, key: IdempotencyKey) -> Option<&Held> {
        match self.few.iter().find(|(other, _)| *other == key) {
            Some((_, held)) => Some(held),
            None if self.others.is_empty() => None,
            None => self.others.get(&key),
        }
    }

    /// Whether or not it was there.
    #[inline]
    pub(super) fn put(&mut self, key: IdempotencyKey, held: Held) {
        let has_room = self.few.len() < FEW;
        if let Some((_, there)) = self.few.iter_mut().find(|(other, _)| *other == key) {
            *there = held;
        } else if has_room && (self.others.is_empty() || !self.others.contains_key(&key)) {
            self.few.push((key, held));
        } else {
            self.others.insert(key, held);
        }
    }

    /// One that is not there.
    #[inline]
    pub(super) fn put_new(&mut self, key: IdempotencyKey, held: Held) {
        match self.few.len() < FEW {
            true => self.few.push((key, held)),
            false => _ = self.others.insert(key, held),
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, key: IdempotencyKey) -> Option<Held> {
        match self.few.iter().position(|(other, _)| *other == key) {
            Some(at) => Some(self.few.swap_remove(at).1),
            None if self.others.is_empty() => None,
            None => self.others.remove(&key),
        }
    }

    pub(super) fn retain(&mut self, stays: impl Fn(&Held) -> bool) {
        self.few.retain(|(_, held)| stays(held));
        self.others.retain(|_, held| stays(held));
    }
}

/// A look at all of them takes as long as hashing one.
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Lease;
    use super::*;

    proptest! {
        /// More keys than the list has room for, so that they lie in the map too, and come back into the list.
        #[test]
        fn the_list_and_a_map_agree(steps in prop::collection::vec((0_u8..40, 0_u8..5), 1..400)) {
            let (mut leases, mut map) = (Leases::default(), HashMap::<u8, u64>::new());
            let key = |number: u8| IdempotencyKey::from_bytes([number; 16]);
            for (epoch, (number, step)) in (0..).zip(steps) {
                match step {
                    0 => {
                        let removed = leases.remove(key(number)).map(|held| held.lease.epoch);
                        prop_assert_eq!(removed, map.remove(&number));
                    }
                    1 if number == 0 => {
                        leases.retain(|held| held.lease.epoch % 2 == 0);
                        map.retain(|_, epoch| *epoch % 2 == 0);
                    }
                    _ => {
                        leases.put(key(number), Held { lease: Lease { owner: 1, epoch }, until: None, is_new: false });
                        map.insert(number, epoch);
                    }
                }
                prop_assert_eq!(leases.len(), map.len());
                for number in 0..40 {
                    let found = leases.get(key(number)).map(|held| held.lease.epoch);
                    prop_assert_eq!(found, map.get(&number).copied());
                }
            }
        }
    }
}
