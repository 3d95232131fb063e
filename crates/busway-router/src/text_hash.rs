//! The hash of topics and segments: seeded once per router, fast on short texts.
//!
//! Nothing depends on it for correctness: every table of this crate compares texts after a hash has led it somewhere.
//! The seeds are random, so that nobody outside can choose topics that collide.
//!
//! The mixing step is the folded multiplication of wyhash (Wang Yi, 2019): the two halves of a 128-bit product, xored. Each
//! takes in sixteen bytes.

use std::hash::{BuildHasher, RandomState};

/// Hashes texts; the same text always gives the same number within one value of this type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextHash {
    /// Random and odd, each of them: a factor that somebody can guess could be made zero by a text.
    seeds: [u64; 3],
    /// All ones, except in tests that want collisions.
    mask: u64,
}

impl TextHash {
    pub(crate) fn random() -> Self {
        let random = RandomState::new();
        Self { seeds: [0_u8, 1, 2].map(|number| random.hash_one(number) | 1), mask: u64::MAX }
    }

    /// Keeps two bits of each hash, so that most texts collide.
    #[cfg(test)]
    pub(crate) fn colliding() -> Self {
        Self { seeds: [7, 11, 13], mask: 0x8000_0000_0000_0001 }
    }

    #[inline]
    pub(crate) fn of(&self, text: &str) -> u64 {
        let [start, middle, end] = self.seeds;
        let bytes = text.as_bytes();
        let mut state = start ^ bytes.len() as u64;
        let (low, high) = if let Some(last) = bytes.last_chunk::<16>() {
            let (chunks, _) = bytes.as_chunks::<16>();
            for chunk in chunks {
                let (low, high) = halves(chunk);
                state = fold(low ^ middle, high ^ state);
            }
            // The last sixteen bytes may overlap the chunk before: cheaper than a loop over the odd ones.
            halves(last)
        } else if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
        } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
        } else {
            (bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), 0)
        };
        fold(fold(low ^ end, high ^ state), MULTIPLIER) & self.mask
    }
}

fn halves(chunk: &[u8; 16]) -> (u64, u64) {
    let word = u128::from_le_bytes(*chunk);
    #[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
    let halves = (word as u64, (word >> 64) as u64);
    halves
}

fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the product are what is wanted")]
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}

/// An odd number without a pattern: the fractional digits of the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

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
