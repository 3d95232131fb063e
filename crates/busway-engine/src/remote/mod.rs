//! Subscriptions at a transport: the handlers of this process, the events of a broker.
//!
//! A remote subscription is a subscription like any other: concurrency, order, priorities, retries, middleware, breakers and idempotency are those of
//! [`SubscribeBuilder`](crate::subscription::SubscribeBuilder). What differs is where its events come from and who is told what became of them: a
//! [`Receiver`](crate::transport::Receiver) of a transport, whose broker keeps them until they are settled. Members of the same name share the events, in this process
//! and in others.
//!
//! | step | who |
//! |---|---|
//! | receive | the pump fetches what there is room for, and puts it into the subscription's queue in the order in which it came |
//! | handle | workers, as for what is published here; a failing event is attempted again in its place, so that nothing of its lane overtakes it |
//! | renew | the pump, three times in each `ack_wait`, for all that is in hand: a handler may take as long as it likes |
//! | settle | the pump tells the broker, many at a time: done, dead with the reason, or back |
//!
//! Nothing is offered to it that is published on this bus: what is to go round goes through the broker, for example by a [forwarder](crate::bridge).
//!
//! # Guarantee
//! At least once, across processes: an event is settled at the broker after its handler has succeeded, or it is given up with its reason in the broker's dead letters,
//! and never before. No second attempt of an event starts here while the first runs: what the broker delivers again meanwhile joins it.
//! Order is that of the transport's [capabilities](crate::transport::Capability), kept here per lane.
//!
//! # Crash points
//! - Received and not handled: the broker delivers it again, to another member or after a restart.
//! - Handled and not settled: likewise, so the effect may come twice; a handler that is [idempotent](crate::subscription::SubscribeBuilder::idempotent) with a shared store
//!   has marked it as done before, and skips it.
//! - An event that kills its process is delivered until [`deliveries_max`](RemoteBuilder::deliveries_max) is reached, and goes to the dead letters unattempted then. Brokers charge
//!   a death to all that was in hand. So a member asks for one event first, and while one that was delivered more than twice is attempted for the first time it asks for no more,
//!   for [`ack_wait`](RemoteBuilder::ack_wait) at most; and of events in a row that are all beyond the limit only the first is given up.
//!
//! # What is bounded
//! Deliveries that are in hand, from when they are received until the broker has heard what became of them:
//! [`in_flight_max`](RemoteBuilder::in_flight_max) events. Of 64 MiB on nothing more is asked for, so it is that and what was asked for before.

mod builder;
mod caution;
mod error;
mod feed;
mod handle;
mod pump;
mod registry;
mod stats;
mod verdict;

pub use self::builder::{Members, RemoteBuilder};
pub use self::error::RemoteError;
pub(crate) use self::feed::Feed;
pub use self::handle::RemoteSubscription;
pub(crate) use self::registry::Remotes;
pub use self::stats::{RemoteState, RemoteStats};
