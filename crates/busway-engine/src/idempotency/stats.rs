//! What can be counted of a subscription's idempotency, step by step.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Steps of idempotency, since the subscription began in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct IdempotencyStats {
    /// Duplicates that the local cache knew as done.
    pub local_hits: u64,
    /// Duplicates that the store knew as done: the bus's own or a shared one.
    pub store_hits: u64,
    /// Keys that were not known here as done, nor at work: a shared store was asked for them.
    pub misses: u64,
    /// Keys that were leased: their events were handled.
    pub leased: u64,
    /// Events that found their key with another one, here or elsewhere, and waited.
    pub busy: u64,
    /// Keys that were let go without being done: the handler failed, gave up, or was cut short.
    pub released: u64,
    /// Calls that a shared store did not answer.
    pub unreachable: u64,
    /// Events that were handled without protection, because that was [asked for](busway_reliability::OnUnreachable::Pass).
    pub passed: u64,
    /// Events that waited because their key had been attempted too often, see [`retry_rate`](busway_reliability::Idempotency::retry_rate).
    pub throttled: u64,
    /// Events that had no key.
    pub no_key: u64,
    /// Events that were handled and settled though a shared store could not be told until the subscription ended: a duplicate of one may be
    /// handled again.
    pub untold: u64,
}

impl IdempotencyStats {
    /// Both together.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            local_hits: self.local_hits + other.local_hits,
            store_hits: self.store_hits + other.store_hits,
            misses: self.misses + other.misses,
            leased: self.leased + other.leased,
            busy: self.busy + other.busy,
            released: self.released + other.released,
            unreachable: self.unreachable + other.unreachable,
            passed: self.passed + other.passed,
            throttled: self.throttled + other.throttled,
            no_key: self.no_key + other.no_key,
            untold: self.untold + other.untold,
        }
    }
}

impl fmt::Display for IdempotencyStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            local_hits,
            store_hits,
            misses,
            leased,
            busy,
            released,
            unreachable,
            passed,
            throttled,
            no_key,
            untold,
        } = self;
        write!(
            f,
            "{local_hits} local hits, {store_hits} store hits, {misses} misses, {leased} leased, {busy} busy, {released} released, {unreachable} unreachable, {passed} passed, {throttled} throttled, {no_key} without a key, {untold} untold"
        )
    }
}

/// See [`IdempotencyStats`].
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) local_hits: AtomicU64,
    pub(super) store_hits: AtomicU64,
    pub(super) leased: AtomicU64,
    pub(super) busy: AtomicU64,
    pub(super) released: AtomicU64,
    pub(super) unreachable: AtomicU64,
    pub(super) passed: AtomicU64,
    pub(super) throttled: AtomicU64,
    pub(super) no_key: AtomicU64,
    pub(super) untold: AtomicU64,
}

impl Counts {
    /// With those of the turns. `is_alone`: no shared store is asked, so that a key that is new here is leased.
    pub(super) fn stats(&self, turns: TurnCounts, is_alone: bool) -> IdempotencyStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IdempotencyStats {
            local_hits: count(&self.local_hits),
            store_hits: count(&self.store_hits) + turns.store_hits,
            misses: turns.misses,
            leased: if is_alone { turns.misses } else { count(&self.leased) },
            busy: count(&self.busy) + turns.busy,
            released: count(&self.released),
            unreachable: count(&self.unreachable),
            passed: count(&self.passed),
            throttled: count(&self.throttled),
            no_key: count(&self.no_key),
            untold: count(&self.untold),
        }
    }
}

/// What is counted under the lock that is held for it anyway: three atomic counters would be a tenth of what a new key costs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TurnCounts {
    pub(super) store_hits: u64,
    pub(super) misses: u64,
    pub(super) busy: u64,
}
