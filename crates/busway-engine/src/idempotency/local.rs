//! The local cache: keys that are known to be done.

use std::time::{Duration, Instant};

use busway_reliability::{IdempotencyKey, KeyHashing};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// Says "done", and nothing else: what it does not know proves nothing. A new key is let in whatever is there already, and the one that was
/// used least recently goes.
pub(super) struct LocalCache {
    /// Until when each is known as done, by the bus's clock; the cache's own clock only frees what nobody asks for.
    done: Cache<IdempotencyKey, Instant, KeyHashing>,
    ttl: Duration,
}

impl LocalCache {
    pub(super) fn new(capacity: u64, ttl: Duration) -> Self {
        // Its default policy would turn new keys away when it is full of others that were asked for more often.
        let done =
            Cache::builder().max_capacity(capacity).time_to_live(ttl).eviction_policy(EvictionPolicy::lru());
        Self { done: done.build_with_hasher(KeyHashing::default()), ttl }
    }

    #[inline]
    pub(super) fn is_done(&self, key: IdempotencyKey, now: Instant) -> bool {
        self.done.get(&key).is_some_and(|until| until > now)
    }

    pub(super) fn done(&self, key: IdempotencyKey, now: Instant) {
        self.done.insert(key, now + self.ttl);
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
    fn it_forgets_by_the_clock_of_the_bus() {
        let (cache, now) = (LocalCache::new(10, Duration::from_secs(60)), SystemClock.now());
        cache.done(key(1), now);
        assert!(cache.is_done(key(1), now + Duration::from_secs(59)));
        assert!(!cache.is_done(key(1), now + Duration::from_secs(60)));
        assert!(!cache.is_done(key(2), now), "a miss proves nothing, but says nothing wrong either");
    }
}
