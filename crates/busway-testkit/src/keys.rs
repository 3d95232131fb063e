//! A shared store of idempotency keys in memory.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use busway_engine::Clock as _;
use busway_reliability::{
    Answer, Asked, Claim, IdempotencyKey, IdempotencyStore, KeyedBuckets, Lease, Ledger, Rate, StoreFuture,
    TakeError, Unreachable,
};
use parking_lot::Mutex;

use crate::clock::ManualClock;

/// A shared store of idempotency keys in memory, on a manual clock, for tests with several buses: what a Redis would be for several
/// processes. Clones are the same store. It can be made unreachable.
///
/// ```
/// use busway_reliability::Idempotency;
/// use busway_testkit::{ManualClock, SharedKeys};
///
/// let keys = SharedKeys::new(&ManualClock::new());
/// let idempotency = Idempotency::by_id().store(keys.store());
/// keys.set_reachable(false);
/// assert_eq!((keys.calls(), idempotency.problems().len()), (0, 0));
/// ```
#[derive(Debug, Clone)]
pub struct SharedKeys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: ManualClock,
    ledger: Mutex<Ledger>,
    /// Of the first rate that is asked for.
    buckets: Mutex<Option<KeyedBuckets<IdempotencyKey>>>,
    is_reachable: AtomicBool,
    is_silent: AtomicBool,
    calls: AtomicUsize,
}

impl SharedKeys {
    /// An empty one.
    #[must_use]
    pub fn new(clock: &ManualClock) -> Self {
        let (ledger, is_reachable) = (Mutex::new(Ledger::new(KEYS_MAX)), AtomicBool::new(true));
        let (clock, buckets, calls) = (clock.clone(), Mutex::default(), AtomicUsize::new(0));
        let is_silent = AtomicBool::new(false);
        Self(Arc::new(Shared { clock, ledger, buckets, is_reachable, is_silent, calls }))
    }

    /// As a subscription takes it.
    #[must_use]
    pub fn store(&self) -> Arc<dyn IdempotencyStore> {
        Arc::clone(&self.0) as _
    }

    /// Whether it answers. While it does not, every call fails at once and does nothing.
    pub fn set_reachable(&self, is_reachable: bool) {
        self.0.is_reachable.store(is_reachable, Ordering::SeqCst);
    }

    /// Whether it says nothing at all: while it does not, a call never ends, and does nothing.
    pub fn set_silent(&self, is_silent: bool) {
        self.0.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// Calls that were made, answered or not.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn answer<T: Send + 'static>(&self, step: impl FnOnce(&mut Ledger) -> T) -> StoreFuture<'static, T> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.is_silent.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(self.say(step)))
    }

    fn say<T>(&self, step: impl FnOnce(&mut Ledger) -> T) -> Result<T, Unreachable> {
        if !self.is_reachable.load(Ordering::SeqCst) {
            return Err(Unreachable { store: self.name(), reason: "the test says so".to_owned() });
        }
        Ok(step(&mut self.ledger.lock()))
    }
}

/// The keys of a subscription are its own.
fn own(claim: &Claim) -> (IdempotencyKey, Lease) {
    let key = IdempotencyKey::of([claim.subscription.as_bytes(), claim.key.as_bytes()]);
    (key, Lease { owner: claim.owner, epoch: claim.epoch })
}

impl IdempotencyStore for Shared {
    fn lease<'a>(&'a self, claim: &'a Claim, lease: Duration) -> StoreFuture<'a, Answer> {
        let ((key, asker), now) = (own(claim), self.clock.now());
        self.answer(|ledger| match ledger.lease(key, asker, now, lease) {
            Asked::Leased => Answer::Leased,
            Asked::Done => Answer::Done,
            Asked::Busy { until } => Answer::Busy { rest: until.saturating_duration_since(now) },
        })
    }

    fn done<'a>(&'a self, claim: &'a Claim, ttl: Duration) -> StoreFuture<'a, ()> {
        let ((key, asker), now) = (own(claim), self.clock.now());
        self.answer(|ledger| _ = ledger.done(key, asker, now, ttl))
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ()> {
        let (key, asker) = own(claim);
        self.answer(|ledger| _ = ledger.release(key, asker))
    }

    fn take<'a>(&'a self, claim: &'a Claim, rate: Rate, burst: u32) -> StoreFuture<'a, Option<Duration>> {
        let ((key, _), now) = (own(claim), self.clock.now());
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        self.answer(|_| {
            let mut buckets = self.buckets.lock();
            let buckets = buckets.get_or_insert_with(|| KeyedBuckets::new(rate, burst, KEYS_MAX));
            match buckets.try_take(key, now) {
                Err(TakeError::Wait { wait, .. }) => Some(wait),
                _ => None,
            }
        })
    }

    fn name(&self) -> String {
        "keys in memory".to_owned()
    }
}

const KEYS_MAX: usize = 1_000_000;
