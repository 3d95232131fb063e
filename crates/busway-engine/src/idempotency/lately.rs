//! Keys that were found done lately, in front of a cache: asking for one again and again costs a small lock and a comparison.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use busway_reliability::IdempotencyKey;
use parking_lot::Mutex;

/// Each key has one place, which another one takes from it. It knows nothing that the cache behind it did not say, and for no longer.
///
/// The cache lets go of what was used least recently, and does not hear of what is found here: so what is known here has to be asked for there again when an eighth of
/// its capacity has come in since.
pub(super) struct Lately {
    places: Box<[Mutex<Option<Known>>]>,
    /// Keys that have come in.
    came: AtomicU64,
    unheard_max: u64,
}

#[derive(Clone, Copy)]
struct Known {
    key: IdempotencyKey,
    until: Instant,
    /// Keys that had come in when the cache was asked.
    asked_at: u64,
}

impl Lately {
    pub(super) fn new(capacity: u64) -> Self {
        let places = std::iter::repeat_with(Mutex::default).take(PLACES).collect();
        Self { places, came: AtomicU64::new(0), unheard_max: capacity / 8 }
    }

    /// Another key came into the cache.
    pub(super) fn came(&self) {
        self.came.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is known as done.
    #[inline]
    pub(super) fn is_done(&self, key: IdempotencyKey, hash: u64, now: Instant) -> bool {
        let Some(place) = self.place(hash) else { return false };
        let known = *place.lock();
        known.is_some_and(|known| {
            let unheard = self.came.load(Ordering::Relaxed).wrapping_sub(known.asked_at);
            known.key == key && known.until > now && unheard < self.unheard_max
        })
    }

    /// The cache knows it as done until then.
    pub(super) fn found(&self, key: IdempotencyKey, hash: u64, until: Instant) {
        if let Some(place) = self.place(hash) {
            *place.lock() = Some(Known { key, until, asked_at: self.came.load(Ordering::Relaxed) });
        }
    }

    #[inline]
    fn place(&self, hash: u64) -> Option<&Mutex<Option<Known>>> {
        self.places.get(usize::try_from(hash % PLACES as u64).ok()?)
    }
}

/// 56 bytes each.
const PLACES: usize = 256;
