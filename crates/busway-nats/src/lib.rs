//! NATS `JetStream` as a transport of the busway event bus.
//!
//! [`NatsTransport`] is a [`Transport`](busway_engine::transport::Transport): topics are subjects, streams are `JetStream` streams, a subscription is a durable
//! pull consumer, and its members share that. Events travel as `CloudEvents` in binary mode, so that programs without busway read and write them too.
//!
//! It is **not** where handlers are called or attempts are counted: what a verdict does at the server is all that is decided here.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use busway_nats::NatsTransport;
//!
//! # async fn connect() -> Result<(), busway_engine::transport::TransportError> {
//! let nats = NatsTransport::builder("nats://127.0.0.1:4222").name("shop").timeout(Duration::from_secs(2));
//! let nats = nats.connect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantee
//! - An event is sent when the stream's leader, or the quorum of its replicas, has written it. That is **not** a sync to the disk, unless the server syncs always:
//!   see [`Syncing`].
//! - A delivery is settled when the server has confirmed it: such a one is never delivered again.
//! - An event that is given up lies in the stream of dead letters before it is taken off its own: a crash in between keeps it in both, never in none.
//! - What cannot be read as an event is delivered as it came.
//!
//! # What is lost
//! With the server's default of syncing every two minutes, a power cut may lose what was sent since; replicas in several places help. A stream with limits drops its
//! oldest events, settled or not: `JetStream` does not know of a retention that waits for subscriptions.
//!
//! # Order
//! A stream keeps the order in which it took events, and a subscription with one member is given them in it. What is to be delivered again comes later than what
//! was behind it: whoever needs the order of a key holds back the later ones of that key until the earlier one is settled. Two members are given events of one
//! key at the same time. When a connection breaks while several events are on their way, a later one may arrive and an earlier one be lost: both are answered for, and the
//! earlier one, sent again, lies behind the later one.
//!
//! # Certificates
//! Files of certificates and keys are read anew at each connect and reconnect, never in between: after they were replaced,
//! [`reconnect`](NatsTransport::reconnect) takes them, or the next break of the connection does.
//!
//! # Modules
//! `builder` is how it is connected (`address`: to whom, `syncing`: what its word is worth), `link` the connection that all share, `transport` the door. `subject`, `encoding` and `message` are pure: names, texts of headers, and
//! events as messages. `stream` and `consumer` make and check what is at the server. `sender`, `receiver`, `pull` (what is fetched), `desk` (what is under way) and `dead`
//! (what is given up) do the work; `fault` says what went wrong.

mod address;
mod builder;
mod consumer;
mod dead;
mod desk;
mod encoding;
mod fault;
mod link;
mod message;
mod pull;
mod receiver;
mod sender;
mod stream;
mod subject;
mod syncing;
mod transport;

pub use crate::builder::NatsBuilder;
pub use crate::syncing::Syncing;
pub use crate::transport::NatsTransport;

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
