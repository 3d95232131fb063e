//! Redis for the busway event bus: a transport over Redis Streams, and idempotency keys and rates that several processes share.
//!
//! [`RedisTransport`] is a [`Transport`](busway_engine::transport::Transport): it carries events between processes.
//! [`RedisKeys`] is an [`IdempotencyStore`](busway_reliability::IdempotencyStore): a subscription is given it with
//! [`Idempotency::store`](busway_reliability::Idempotency::store), and leases and marks its keys there.
//!
//! It decides nothing: what the answers of the store mean is in `busway-reliability`, what becomes of what was received in `busway-engine`. No event goes through the
//! store of keys, and the transport needs none.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use busway_redis::RedisKeys;
//! use busway_reliability::Idempotency;
//!
//! # async fn connect() -> Result<(), busway_redis::RedisError> {
//! let keys = RedisKeys::builder("redis://127.0.0.1:6379").prefix("shop").timeout(Duration::from_millis(500));
//! let once = Idempotency::by_metadata(["bizId"]).store(Arc::new(keys.connect().await?));
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantee
//! Of the transport: what [`capabilities`](busway_engine::transport::Transport::capabilities) says of the server that was found. Of the store: each step is one Lua script: nobody else's step comes between its look and its change. Times are the server's. A call ends within its
//! timeout, with an answer or with [`Unreachable`](busway_reliability::Unreachable); it may have done its step then, and doing it again is right. A
//! server that may evict keys is refused when connecting: it would forget what is done, silently.
//!
//! # What is lost
//! What the server loses: without an append-only file all keys at its restart, with `appendfsync everysec` those of the last second at a power
//! cut. Their effects may be repeated then, unless the outside system refuses the key.
//!
//! # Modules
//! `keys` is the store, `builder` how it is connected, `script` what Redis runs for it; `streams` is the transport, `link` the connection of both.

mod builder;
mod keys;
mod line;
mod link;
mod script;
mod streams;

pub use crate::builder::{RedisError, RedisKeysBuilder};
pub use crate::keys::RedisKeys;
pub use crate::streams::{RedisTransport, RedisTransportBuilder};

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
