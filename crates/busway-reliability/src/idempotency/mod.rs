//! Idempotency: an effect that is asked for twice happens once.
//!
//! An event may come twice: its publisher repeated it under another id, its process died behind the effect, another system sent it again.
//! What makes two events one is their *key*, see [`IdempotencyKey`]: which one an event has is configured, never guessed.
//!
//! # The states of a key
//!
//! Per subscription a key is in one of three states:
//!
//! | state | is | then |
//! |---|---|---|
//! | absent | nobody has handled it, or its time is over | leased by whoever asks |
//! | leased (owner, epoch, until) | somebody handles it | done when that succeeds; absent when it fails, or behind `until` |
//! | done (until) | it was handled | absent behind `until` |
//!
//! **Done is never written before success.** Whoever marks first and handles then loses the event when the handler fails in between: the
//! next attempt finds the mark. So a failure leaves nothing, and a death between effect and mark repeats the effect: it is for the mark to be
//! stored *with* the effect, or for the outside system to refuse the same key twice.
//!
//! A lease stops concurrent duplicates and nothing else. Whoever comes second waits until it ends; nobody is dropped for having come
//! while another one was at work.
//!
//! # Three steps
//!
//! 1. A cache in this process may answer "done", and only that: what it does not know proves nothing.
//! 2. The [store](IdempotencyStore) is asked, unless the cache has answered. One that cannot be reached delays; it never lets pass silently.
//! 3. The lease: whoever has it handles the event.
//!
//! [`Ledger`] is the state machine of one process, [`IdempotencyStore`] what several processes share.

mod hashing;
mod key;
mod ledger;
mod pointer;
mod problem;
mod settings;
mod source;
mod store;

pub use self::hashing::{KeyHasher, KeyHashing};
pub use self::key::{IdempotencyKey, KeyDigest};
pub use self::ledger::{Asked, Lease, Ledger, Marked};
pub use self::pointer::{Pointer, PointerError};
pub use self::problem::IdempotencyProblem;
pub use self::settings::{Idempotency, OnNoKey, OnUnreachable};
pub use self::source::{IdempotencyKeyError, KeySource};
pub use self::store::{Answer, Claim, IdempotencyStore, StoreFuture, Unreachable};
