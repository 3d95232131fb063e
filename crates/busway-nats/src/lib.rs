//! NATS `JetStream` as a transport of the busway event bus.
//!
//! [`NatsTransport`] is a [`Transport`](busway_engine::transport::Transport): topics are subjects, streams are `JetStream` streams, a subscription is a durable
//! pull consumer or one for each partition, and its members share them. Events travel as `CloudEvents` in binary mode, so that programs without busway read and write them too.
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
//! - A delivery is settled when the server has confirmed it: such a one is never delivered again, unless the server is killed: it writes down what is settled a little later, and what it
//!   forgets so is delivered again, in order.
//! - An event that is given up lies in the stream of dead letters before it is taken off its own: a crash in between keeps it in both, never in none.
//! - What cannot be read as an event is delivered as it came.
//!
//! # What is lost
//! With the server's default of syncing every two minutes, a power cut may lose what was sent since; replicas in several places help. A stream with limits drops its
//! oldest events, settled or not: `JetStream` does not know of a retention that waits for subscriptions.
//!
//! # Order
//! A stream keeps the order in which it took events, and a subscription with one member is given them in it. What is to be delivered again comes later than what
//! was behind it: whoever needs the order of a key holds back the later ones of that key until the earlier one is settled. In a stream without partitions, two members are given
//! events of one key at the same time. When a connection breaks while several events are on their way, a later one may arrive and an earlier one be lost: both are answered for, and the
//! earlier one, sent again, lies behind the later one. What was on its way to a member then is given to it again when its `ack_wait` is over, behind what is given to it meanwhile.
//!
//! # Partitions
//! A stream that is declared with several [`partitions`](busway_persistence::Stream::partitions) keeps the order of each key among all members of a subscription, whether they join, leave or die:
//! of a key no two events are under way, and one that is to be delivered again comes before what follows.
//! - An event with a key is sent to `~busway.<stream>.<partitions>.<partition>.<subject>`, which the stream captures besides its own subjects; the partition is that of the embedded store. An event
//!   without a key is sent to its subject, as all are in other streams, and holds nobody up. So are events of other programs, with a key or without: their order is that of a stream without
//!   partitions. Another program that wants to hear events with keys as they are sent subscribes to `~busway.>`; where permissions are given by subject, they have to allow that.
//! - A subscription has a consumer `<name>~<partition>` for each, with `max_ack_pending` 1, and `<name>` for what has no key. The server itself gives out one event of a partition at a time: there are no
//!   leases, and nothing is distributed anew when members change. Each member asks all of them, and events go to those who asked first.
//! - The price: events of a partition take a round trip and a handler's time each, also those of different keys. An event that is tried [`Again`](busway_engine::transport::Verdict::Again) later
//!   holds its partition until then, and a member that dies holds what it had until `ack_wait` is over. 16 to 64 partitions are advised, and at least twice as
//!   many [`in_flight_max`](busway_engine::transport::Reception::in_flight_max): a member with less room asks by turns, every 100 ms, and with less than there are partitions what it
//!   waits for comes up to as many turns later. A member that waits has as many requests a [`heartbeat`](NatsBuilder::heartbeat) as there are partitions.
//! - The order is that of members who settle or renew in time. One who works on after `ack_wait`, or whose connection is gone for as long, has lost the event to another; so has one that is under
//!   way when the server is killed and forgets what was settled.
//! - How many partitions there are is fixed when the stream is made: what has another number is `Incompatible`. A sender that does not know the stream asks the server for it when it first sends a key
//!   there, which needs the permission to ask. Change the number under another name of the stream; who sends to one that was removed and made with another number is refused once, and
//!   then knows, but a sender that knew it *without* partitions goes on as it did until it connects anew by program.
//! - Offsets, times and beginnings are those of the whole stream.
//!
//! # Certificates
//! Files of certificates and keys are read anew at each connect and reconnect, never in between: after they were replaced,
//! [`reconnect`](NatsTransport::reconnect) takes them, or the next break of the connection does.
//!
//! # Modules
//! `builder` is how it is connected (`address`: to whom, `syncing`: what its word is worth), `link` the connection that all share, `transport` the door. `subject`, `encoding` and `message` are pure: names, texts of headers, and
//! events as messages (`blank`: before they have any headers); so are `partition` (what lies where), `place` (what a delivery says of that) and `rota` (who is asked next). `stream` and `consumer` make and check what is at the server,
//! `layout` remembers how streams are divided. `sender`, `receiver`, `inbox` (what comes in), `pull` (what is asked for), `desk` (what is under way, in `slots`) and `dead` (what is given up) do the
//! work; `fault` says what went wrong.

mod acks;
mod address;
mod blank;
mod builder;
mod consumer;
mod dead;
mod desk;
mod encoding;
mod fault;
mod inbox;
mod layout;
mod link;
mod message;
mod partition;
mod place;
mod pull;
mod receiver;
mod removal;
mod rota;
mod sender;
mod settle;
mod slots;
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
