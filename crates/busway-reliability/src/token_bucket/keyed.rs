//! A token bucket for each key, for a bounded number of keys.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Instant;

use super::{Rate, TakeError, TokenBucket};

/// A [`TokenBucket`] for each key: one key that is asked for again and again takes nothing from the others.
///
/// It knows `keys_max` keys. For one more, the key that was asked for least recently is forgotten, and begins with a full bucket when it comes back; so the
/// bound is exact for as long as no more keys than that are asked for within the time in which a bucket fills.
///
/// ```
/// use std::num::NonZeroU32;
/// use std::time::Instant;
/// use busway_reliability::{KeyedBuckets, Rate};
///
/// # let now = Instant::now();
/// let mut buckets = KeyedBuckets::new(Rate::per_second(NonZeroU32::MIN), NonZeroU32::MIN, 1_000);
/// assert!(buckets.try_take("A-1", now).is_ok());
/// assert!(buckets.try_take("A-1", now).is_err());
/// assert!(buckets.try_take("B-7", now).is_ok());
/// ```
#[derive(Debug)]
pub struct KeyedBuckets<K> {
    rate: Rate,
    burst: NonZeroU32,
    keys_max: usize,
    buckets: HashMap<K, Held>,
    /// Keys by when they were asked for last.
    turns: BTreeMap<u64, K>,
    turn: u64,
}

#[derive(Debug)]
struct Held {
    bucket: TokenBucket,
    turn: u64,
}

impl<K: Hash + Eq + Clone> KeyedBuckets<K> {
    /// Buckets of this rate and burst for so many keys; 0 counts as 1.
    #[must_use]
    pub fn new(rate: Rate, burst: NonZeroU32, keys_max: usize) -> Self {
        Self {
            rate,
            burst,
            keys_max: keys_max.max(1),
            buckets: HashMap::new(),
            turns: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Takes a token of a key.
    ///
    /// # Errors
    /// [`TakeError::Wait`] says when there will be one.
    pub fn try_take(&mut self, key: K, now: Instant) -> Result<(), TakeError> {
        self.turn += 1;
        let turn = self.turn;
        let held = match self.buckets.entry(key.clone()) {
            Entry::Occupied(there) => {
                let held = there.into_mut();
                self.turns.remove(&held.turn);
                held.turn = turn;
                held
            }
            Entry::Vacant(place) => {
                place.insert(Held { bucket: TokenBucket::new(self.rate, self.burst, now), turn })
            }
        };
        let taken = held.bucket.try_take(1, now);
        self.turns.insert(turn, key);
        while self.buckets.len() > self.keys_max
            && let Some((_, oldest)) = self.turns.pop_first()
        {
            self.buckets.remove(&oldest);
        }
        taken
    }

    /// Keys that it knows.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.buckets.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::epoch::epoch;

    const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

    fn buckets(keys_max: usize) -> KeyedBuckets<u8> {
        KeyedBuckets::new(Rate::per_second(NonZeroU32::MIN), TWO, keys_max)
    }

    #[test]
    fn a_key_that_is_used_up_takes_nothing_from_the_others() {
        let (mut buckets, now) = (buckets(10), epoch());
        assert!((0..2).all(|_| buckets.try_take(1, now).is_ok()));
        assert!(
            matches!(buckets.try_take(1, now), Err(TakeError::Wait { wait, .. }) if wait == Duration::from_secs(1))
        );
        assert!(buckets.try_take(2, now).is_ok());
        assert!(buckets.try_take(1, now + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn the_key_that_was_asked_for_least_recently_is_forgotten() {
        let (mut buckets, now) = (buckets(2), epoch());
        for key in [1, 1, 2, 1] {
            _ = buckets.try_take(key, now);
        }
        assert!(buckets.try_take(3, now).is_ok());
        assert!(buckets.try_take(1, now).is_err(), "2 has gone, not 1");
        assert_eq!(buckets.keys(), 2);
    }

    proptest! {
        #[test]
        fn it_knows_no_more_keys_than_it_may_and_each_is_a_bucket_of_its_own(
            steps in prop::collection::vec((0_u8..6, 0_u64..2_000), 1..200),
            keys_max in 1_usize..8,
        ) {
            let (mut buckets, mut alone, mut now) = (buckets(keys_max), HashMap::new(), epoch());
            for (key, millis) in steps {
                now += Duration::from_millis(millis);
                let fresh = || TokenBucket::new(Rate::per_second(NonZeroU32::MIN), TWO, now);
                let expected = alone.entry(key).or_insert_with(fresh).try_take(1, now);
                let taken = buckets.try_take(key, now);
                if keys_max >= 6 {
                    prop_assert_eq!(taken, expected);
                }
                prop_assert!(buckets.keys() <= keys_max && buckets.turns.len() == buckets.keys());
            }
        }
    }
}
