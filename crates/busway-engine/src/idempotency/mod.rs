//! Idempotency, carried out: for one subscription, which keys are at work in this process, which are done, and whom to ask for others.
//!
//! The rules are [`Ledger`]'s; where keys are kept is one of three places:
//!
//! | place | leases | done |
//! |---|---|---|
//! | the bus's own store | in this process, which alone has the store open | in memory, all of them; stored with the settlement of their events, and read when the subscription begins |
//! | a shared store | in this process first, then in the store | in the store; the local cache may answer "done" before |
//! | memory | in this process | in the local cache |
//!
//! Nothing here waits but calls of a shared store. A lock is held for moments.

mod kept;
mod lately;
mod leaving;
mod local;
mod shared;
mod stage;
mod stats;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use busway_event::{AnyEvent, Timestamp};
use busway_middleware::Outcome;
use busway_persistence::{DoneKey, Position};
use busway_reliability::{Asked, KeyedBuckets, Lease, Ledger};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

pub(crate) use self::kept::Kept;
use self::local::LocalCache;
use self::shared::ANSWER_WITHIN;
pub(crate) use self::shared::{LOOK_AGAIN, Leased, Throttled, beside};
pub(crate) use self::stage::{Known, Once};
pub use self::stats::IdempotencyStats;
use self::stats::{Counts, TurnCounts};
use self::turns::Turns;
pub(crate) use self::turns::Waiters;
use crate::clock::Clock;
use crate::settings::{Origin, Setting};
#[doc(inline)]
pub use busway_reliability::{
    Answer, Claim, Idempotency, IdempotencyKey, IdempotencyKeyError, IdempotencyProblem, IdempotencyStore,
    KeyDigest, KeySource, OnNoKey, OnUnreachable, Pointer, PointerError, StoreFuture, Unreachable,
};

/// See the module.
pub(crate) struct Keeper {
    settings: Idempotency,
    source: KeySource,
    subscription: Arc<str>,
    place: Place,
    turns: Mutex<Turns>,
    /// How often a key may be attempted again, when that is bounded in this process.
    buckets: Option<Mutex<KeyedBuckets<IdempotencyKey>>>,
    /// Rings when a key is let go, for those who wait where they are.
    changed: Notify,
    /// Who this is, among the processes that share a store.
    owner: u64,
    counts: Counts,
    /// Whether a shared store could not be reached when it was asked last.
    is_away: AtomicBool,
    /// How old a lease of a shared store may be when an attempt begins.
    slack: Duration,
}

/// Where keys that are done are kept.
enum Place {
    Own,
    Shared(Arc<dyn IdempotencyStore>, LocalCache),
    Memory(LocalCache),
}

/// Whether an event may be handled.
pub(crate) enum Entered {
    /// Its key is this attempt's, in this process.
    Held(Held),
    /// Its key is done.
    Duplicate,
    /// Another attempt has its key.
    Busy(IdempotencyKey),
    /// It has no key.
    NoKey(IdempotencyKeyError),
}

/// A key that an attempt has, in this process. Must be [let go](Keeper::let_go). Small, for it is moved about with each attempt.
#[derive(Debug)]
pub(crate) struct Held {
    key: IdempotencyKey,
    /// Which attempt of this process has it.
    turn: u64,
    /// A shared store knows of it, and is to be told what becomes of it.
    there: Option<Box<There>>,
}

/// A key in a shared store.
#[derive(Debug)]
struct There {
    /// Of its claim: rising, also from one time to the next that it is asked for.
    epoch: u64,
    /// When the store was asked for the lease that it has there: it lasts from then on, or longer. `None`: it is handled without one.
    asked: Option<Instant>,
    /// The store has said since that the lease is another's.
    is_lost: bool,
}

impl Held {
    pub(crate) const fn key(&self) -> IdempotencyKey {
        self.key
    }

    /// As the ledger knows it.
    const fn lease(&self) -> Lease {
        lease_of(self.turn)
    }
}

const fn lease_of(turn: u64) -> Lease {
    Lease { owner: turn, epoch: 0 }
}

/// What is stored of a key with the settlement of its event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyDone {
    pub(crate) key: DoneKey,
    pub(crate) keys_max: usize,
}

impl Keeper {
    /// For a durable subscription: the keys lie in a shared store, or in the bus's own. A lease is to outlast an attempt that takes as long as the deadline.
    pub(crate) fn durable(
        settings: &Idempotency,
        subscription: Arc<str>,
        deadline: Option<Duration>,
    ) -> Option<Self> {
        let place = Self::shared(settings).unwrap_or(Place::Own);
        let mut keeper = Self::new(settings, subscription, place)?;
        if let Some(deadline) = deadline {
            keeper.slack = settings.lease_time().saturating_sub(deadline);
        }
        Some(keeper)
    }

    /// What it was made of.
    pub(crate) const fn settings(&self) -> &Idempotency {
        &self.settings
    }

    /// For an ephemeral subscription: the keys lie in a shared store, or in memory.
    pub(crate) fn ephemeral(settings: &Idempotency, subscription: Arc<str>) -> Option<Self> {
        let (capacity, ttl) = settings.local();
        let memory = || Place::Memory(LocalCache::new(capacity, ttl.min(settings.ttl_of_keys())));
        let place = Self::shared(settings).unwrap_or_else(memory);
        Self::new(settings, subscription, place)
    }

    fn shared(settings: &Idempotency) -> Option<Place> {
        let store = settings.shared_store()?;
        let (capacity, ttl) = settings.local();
        let cache = LocalCache::new(capacity, ttl.min(settings.ttl_of_keys()));
        Some(Place::Shared(Arc::clone(store), cache))
    }

    fn new(settings: &Idempotency, subscription: Arc<str>, place: Place) -> Option<Self> {
        let buckets = settings.rate_of_retries().filter(|_| !matches!(place, Place::Shared(..)));
        let buckets = buckets.map(|(rate, burst)| Mutex::new(KeyedBuckets::new(rate, burst, BUCKETS_MAX)));
        let turns = Turns {
            ledger: Ledger::new(settings.most_keys()),
            waiting: HashMap::new(),
            epochs: 0,
            counts: TurnCounts::default(),
        };
        Some(Self {
            source: settings.source()?.clone(),
            settings: settings.clone(),
            subscription,
            place,
            turns: Mutex::new(turns),
            buckets,
            changed: Notify::new(),
            owner: fastrand::u64(..),
            counts: Counts::default(),
            is_away: AtomicBool::new(false),
            slack: settings.lease_time().min(ANSWER_WITHIN),
        })
    }

    /// Whether the bus's own store has keys of it.
    pub(crate) const fn is_in_own_store(&self) -> bool {
        matches!(self.place, Place::Own)
    }

    /// Takes up the keys that the store has of it. Times that are too far ahead are those of a clock that was wrong.
    pub(crate) fn restore(&self, keys: Vec<DoneKey>, (now, utc): (Instant, Timestamp)) {
        let mut turns = self.turns.lock();
        for DoneKey { key, until } in keys {
            let rest = until.saturating_since(utc).min(self.settings.ttl_of_keys());
            turns.ledger.restore(IdempotencyKey::from_bytes(key), now + rest, now);
        }
    }

    /// Whether the local cache knows the key of an event as done. A "no" says nothing.
    #[inline]
    pub(crate) fn is_known(&self, event: &AnyEvent, now: Instant) -> bool {
        let (Place::Shared(_, local) | Place::Memory(local)) = &self.place else { return false };
        let is_known = self.source.key(event).is_ok_and(|key| local.is_done(key, now));
        if is_known {
            self.counts.local_hits.fetch_add(1, Ordering::Relaxed);
        }
        is_known
    }

    /// Takes the key of an event, in this process; what is parked at `place` waits for it no more. Waits for nothing; allocates nothing for a key that the local cache or
    /// the bus's own store knows as done.
    #[inline]
    pub(crate) fn enter(&self, event: &AnyEvent, place: Option<Position>, clock: &dyn Clock) -> Entered {
        let key = match self.source.key(event) {
            Ok(key) => key,
            Err(error) => {
                self.counts.no_key.fetch_add(1, Ordering::Relaxed);
                return Entered::NoKey(error);
            }
        };
        self.take((&key, place), clock, || {})
    }

    /// The same of its key. `asked` is run behind the look into the cache, when nothing is held: for a test.
    #[inline]
    fn take(
        &self,
        (key, place): (&IdempotencyKey, Option<Position>),
        clock: &dyn Clock,
        asked: impl FnOnce(),
    ) -> Entered {
        if let Place::Shared(_, local) | Place::Memory(local) = &self.place
            && local.is_done(*key, clock.now())
        {
            self.counts.local_hits.fetch_add(1, Ordering::Relaxed);
            if let Some(place) = place {
                self.turns.lock().waits_no_more(*key, place);
            }
            return Entered::Duplicate;
        }
        asked();
        self.take_turn((key, place), clock)
    }

    /// The same where the cache does not know it. Out of line, with the key where it is: taken apart for the look into the cache and put together again, it would be read before it is written.
    #[inline(never)]
    fn take_turn(&self, (key, place): (&IdempotencyKey, Option<Position>), clock: &dyn Clock) -> Entered {
        let mut turns = self.turns.lock();
        if let Some(place) = place {
            turns.waits_no_more(*key, place);
        }
        let (turn, key) = (turns.next_epoch(), *key);
        let lease = lease_of(turn);
        // For as long as the attempt lasts: who holds it lets go of it in any case. The clock is read for a key that is known alone.
        match turns.ledger.hold(key, lease, || clock.now()) {
            // Who held it may have been done since the cache was asked: it says so there before it lets go, under this lock.
            Asked::Leased if matches!(&self.place, Place::Memory(local) if local.is_done(key, clock.now())) =>
            {
                turns.ledger.release(key, lease);
                drop(turns);
                self.counts.local_hits.fetch_add(1, Ordering::Relaxed);
                Entered::Duplicate
            }
            Asked::Leased => {
                turns.counts.misses += 1;
                Entered::Held(Held { key, turn, there: None })
            }
            Asked::Done => {
                turns.counts.store_hits += 1;
                Entered::Duplicate
            }
            Asked::Busy { .. } => {
                turns.counts.busy += 1;
                Entered::Busy(key)
            }
        }
    }

    fn next_epoch(&self) -> u64 {
        self.turns.lock().next_epoch()
    }

    /// Lets a key go in this process, and says who of those that wait for it has its turn: all when its event has been handled, `is_done`, and are
    /// duplicates; else the next, and the others behind that.
    pub(crate) fn let_go(&self, held: &Held, is_done: bool, now: Instant) -> Vec<Position> {
        let mut turns = self.turns.lock();
        match (&self.place, is_done) {
            (Place::Own, true) => {
                _ = turns.ledger.done(held.key, held.lease(), now, self.settings.ttl_of_keys());
            }
            (Place::Shared(_, local) | Place::Memory(local), true) => {
                local.done(held.key, now);
                turns.ledger.release(held.key, held.lease());
            }
            (_, false) => {
                self.counts.released.fetch_add(1, Ordering::Relaxed);
                turns.ledger.release(held.key, held.lease());
            }
        }
        self.is_free(turns, held.key, if is_done { Waiters::All } else { Waiters::Next })
    }

    /// A key that was taken here turned out to be done, or another's, in the shared store.
    pub(crate) fn hand_back(&self, held: &Held, waiters: Waiters) -> Vec<Position> {
        let mut turns = self.turns.lock();
        turns.ledger.release(held.key, held.lease());
        self.is_free(turns, held.key, waiters)
    }

    /// Tells who waits for a key where it is, and says who of those that wait for it parked has its turn.
    fn is_free(
        &self,
        mut turns: MutexGuard<'_, Turns>,
        key: IdempotencyKey,
        waiters: Waiters,
    ) -> Vec<Position> {
        // As a rule. Told apart, so that a list of nobody is not put down here and moved.
        if turns.waiting.is_empty() {
            drop(turns);
            self.tell_of_change();
            return Vec::new();
        }
        let waiting = turns.take_waiting(key, waiters);
        drop(turns);
        self.tell_of_change();
        waiting
    }

    /// Whether an attempt has the key, in this process.
    fn is_at_work(&self, key: IdempotencyKey, now: Instant) -> bool {
        self.turns.lock().ledger.is_leased(key, now)
    }

    /// A parked event waits for a key to be let go; `false`: that has happened already.
    pub(crate) fn wait_for(&self, key: IdempotencyKey, place: Position, now: Instant) -> bool {
        let mut turns = self.turns.lock();
        let is_leased = turns.ledger.is_leased(key, now);
        if is_leased {
            turns.waiting.entry(key).or_default().insert(place);
        }
        is_leased
    }

    /// How long a parked event waits for a key that nobody lets go before it looks for itself.
    pub(crate) const fn patience(&self) -> Duration {
        self.settings.lease_time()
    }

    /// What is stored with the settlement of an event whose handler was done.
    pub(crate) fn key_done(&self, held: &Held, utc: Timestamp) -> Option<KeyDone> {
        let until = utc.saturating_add(self.settings.ttl_of_keys());
        let key = DoneKey { key: *held.key.as_bytes(), until };
        self.is_in_own_store().then(|| KeyDone { key, keys_max: self.settings.most_keys() })
    }

    /// What an event without a key comes to.
    pub(crate) fn without_key(&self, error: IdempotencyKeyError) -> Outcome {
        match self.settings.without_key() {
            OnNoKey::Retry => Outcome::failed(error),
            _ => Outcome::dead(error),
        }
    }

    pub(crate) fn stats(&self) -> IdempotencyStats {
        self.counts.stats(self.turns.lock().counts, !matches!(self.place, Place::Shared(..)))
    }

    /// All of its settings, to be compared.
    pub(crate) fn settings_text(&self) -> String {
        format!("{:?}", self.settings)
    }

    pub(crate) fn described(&self) -> Setting {
        Setting { name: "idempotent", value: self.settings.to_string(), origin: Origin::Subscription }
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Keys whose attempts are counted in this process.
const BUCKETS_MAX: usize = 10_000;
