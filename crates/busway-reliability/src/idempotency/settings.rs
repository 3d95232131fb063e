//! How a subscription is made idempotent.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use busway_event::AnyEvent;

use super::key::IdempotencyKey;
use super::pointer::{Pointer, PointerError};
use super::problem::{IdempotencyProblem, names_problems};
use super::source::KeySource;
use super::store::IdempotencyStore;
use crate::token_bucket::Rate;

/// How a subscription is made idempotent: which key an event has, and for how long it is remembered that it is done.
///
/// An event whose key is done is settled as skipped, and counted. One whose key is leased waits until that ends, without being charged an
/// attempt. A key is done when a handler was done, never before: a failure leaves nothing, and the next attempt handles the event.
///
/// | the keys are kept | by | what is certain |
/// |---|---|---|
/// | in the bus's own store: a durable subscription without a [`store`](Self::store) | the transaction that settles the event | a key that is done is done after any crash. A crash between the handler's effect and that commit repeats the effect, unless it is in the same transaction (`Tx`) |
/// | in a shared [`store`](Self::store), such as Redis | a call behind the handler and before the settlement | a crash between the effect and that call repeats the effect, unless the outside system refuses the key a second time |
/// | in memory: an ephemeral subscription without a [`store`](Self::store) | this process | they are gone with it |
///
/// Setters never fail: what is wrong is said when the subscription begins, all of it at once.
///
/// ```
/// use std::time::Duration;
/// use busway_reliability::Idempotency;
///
/// let once = Idempotency::by_metadata(["bizId", "timestamp", "version"]).ttl(Duration::from_secs(3_600));
/// assert!(once.problems().is_empty());
/// assert_eq!(once.to_string(), "metadata bizId + timestamp + version for 3600s");
/// ```
#[derive(Clone)]
#[must_use = "it is given to a subscription with .idempotent(…)"]
pub struct Idempotency {
    source: Result<KeySource, PointerError>,
    ttl: Duration,
    lease: Duration,
    keys_max: usize,
    local_capacity: u64,
    local_ttl: Duration,
    on_no_key: OnNoKey,
    on_unreachable: OnUnreachable,
    retry_rate: Option<(Rate, NonZeroU32)>,
    store: Option<Arc<dyn IdempotencyStore>>,
}

/// What becomes of an event that has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnNoKey {
    /// It is given up at once: a later attempt finds no key either.
    #[default]
    GiveUp,
    /// It fails as any attempt does, and is attempted again: somebody may set the configuration right meanwhile.
    Retry,
}

/// What becomes of an event while the shared store cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnUnreachable {
    /// It waits, and is charged no attempt.
    #[default]
    Delay,
    /// It is handled without protection, and counted (`passed`): it may be handled twice.
    Pass,
}

impl Idempotency {
    /// By the event's id: what is delivered twice is handled once.
    pub fn by_id() -> Self {
        Self::of(Ok(KeySource::Id))
    }

    /// By fields of the metadata, one or several: see [`KeySource::Metadata`].
    pub fn by_metadata<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(|name| name.into().into_boxed_str()).collect();
        Self::of(Ok(KeySource::Metadata(names)))
    }

    /// By a value in the payload, which is JSON: `/order/id` (RFC 6901).
    pub fn by_pointer(pointer: &str) -> Self {
        Self::by_pointers([pointer])
    }

    /// By several values in the payload.
    pub fn by_pointers<'a>(pointers: impl IntoIterator<Item = &'a str>) -> Self {
        let pointers: Result<Vec<Pointer>, PointerError> = pointers.into_iter().map(Pointer::new).collect();
        Self::of(pointers.map(KeySource::Pointers))
    }

    /// By a function. Where it has no key for an event, that is an error of the event as with the others; a panic in it too.
    ///
    /// ```
    /// use busway_reliability::{Idempotency, IdempotencyKey};
    ///
    /// // An order counts once a day, whoever says so how often.
    /// let once = Idempotency::by(|event| {
    ///     let (order, day) = (event.metadata().get("order")?, event.metadata().get("day")?);
    ///     Some(IdempotencyKey::of([order, day]))
    /// });
    /// assert!(once.problems().is_empty());
    /// ```
    pub fn by(key: impl Fn(&AnyEvent) -> Option<IdempotencyKey> + Send + Sync + 'static) -> Self {
        Self::of(Ok(KeySource::Function(Arc::new(key))))
    }

    fn of(source: Result<KeySource, PointerError>) -> Self {
        Self {
            source,
            ttl: TTL,
            lease: LEASE,
            keys_max: KEYS_MAX,
            local_capacity: LOCAL_CAPACITY,
            local_ttl: LOCAL_TTL,
            on_no_key: OnNoKey::default(),
            on_unreachable: OnUnreachable::default(),
            retry_rate: None,
            store: None,
        }
    }

    /// For how long a key that is done is remembered: from the decision on, and across a restart, for a handler in a transaction, from the beginning of its attempt. Default 24 h; from 1 ms to 366 days. An ephemeral subscription without a shared store
    /// remembers for the shorter of this and [`local_ttl`](Self::local_ttl).
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Longest time of a lease in a shared store. It is asked for again behind each third, for as long as a handler runs or what is before it waits; not while a blocking
    /// handler holds up its thread, which has to be shorter. A process that dies keeps its keys from others for so long. Default 30 s; from 1 ms to 24 h. Within one process a lease lasts for
    /// as long as its attempt.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Keys that the bus's own store remembers as done, for this subscription; the oldest is forgotten for one more. 5 to 20 bytes each on
    /// disk where many are settled together, 39 where each is alone, and 25 to 90 in memory. Default 1,000,000; at least 1, at most 16,777,216.
    pub const fn keys_max(mut self, keys: usize) -> Self {
        self.keys_max = keys;
        self
    }

    /// Keys in the local cache, which answers before a shared store is asked, and is all that an ephemeral subscription without one has; the one that
    /// was used least recently goes for a new one. Default 10,000; at least 1. The bus's own store keeps its keys in memory and has no cache before it.
    pub const fn local_capacity(mut self, keys: u64) -> Self {
        self.local_capacity = keys;
        self
    }

    /// For how long the local cache answers. Default 60 s, at least 1 ms.
    pub const fn local_ttl(mut self, ttl: Duration) -> Self {
        self.local_ttl = ttl;
        self
    }

    /// Bounds how often one key is attempted again: a token bucket a key, which holds `burst` attempts beyond the first and earns them at `rate`. An event
    /// for which there is none waits, parked, and is charged nothing; what a breaker refuses takes none. With a shared store the bound holds for all processes together. In one process the
    /// buckets of the last 10,000 keys are remembered. Default: no bound but the subscription's own retry. Of durable subscriptions.
    pub const fn retry_rate(mut self, rate: Rate, burst: NonZeroU32) -> Self {
        self.retry_rate = Some((rate, burst));
        self
    }

    /// Keeps the keys in a store that several processes share, instead of the bus's own. They lie there under the name of the subscription, which members have in common: of a durable one its own, at a broker the name there, of a
    /// group in memory without a name its filter and the group's name. Another one in memory needs a name.
    pub fn store(mut self, store: Arc<dyn IdempotencyStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// What becomes of an event that has no key. Default [`OnNoKey::GiveUp`].
    pub const fn on_no_key(mut self, on_no_key: OnNoKey) -> Self {
        self.on_no_key = on_no_key;
        self
    }

    /// What becomes of events while the shared store cannot be reached. Default [`OnUnreachable::Delay`].
    pub const fn on_unreachable(mut self, on_unreachable: OnUnreachable) -> Self {
        self.on_unreachable = on_unreachable;
        self
    }

    /// Everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<IdempotencyProblem> {
        let mut problems = match &self.source {
            Err(error) => vec![IdempotencyProblem::Pointer(error.clone())],
            Ok(KeySource::Metadata(names)) => names_problems(names),
            Ok(KeySource::Pointers(pointers)) if pointers.is_empty() => vec![IdempotencyProblem::NoParts],
            Ok(_) => Vec::new(),
        };
        let millis = Duration::from_millis(1);
        for (setting, value, most) in [
            ("ttl", self.ttl, TTL_MAX),
            ("lease", self.lease, LEASE_MAX),
            ("local_ttl", self.local_ttl, TTL_MAX),
        ] {
            if value < millis || value > most {
                problems.push(IdempotencyProblem::Time { setting, value, most });
            }
        }
        if !(1..=KEYS_LIMIT).contains(&self.keys_max) {
            problems.push(IdempotencyProblem::Keys { keys: self.keys_max, most: KEYS_LIMIT });
        }
        if self.local_capacity == 0 {
            problems.push(IdempotencyProblem::NoLocalCapacity);
        }
        problems
    }

    /// Where keys come from; `None` when that is one of the [`problems`](Self::problems).
    #[must_use]
    pub fn source(&self) -> Option<&KeySource> {
        self.source.as_ref().ok()
    }

    /// See [`ttl`](Self::ttl).
    #[must_use]
    pub const fn ttl_of_keys(&self) -> Duration {
        self.ttl
    }

    /// See [`lease`](Self::lease).
    #[must_use]
    pub const fn lease_time(&self) -> Duration {
        self.lease
    }

    /// See [`keys_max`](Self::keys_max).
    #[must_use]
    pub const fn most_keys(&self) -> usize {
        self.keys_max
    }

    /// See [`local_capacity`](Self::local_capacity) and [`local_ttl`](Self::local_ttl).
    #[must_use]
    pub const fn local(&self) -> (u64, Duration) {
        (self.local_capacity, self.local_ttl)
    }

    /// See [`store`](Self::store).
    #[must_use]
    pub const fn shared_store(&self) -> Option<&Arc<dyn IdempotencyStore>> {
        self.store.as_ref()
    }

    /// See [`retry_rate`](Self::retry_rate).
    #[must_use]
    pub const fn rate_of_retries(&self) -> Option<(Rate, NonZeroU32)> {
        self.retry_rate
    }

    /// See [`on_no_key`](Self::on_no_key).
    #[must_use]
    pub const fn without_key(&self) -> OnNoKey {
        self.on_no_key
    }

    /// See [`on_unreachable`](Self::on_unreachable).
    #[must_use]
    pub const fn while_unreachable(&self) -> OnUnreachable {
        self.on_unreachable
    }
}

/// In a line, for people to read.
impl fmt::Display for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Ok(source) => write!(f, "{source} for {:?}", self.ttl)?,
            Err(error) => write!(f, "{error}")?,
        }
        if let Some((rate, burst)) = self.retry_rate {
            write!(f, ", retries {} in {:?} and {burst} at once", rate.events(), rate.per())?;
        }
        if let Some(store) = &self.store {
            let unreachable = match self.on_unreachable {
                OnUnreachable::Delay => "delay",
                OnUnreachable::Pass => "pass",
            };
            write!(f, ", in {} (leases {:?}, unreachable: {unreachable})", store.name(), self.lease)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Idempotency({self}, {:?}, {:?})", self.on_no_key, self.local())?;
        write!(f, " of {} keys, {:?}", self.keys_max, self.retry_rate)
    }
}

const TTL: Duration = Duration::from_secs(24 * 3_600);
const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Longer than a handler takes as a rule, short enough to wait for when its process has died.
const LEASE: Duration = Duration::from_secs(30);
const LEASE_MAX: Duration = Duration::from_secs(24 * 3_600);
const KEYS_MAX: usize = 1_000_000;
const KEYS_LIMIT: usize = 1 << 24;
const LOCAL_CAPACITY: u64 = 10_000;
const LOCAL_TTL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let wrong = Idempotency::by_metadata(["bizId", "bizId", "no name", ""])
            .ttl(Duration::ZERO)
            .lease(Duration::from_secs(90_000))
            .local_ttl(Duration::from_micros(1))
            .keys_max(0)
            .local_capacity(0);
        let problems = wrong.problems();
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 8, "{texts:#?}");
        for part in [
            "twice",
            "no name",
            "is empty",
            "ttl is 0ns",
            "lease is 90000s",
            "local_ttl",
            "keys_max is 0",
            "local_capacity",
        ] {
            assert!(texts.iter().any(|text| text.contains(part)), "{part}: {texts:#?}");
        }
        assert_eq!(Idempotency::by_metadata(Vec::<String>::new()).problems(), [IdempotencyProblem::NoParts]);
        assert_eq!(Idempotency::by_pointers([]).problems(), [IdempotencyProblem::NoParts]);
        assert!(matches!(Idempotency::by_pointer("order").problems()[..], [IdempotencyProblem::Pointer(_)]));
    }

    #[test]
    fn what_is_right_has_no_problems() {
        for right in [
            Idempotency::by_id(),
            Idempotency::by_metadata(["producer", "version", "bizId", "timestamp", "trace_id"]),
            Idempotency::by_pointers(["/order/id", "/version"]),
            Idempotency::by(|event| Some(IdempotencyKey::of_id(event.id()))),
        ] {
            assert_eq!(right.problems(), [], "{right}");
        }
    }
}
