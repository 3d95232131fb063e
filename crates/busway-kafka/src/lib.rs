//! Kafka as a transport of the busway event bus, by librdkafka.
//!
//! ```no_run
//! use busway_engine::Stream;
//! use busway_engine::transport::{Reception, Transport, TransportError, Verdict};
//! use busway_event::Filter;
//! use busway_kafka::KafkaTransport;
//!
//! # async fn run(filter: Filter) -> Result<(), TransportError> {
//! let transport = KafkaTransport::builder("10.0.0.1:9092,10.0.0.2:9092").connect().await?;
//! transport.prepare(&[Stream::new("orders").capture("orders.#").partitions(16)]).await?;
//! let stock = Reception::new("orders", "stock", filter).member("host-1");
//! let receiver = transport.receiver(&stock).await?;
//! loop {
//!     let received = receiver.receive(64).await?;
//!     receiver.settle(received.iter().map(|one| (one.id, Verdict::Done)).collect()).await;
//! #   break;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is what
//!
//! | busway | Kafka |
//! |---|---|
//! | stream | a topic of its name; each has `<stream>.dead` and `<stream>.retry.1s`, `.10s`, `.60s`, `.10m` beside it |
//! | partition | a partition: keys go where they go in the embedded store, which is not where Kafka's own rule puts them |
//! | topic | the attribute `subject` of the `CloudEvent`, in the header `ce_subject` |
//! | key | the record's key |
//! | offset | the record's offset, which counts in its partition |
//! | subscription | a consumer group of its name; filters are the receiver's work |
//! | member | a consumer of the group, with `client.id` of its name |
//! | settled | the group's position, as far as nothing below it is unsettled, and a bitmap of what is settled above it in the commit's metadata |
//! | put off | in the member's memory, or, from a second on and without a key, a record in a topic of retries |
//! | given up | a record in the topic of dead letters: the record as it was, with `busway-reason`, `-attempts`, `-handler`, `-subscription`, `-time`, `-topic`, `-partition`, `-offset` |
//!
//! # What it promises
//! - Sent: all replicas in sync have it (`acks=all`), once for each time that it was sent, whatever librdkafka had to repeat. The same event sent anew is there twice: Kafka knows no ids.
//! - Order of a key: that of its partition, also while members of a group come and go. One that is put off holds the later ones of its key back which are not out yet.
//! - Settled, when `Ok` was said of it: never delivered again, in whatever order events are settled, but where its log was cut or made anew, and where no broker answered twice when
//!   a member that got its partition asked what was settled: each is logged. When nobody can say whether a broker has heard, it is
//!   committed as soon as one does, or delivered again to who has the partition then.
//! - A transaction: all of its events are there or none. When one fails, the others are said to be [transient](busway_engine::transport::SendError::is_transient): nothing of them is there, and without
//!   it they may succeed. An end that no broker has confirmed is asked for again before the next begins.
//! - A producer that has come to its end, for it was refused the right to write or its brokers have lost what it was told, has another one in its place a second later; until then what is
//!   sent is [`AccessDenied`](busway_engine::transport::TransportError::AccessDenied) or [`Unreachable`](busway_engine::transport::TransportError::Unreachable). One that
//!   another of its transactional id has shut out has none: it is [`Closed`](busway_engine::transport::TransportError::Closed).
//! - A record of others that cannot be read, or is larger than what is sent here, can be given up: with its bytes, and its headers.
//! - A rebalance: what is settled of a partition is committed before it goes; what is settled later is [`Gone`](busway_engine::transport::TransportError::Gone).
//! - Bounds: of a partition the gap between the first event that is not settled and the newest that was read ([`KafkaBuilder::gap_max`]); of a member as many events of the stream and what may be in
//!   flight, and 64 MiB. Beside those of each topic of retries 256 records, and of all of them 16 MiB. A partition is paused at any of these, and polling goes on.
//!
//! # Crash points
//!
//! | the process dies | then |
//! |---|---|
//! | after a record was sent, before its answer came | it is there or not; sent again it may be there twice |
//! | within a transaction | nothing of it is ever seen; receivers do not get past it until it is aborted, by its time or by a producer of the same id |
//! | after an event was handled, before its commit was heard | it is delivered again, when the session's time is over |
//! | after a dead letter or a retry was written, before the commit | both: it is given up, or put off, twice |
//! | while an event is put off in memory | it is delivered again, its attempts counted anew |
//! | of an event, again and again | from the third death without progress on, what is next of the partition is delivered alone, nothing else of the member's beside it, and each death that follows is an attempt of what was out; an event comes to its last attempt so, and none is charged for another. Behind as many events as may be in flight it goes on as before, twice as many with each death more |
//!
//! # What it does not do
//! - Regular expressions of topics, which Kafka's consumers know: a stream is one topic, and filters are the receiver's work.
//! - One subscription name for several streams at a time: it is one group of Kafka, and refused where the group has members that stand nowhere in the stream.
//! - Attempts across members are not counted, but in topics of retries, and of what kills its process.
//! - A subscription whose stream is a Kafka topic that busway has not made reads it too, with all retries in memory.
//! - Of a topic of retries no more than 256 records wait at a time: one that is due is late where as many before it are due later.
//! - Kafka's retention removes events whether they are settled or not, by the first of its limits that is reached, and says so to nobody. It goes by the record's timestamp, which is the
//!   event's time: what is older than the stream's age when it is sent may be gone at once. And it forgets where a group stands that has had no member for
//!   `offsets.retention.minutes`.
//! - A header's name that is no UTF-8 makes rdkafka panic. That is caught, though the panic hook tells of it; a program that aborts on panics ends there.
//!
//! # Modules
//! `gap` and `mark` are how far a group has come, `care` is what has killed its members, `part` and `desk` what a member has in its hands, all of it without a broker; `member` is where librdkafka is polled, `core` what it calls back,
//! and `commit` what it is told; `founding` is where a subscription begins; `topics` is what a stream wants; `message` and `headers` are the wire.

mod builder;
mod care;
mod client;
mod commit;
mod core;
mod desk;
mod fault;
mod founding;
mod gap;
mod headers;
mod link;
mod mark;
mod member;
mod message;
mod names;
mod part;
mod prepare;
mod produce;
mod receiver;
mod sender;
mod settle;
mod standing;
mod ticket;
mod topics;
mod transaction;
mod transport;

pub use self::builder::KafkaBuilder;
pub use self::transport::KafkaTransport;
