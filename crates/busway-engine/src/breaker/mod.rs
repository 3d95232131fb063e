//! Circuit breakers: what a subscription does while what its handler depends on is down.
//!
//! A breaker guards each *channel* of its subscription: each topic by itself. What opens and closes it is decided by `busway-reliability`
//! ([`Circuit`](busway_reliability::Circuit)); here are the channels of a subscription, what is done in the place of a call that is
//! refused, and what can be seen and forced.
//!
//! | on | while a channel is open |
//! |---|---|
//! | a durable subscription | its events are parked in the store without an attempt, in their order; nobody else waits for them. See `durable/guarded.rs` |
//! | an ephemeral one | what the [`Fallback`] says, in memory: it does not survive the process. See `stage.rs` |
//!
//! A channel is made when its first event comes. There are [`CHANNELS_MAX`] of a subscription at most; beyond that the ones that were used
//! least lately are forgotten, closed ones first. A circuit lives in memory: after a restart it is closed.

mod answers;
mod aside;
mod channel;
mod fallback;
mod guard;
mod met;
mod reach;
mod settings;
mod stage;
mod substitute;
mod view;

pub(crate) use self::answers::Copier;
pub(crate) use self::channel::Channel;
pub use self::fallback::Fallback;
pub(crate) use self::guard::{Call, Guard, Named, NoCall};
pub(crate) use self::reach::Reach;
pub use self::settings::Breaker;
pub(crate) use self::stage::BreakerStage;
pub(crate) use self::substitute::Substitute;
pub use self::view::{BreakerStatus, Breakers, ChannelUnknown};

pub use busway_observability::FallbackKind;
#[doc(inline)]
pub use busway_reliability::{BreakerProblem, BreakerState, CircuitCounts, Force};

/// Channels of a subscription, at most.
pub const CHANNELS_MAX: usize = 10_000;
