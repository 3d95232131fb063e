//! What is decided: the rules of the busway event bus for order, concurrency, expiry, pressure, rate and
//! shutdown.
//!
//! Everything here is a pure decision. Time comes in as an argument (`now: Instant`), decisions go out as
//! values, and somebody else acts on them.
//!
//! **It is not** a runtime: there is no async, no clock, no timer, no thread, no channel and no file in this
//! crate, and no handler runs in it. The engine of busway reads the clock, carries decisions out, and is the
//! place to look for behaviour; this is the place to look for rules. If you use busway, you meet these types
//! through its facade.
//!
//! # Example
//!
//! Three events of two keys meet a subscription that runs two handlers at once and keeps order within a key:
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::time::{Duration, Instant};
//!
//! use busway_event::Priority;
//! use busway_reliability::{Admission, Expiry, Lanes, Order};
//! use busway_reliability::{PriorityLimits, Running, Start, TimeToLive, expired};
//!
//! # let offered_at = Instant::now();
//! # let now = offered_at + Duration::from_millis(3);
//! let two = NonZeroU32::MIN.saturating_add(1);
//! let (mut lanes, mut running) = (Lanes::new(64), Running::new(PriorityLimits::default(), two));
//!
//! let mut started = Vec::new();
//! for (key, event) in [("A-1", "created"), ("A-1", "paid"), ("B-7", "created")] {
//!     let ttl = TimeToLive::ephemeral().effective(None, Priority::P2);
//!     assert_eq!(expired(offered_at, ttl, now), Expiry::Fresh);
//!     let lane = Order::Lane.lane(Some(key), Priority::P2);
//!     if let Admission::Start(event) = lanes.admit(lane, (key, event)) {
//!         assert_eq!(running.try_start(Priority::P2), Start::Granted);
//!         started.push(event);
//!     }
//! }
//! // "A-1 paid" waits for its own key only.
//! assert_eq!(started, [("A-1", "created"), ("B-7", "created")]);
//!
//! // "A-1 created" is settled: its place goes to the event behind it.
//! let lane = Order::Lane.lane(Some("A-1"), Priority::P2).unwrap();
//! assert_eq!(lanes.settle(&lane), Some(("A-1", "paid")));
//! ```
//!
//! # The guarantee
//!
//! - Equal inputs give equal decisions: a run can be replayed from its inputs.
//! - No input panics or overflows: not the longest time, not the largest count, not a clock that turns back.
//! - State is bounded by what is in flight, never by how much was ever seen.
//!
//! # Modules, in reading order
//!
//! 1. `ordering`: [`Order`] and [`Lanes`], which events wait for each other.
//! 2. `limits`: [`PriorityLimits`] and [`Running`], how many handlers run at once.
//! 3. `expiry`: [`TimeToLive`] and [`expired`], how long an event may wait.
//! 4. `flow`: [`Overflow`], [`ByteBudget`] and [`Tally`], what to do when events come too fast.
//! 5. `token_bucket`: [`Rate`], [`TokenBucket`] and [`KeyedBuckets`], so many in a time and no more.
//! 6. `retry`: [`Retry`], whether a failed event is attempted again, and when; [`RetryMeter`], how many are.
//! 7. `classify`: [`FailureClass`], whether an error may pass.
//! 8. `redrive`: [`RedrivePace`] and [`SameErrors`], how fast dead letters come back, and when that stops.
//!    `bound_alarm`: [`BoundAlarm`], when it is told that a bound is met.
//! 9. `crash_loop`: [`Caution`], what is done when processes die one after the other.
//! 10. `shutdown`: [`Shutdown`], when to wait, when to cancel and when to give up.
//! 11. `breaker`: [`BreakerRules`] and [`Circuit`], whether a call may be made at all.
//! 12. `idempotency`: [`Idempotency`], [`Ledger`] and [`IdempotencyStore`], what is asked for twice happens once.

mod held;
mod ordering;

mod limits;
mod per_priority;

mod expiry;

mod flow;

mod token_bucket;

mod retry;

mod classify;

mod redrive;

mod bound_alarm;

mod crash_loop;

mod idempotency;

mod shutdown;

mod breaker;

mod deadline;
#[cfg(test)]
mod epoch;

pub use ordering::{Admission, Lane, Lanes, Order};

pub use limits::{DEFAULT_CONCURRENCY, PriorityLimits, Running, Start};

pub use expiry::{Expiry, TimeToLive, expired};

pub use flow::{ByteBudget, FullAction, MayWait, OverBudget, Overflow, Tally, WEIGHT_FLOOR_BYTES, on_full};

pub use token_bucket::{KeyedBuckets, MAX_PERIOD, Rate, RateError, TakeError, TokenBucket};

pub use retry::{Retry, RetryBudget, RetryMeter, RetryProblem};

pub use bound_alarm::BoundAlarm;

pub use classify::FailureClass;

pub use redrive::{RedrivePace, SameErrors};

pub use crash_loop::Caution;

pub use breaker::{
    BreakerProblem, BreakerRules, BreakerState, CallEnd, Circuit, CircuitCounts, Force, Generation, Moved,
    Permission, Room,
};
pub use idempotency::{
    Answer, Asked, Claim, Idempotency, IdempotencyKey, IdempotencyKeyError, IdempotencyProblem,
    IdempotencyStore, KeyDigest, KeyHasher, KeyHashing, KeySource, Lease, Ledger, Marked, OnNoKey,
    OnUnreachable, Pointer, PointerError, StoreFuture, Unreachable,
};

pub use shutdown::{Begun, CANCEL_GRACE, End, Origin, Outstanding, Phase, Shutdown, Step};

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
