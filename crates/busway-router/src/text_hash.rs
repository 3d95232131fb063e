//! The hash of topics and segments: seeded once per router, fast on short texts.
//!
//! Nothing depends on it for correctness: every table of this crate compares texts after a hash has led it somewhere.
//! The seed is random, so that nobody outside can choose topics that collide.
//!
//! The mixing step is the folded multiplication of wyhash (Wang Yi, 2019): the two halves of a 128-bit product, xored.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Hashes texts; the same text always gives the same number within one value of this type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextHash {
    seed: u64,
    /// All ones, except in tests that want collisions.
    mask: u64,
}

impl TextHash {
    pub(crate) fn random() -> Self {
        Self { seed: RandomState::new().hash_one(0_u8), mask: u64::MAX }
    }

    /// Keeps two bits of each hash, so that most texts collide.
    #[cfg(test)]
    pub(crate) fn colliding() -> Self {
        Self { seed: 7, mask: 0x8000_0000_0000_0001 }
    }

    pub(crate) fn of(&self, text: &str) -> u64 {
        mix_bytes(self.seed, text.as_bytes()) & self.mask
    }
}

impl BuildHasher for TextHash {
    type Hasher = TextHasher;

    fn build_hasher(&self) -> TextHasher {
        TextHasher(self.seed)
    }
}

/// The same hash behind the standard trait, for the match cache.
#[derive(Debug)]
pub(crate) struct TextHasher(u64);

impl Hasher for TextHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix_bytes(self.0, bytes);
    }

    // A text ends with one such byte. The length is mixed in already, so there is little left to do for it.
    fn write_u8(&mut self, byte: u8) {
        self.0 ^= u64::from(byte);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn mix_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(MULTIPLIERS[0]);
    let tail = if let Some(last) = bytes.last_chunk::<8>() {
        // The last eight bytes may overlap the chunk before: cheaper than a loop over the odd ones.
        let (chunks, _) = bytes.as_chunks::<8>();
        for chunk in chunks {
            state = fold(state ^ u64::from_le_bytes(*chunk), MULTIPLIERS[1]);
        }
        u64::from_le_bytes(*last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
    } else {
        bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))
    };
    fold(fold(state ^ tail, MULTIPLIERS[2]), MULTIPLIERS[0])
}

fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the product are what is wanted")]
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}

/// Odd numbers without a pattern: the fractional digits of the golden ratio and of the square roots of two and three.
const MULTIPLIERS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn similar_texts_of_every_length_have_different_hashes() {
        let hash = TextHash::random();
        let texts: HashSet<String> = (0..40)
            .flat_map(|len| ["a", "b", "0"].map(|fill| fill.repeat(len)))
            .chain((0..20_000).map(|n| format!("device{n}")))
            .chain((0..20_000).map(|n| format!("{n}.region")))
            .collect();
        let hashes: HashSet<u64> = texts.iter().map(|text| hash.of(text)).collect();
        assert_eq!(hashes.len(), texts.len());
    }

    #[test]
    fn numbered_texts_spread_over_the_low_bits_and_the_high_ones() {
        let hash = TextHash::random();
        for shift in [0, 5, 10, 57] {
            let mut counts = [0_u32; 32];
            for n in 0..32_000 {
                counts[(hash.of(&format!("d{n}")) >> shift & 31) as usize] += 1;
            }
            assert!(counts.iter().all(|count| (800..1_200).contains(count)), "bits from {shift}: {counts:?}");
        }
    }

    #[test]
    fn seeds_differ_between_routers() {
        assert_ne!(TextHash::random().of("a"), TextHash::random().of("a"));
    }
}
