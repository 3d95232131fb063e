//! Hashing short keys in memory, which are looked up for every event.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Hashes short keys of a fixed length (idempotency keys, positions) for a table in memory, each table in a way of its own that nobody outside knows:
/// ids are chosen by publishers, and must not be chosen so that they all meet. Nothing that it makes is stored.
///
/// Eight bytes a step are multiplied to 128 bits whose halves are joined, as wyhash does (Wang Yi, 2019); a third of what the standard library's
/// takes, which is for texts of any length. A factor that nobody knows may be a weak one, of which few bits reach the others: 4 in 100 let numbers that
/// count up meet in a part of a table. So the last step has one that is known to be good.
#[derive(Debug, Clone)]
pub struct KeyHashing {
    seed: u64,
    factor: u64,
}

impl Default for KeyHashing {
    fn default() -> Self {
        let random = RandomState::new();
        // An even factor would lose a bit of each step.
        Self { seed: random.hash_one(0_u8), factor: random.hash_one(1_u8) | 1 }
    }
}

impl BuildHasher for KeyHashing {
    type Hasher = KeyHasher;

    #[inline]
    fn build_hasher(&self) -> KeyHasher {
        KeyHasher { hash: self.seed, factor: self.factor }
    }
}

/// See [`KeyHashing`].
#[derive(Debug, Clone)]
pub struct KeyHasher {
    hash: u64,
    factor: u64,
}

impl KeyHasher {
    #[inline]
    fn mix(&mut self, word: u64) {
        // Zero would make the rest of a key count for nothing.
        self.hash = joined(self.hash ^ word, self.factor).wrapping_add(self.factor);
    }
}

impl Hasher for KeyHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.mix(u64::from(*byte)));
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.mix(word.into());
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    /// How long a key is: all are alike.
    #[inline]
    fn write_usize(&mut self, _length: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        joined(self.hash, LAST_FACTOR)
    }
}

/// The halves of a product.
#[inline]
fn joined(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a product")]
    let (high, low) = ((product >> 64) as u64, product as u64);
    high ^ low
}

/// The first of wyhash's.
const LAST_FACTOR: u64 = 0xa076_1d64_78bd_642f;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::IdempotencyKey;

    #[test]
    fn keys_that_differ_in_a_bit_or_count_up_spread_over_all_bits() {
        let hashing = KeyHashing::default();
        let single = (0..128).map(|bit| 1_u128 << bit);
        let counted = (0..65_536_u128).map(|number| number << 40);
        for keys in [single.collect::<Vec<_>>(), counted.collect()] {
            let hash = |key: &u128| hashing.hash_one(IdempotencyKey::from_bytes(key.to_be_bytes()));
            let hashes: HashSet<u64> = keys.iter().map(hash).collect();
            assert_eq!(hashes.len(), keys.len());
            for shift in [0, 48] {
                let groups: HashSet<u64> = hashes.iter().map(|hash| hash >> shift & 0xff).collect();
                let expected = keys.len().min(256) / 4;
                assert!(groups.len() > expected, "{} groups of {}", groups.len(), keys.len());
            }
        }
    }

    #[test]
    fn positions_spread_too() {
        let hashing = KeyHashing::default();
        let of = |partition: u32, offset: u64| hashing.hash_one((partition, offset));
        let hashes: HashSet<u64> =
            (0..16).flat_map(|partition| (0..1_000).map(move |offset| of(partition, offset))).collect();
        assert_eq!(hashes.len(), 16_000);
    }

    /// Of 256 values a thousand numbers have 251 in common, give or take; of 128, all.
    #[test]
    fn whatever_the_factor_is_numbers_that_count_up_spread_over_groups_and_tags() {
        for _ in 0..2_000 {
            let hashing = KeyHashing::default();
            let hashes: Vec<u64> = (0..1_000_u64).map(|offset| hashing.hash_one((0_u32, offset))).collect();
            let distinct =
                |part: fn(u64) -> u64| hashes.iter().map(|hash| part(*hash)).collect::<HashSet<_>>().len();
            let (groups, tags) = (distinct(|hash| hash & 0xff), distinct(|hash| hash >> 57));
            let places = distinct(|hash| hash >> 33 & 0xff);
            assert!(
                groups > 220 && places > 220 && tags > 115,
                "{groups}, {places} and {tags} with {hashing:?}"
            );
        }
    }

    #[test]
    fn each_table_has_a_way_of_its_own() {
        let key = IdempotencyKey::from_bytes([7; 16]);
        assert_ne!(KeyHashing::default().hash_one(key), KeyHashing::default().hash_one(key));
    }
}
