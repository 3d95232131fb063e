//! A store of keys that several processes share.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::key::IdempotencyKey;
use crate::token_bucket::Rate;

/// What a store answers, when it does.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unreachable>> + Send + 'a>>;

/// Where keys are kept for several processes: each call is one step that nobody else's comes between.
///
/// Times are durations: the store measures them with its own clock, so that the clocks of its callers need not agree.
///
/// A store had better bound its calls itself: one that has not answered after five seconds counts as one that cannot be reached, and its future is dropped; so does one
/// that has not answered about a lease while more of that is left than the deadline of its subscription.
///
/// # Cancel safety
/// A future that is dropped may have done its step or not. A lease that nobody knows of ends by itself.
pub trait IdempotencyStore: Send + Sync + 'static {
    /// Leases a key for so long, unless it is leased or done. Asked again by the owner that has it, with the same epoch, it is theirs for so long from now on: an attempt
    /// that goes on asks behind each third of its lease. With a later epoch it is theirs too: they know that their earlier attempt has ended. An earlier one is another's.
    fn lease<'a>(&'a self, claim: &'a Claim, lease: Duration) -> StoreFuture<'a, Answer>;

    /// Says that the key is done, for so long, whoever has its lease: an effect that has happened has happened.
    fn done<'a>(&'a self, claim: &'a Claim, ttl: Duration) -> StoreFuture<'a, ()>;

    /// Gives the lease back. Nothing happens when it is no longer this claim's, or the key is done.
    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ()>;

    /// Takes a token of the key's bucket, which holds `burst` of them and earns them at `rate`: `None` when there was one, else how long
    /// until there is. So that all processes together attempt one key again no more often than that.
    fn take<'a>(&'a self, claim: &'a Claim, rate: Rate, burst: u32) -> StoreFuture<'a, Option<Duration>>;

    /// What it is, for people to read: `redis 10.0.0.7:6379`.
    fn name(&self) -> String;
}

/// Who asks for which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The subscription: keys are its own.
    pub subscription: Arc<str>,
    /// The key.
    pub key: IdempotencyKey,
    /// Who asks: drawn anew for each start of a subscription in a process.
    pub owner: u64,
    /// Of the attempt: rising for an owner.
    pub epoch: u64,
}

/// What became of asking for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is the asker's.
    Leased,
    /// The key is done.
    Done,
    /// Somebody else has it.
    Busy {
        /// It ends by itself behind this, unless it is given back before.
        rest: Duration,
    },
}

/// A store that did not answer, or not in time. It may have done what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the idempotency store {store} cannot be reached: {reason}")]
pub struct Unreachable {
    /// What it is.
    pub store: String,
    /// Why.
    pub reason: String,
}

impl fmt::Debug for dyn IdempotencyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}
