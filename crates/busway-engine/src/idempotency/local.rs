//! The local cache: keys that are known to be done.

use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

use busway_reliability::{IdempotencyKey, KeyHashing};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::lately::Lately;

/// Says "done", and nothing else: what it does not know proves nothing. A new key is let in whatever is there already, and the one that was
/// used least recently goes.
pub(super) struct LocalCache {
    /// Until when each is known as done, by the bus's clock; the cache's own clock only frees what nobody asks for.
    done: Cache<IdempotencyKey, Instant, KeyHashing>,
    ttl: Duration,
    hashing: KeyHashing,
    lately: Lately,
}

impl LocalCache {
    pub(super) fn new(capacity: u64, ttl: Duration) -> Self {
        // Its default policy would turn new keys away when it is full of others that were asked for more often.
        let done =
            Cache::builder().max_capacity(capacity).time_to_live(ttl).eviction_policy(EvictionPolicy::lru());
        let hashing = KeyHashing::default();
        let done = done.build_with_hasher(hashing.clone());
        Self { done, ttl, hashing, lately: Lately::new(capacity) }
    }

    #[inline]
    pub(super) fn is_done(&self, key: IdempotencyKey, now: Instant) -> bool {
        let hash = self.hashing.hash_one(key);
        self.lately.is_done(key, hash, now) || self.is_done_long_since(key, hash, now)
    }

    fn is_done_long_since(&self, key: IdempotencyKey, hash: u64, now: Instant) -> bool {
        let until = self.done.get(&key).filter(|until| *until > now);
        until.inspect(|until| self.lately.found(key, hash, *until)).is_some()
    }

    pub(super) fn done(&self, key: IdempotencyKey, now: Instant) {
        self.done.insert(key, now + self.ttl);
        self.lately.came();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    fn key(number: u32) -> IdempotencyKey {
        IdempotencyKey::of([number.to_be_bytes()])
    }

    #[test]
    fn at_capacity_it_still_admits_new_ids() {
        let (cache, now) = (LocalCache::new(100, Duration::from_secs(60)), SystemClock.now());
        for number in 0..100 {
            cache.done(key(number), now);
        }
        cache.done.run_pending_tasks();
        // Asked for again and again: a policy by frequency would keep these and turn away all others.
        for _ in 0..50 {
            assert!((0..100).all(|number| cache.is_done(key(number), now)));
        }
        for number in 1_000..1_100 {
            cache.done(key(number), now);
            cache.done.run_pending_tasks();
            assert!(cache.is_done(key(number), now), "{number}");
        }
        assert!(cache.done.entry_count() <= 100);
    }

    #[test]
    fn a_key_that_is_asked_for_is_kept_however_many_come_in_between() {
        for (capacity, between) in [(100, 1), (100, 10), (1_000, 200), (4, 1)] {
            let (cache, now) = (LocalCache::new(capacity, Duration::from_secs(60)), SystemClock.now());
            cache.done(key(0), now);
            for number in 1..3_000 {
                cache.done(key(number), now);
                cache.done.run_pending_tasks();
                if number % between == 0 {
                    assert!(cache.is_done(key(0), now), "{number} of {capacity}");
                    cache.done.run_pending_tasks();
                }
            }
            assert!(!cache.is_done(key(1), now), "what nobody asks for goes");
        }
    }

    #[test]
    fn it_forgets_by_the_clock_of_the_bus() {
        let (cache, now) = (LocalCache::new(10, Duration::from_secs(60)), SystemClock.now());
        cache.done(key(1), now);
        // Found behind and before.
        for _ in 0..2 {
            assert!(cache.is_done(key(1), now + Duration::from_secs(59)));
        }
        assert!(!cache.is_done(key(1), now + Duration::from_secs(60)));
        assert!(!cache.is_done(key(2), now), "a miss proves nothing, but says nothing wrong either");
    }
}
