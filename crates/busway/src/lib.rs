//! An embedded event bus: add one crate, run no server.
//!
//! Typed events on dotted topics, wildcard subscriptions, priorities, handlers with extractors, middleware that changes while
//! running, bounded queues with a written policy, and a shutdown that says what became of every event. Topics that matter are
//! written to a durable log inside the process, and their handlers see every event at least once.
//!
//! It is **not** a broker. A subscription is *ephemeral* (in memory, at most once across a crash) or *durable*; its type says which.
//!
//! ```
//! use busway::prelude::*;
//! use std::time::Duration;
//!
//! #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
//! struct OrderCreated { order_id: String, amount_cents: u64 }
//!
//! impl EventType for OrderCreated {
//!     const NAME: &'static str = "order-created";
//! }
//!
//! async fn reserve_stock(order: Payload<OrderCreated>) -> Result<(), BoxError> {
//!     println!("reserving stock for {}", order.order_id);
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> busway::Result<()> {
//!     let bus = Bus::memory().start().await?;
//!     bus.subscribe("orders.created").concurrency(8).to(reserve_stock).await?;
//!
//!     let order = OrderCreated { order_id: "A-1".into(), amount_cents: 4200 };
//!     let receipt = bus.publish(Event::new("orders.created", order).key("A-1")).await?;
//!     println!("{receipt}"); // in memory, offered to 1 subscription
//!
//!     let report = bus.shutdown(Duration::from_secs(10)).await;
//!     println!("{report}"); // drained in 0.1ms: …
//!     # assert!(report.is_drained());
//!     Ok(())
//! }
//! ```
//!
//! # Durable topics
//!
//! A bus with a store keeps what its streams capture. A publish returns when the event is synced; a durable subscription has a
//! name and a stored cursor, and goes on where it stood, also after a crash.
//!
//! ```
//! use busway::prelude::*;
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> busway::Result<()> {
//! # let path = std::env::temp_dir().join(format!("busway-doc-{}", std::process::id()));
//! let bus = Bus::open(&path).stream(Stream::new("orders").capture("orders.#")).start().await?;
//! let reserve = async |_order: Payload<Raw>| {};
//! bus.subscribe("orders.created").durable("stock").start_at(StartAt::Earliest).to(reserve).await?;
//!
//! let receipt = bus.publish(Event::new("orders.created", Raw::from("{}")).key("A-1")).await?;
//! assert_eq!(receipt.to_string(), "synced at orders/0/0");
//! bus.shutdown(Duration::from_secs(10)).await;
//! # std::fs::remove_dir_all(path).ok();
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! | promise | how |
//! |---|---|
//! | nothing vanishes silently | for each subscription, at all times: offered = delivered + dropped + expired + abandoned + waiting ([`Tally`]) |
//! | every queue is bounded | in events and bytes, with a policy for the moment it is full ([`Overflow`]) |
//! | one subscriber stalls no other | unless it was told to [`Block`](Overflow::Block) |
//! | order | events with the same key and priority never overlap, in a group too ([`Order`]) |
//! | what was acknowledged survives | a publish to a durable topic returns when the event is synced; a durable subscription attempts it until it is settled |
//! | exactly once, inside the store | what a handler writes through its transaction, the events that it emits into streams and the settlement of its event are one commit ([`transact`]) |
//! | a failing event holds its own lane only | it is parked in the store until it is due again ([`Retry`]); other keys go on |
//! | what is given up is kept | as a dead letter, in the commit that settles its event, with its last attempts; it can be given again, edited or let go ([`dead_letters`]) |
//! | what is down is not called | a [`Breaker`] opens for the topic whose calls fail; its events wait in the store, no attempt is spent, all other topics go on ([`breaker`]) |
//! | a handler that hangs holds its own lane only | it is cancelled at its [deadline](DurableBuilder::deadline), or told of and set apart |
//! | what is asked for twice happens once | by a key of your choice, which is done when its handler was, never before ([`Idempotency`]) |
//! | a delayed event is published once | it is stored until it is due, and leaves the schedule in the transaction that puts it into the log ([`schedule`]) |
//! | a panic or failure stays where it is | a panic, or a middleware's own failure, is an [`Outcome`] that names it |
//! | shutdown is an answer | [`Bus::shutdown`] handles what waits, and reports what it could not |
//! | nothing stays behind | no task, thread or timer outlives the last handle of its bus |
//!
//! # Map
//!
//! | to … | see |
//! |---|---|
//! | start | [`Bus::memory`], [`Bus::open`], [`BusBuilder::start`]; so that it can be given up: [`BusBuilder::start_until`] |
//! | say what happened | [`Event`], [`EventType`], [`Topic`], [`Priority`] |
//! | publish | [`Bus::publish`], [`Bus::try_publish`], [`Bus::publish_batch`], [`Publisher`] |
//! | receive | [`Bus::subscribe`], [`Filter`], [`SubscribeBuilder`] |
//! | keep | [`Stream`], [`Retention`], [`DurableBuilder`], [`StartAt`], [`Retry`] |
//! | publish later, or again and again | [`Draft::delay`], [`Draft::at`], [`Bus::schedule`], [`schedule`] |
//! | write handlers | [`handler`]: `async fn`, [`blocking`], [`inline`], [`batch`]; arguments: [`extract`] |
//! | store effects exactly once | [`Table`], [`Tx`], [`in_store`], [`Bus::transaction`], [`Bus::read`] |
//! | do once what is asked for twice | [`Idempotency`], [`DurableBuilder::idempotent`] |
//! | surround them | [`middleware`], [`Stage`], [`builtin`], [`Timeout`], [`RateLimit`] |
//! | retry, give up, give again | [`Retry`], [`RetryBudget`], [`DurableBuilder::classify`], [`DeadLetterPolicy`], [`Bus::dead_letters`] |
//! | stop calling what is down, degrade | [`Breaker`], [`Fallback`], [`Bus::breakers`], [`DurableBuilder::deadline`] |
//! | read back, try a new handler, go back | [`Bus::history`], [`History::compare`], [`Bus::cursor`], [`Bus::cursors`] |
//! | register handlers and middleware for a configuration | [`BusBuilder::handler`], [`BusBuilder::middleware_factory`] |
//! | look | [`Bus::describe`], [`Bus::stats`], [`Bus::health`]; from outside: [`Metrics`], [`Tracing`], [`Collector`] |
//! | keep out of errors and logs | [`Redact`], [`Redactor`], [`BusBuilder::redact`] |
//! | stop | [`Bus::shutdown`] |
//! | exchange events with others | [`cloudevents`] |
//! | carry them to other processes | [`transport`], [`bridge`], [`cutover`], [`remote`] |
//!
//! Each part is a crate of its own: `busway-event`, `busway-router`, `busway-middleware`, `busway-persistence`,
//! `busway-reliability`, `busway-observability`, `busway-engine`, and by a feature `busway-config` and `busway-redis`. Beside the facade are
//! `busway-nats` (JetStream) and `busway-kafka`, which bring clients of their own. `busway-testkit` has a manual clock, recording handlers and assertions for your tests.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `config` | `busway::config`: a bus that is set by a file, and set anew while it runs |
//! | `derive` (default) | `#[derive(EventType)]` |
//! | `http` | [`observability::Endpoint`]: `/metrics`, `/healthz` and `/readyz` |
//! | `logs` | [`observability::Logs`]: logs for people or log stores |
//! | `otel` | `Tracing::otel()` and `Otlp`: traces with OpenTelemetry |
//! | `prost` | `Proto<M>`: Protobuf payloads |
//! | `redis` | `RedisKeys`: idempotency keys that several processes share; `RedisTransport`: subscriptions and forwarders over Redis Streams |
//! | `schemars` | `Contract`: the JSON Schema of an event type |
//! | `tower` | `TowerMiddleware`: a `tower::Layer` as a middleware |
//!
//! Minimum Rust version: 1.89. Raising it is a minor release, announced in the changelog.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "schemars")]
#[cfg_attr(docsrs, doc(cfg(feature = "schemars")))]
#[doc(inline)]
pub use busway_event::Contract;
#[cfg(feature = "prost")]
#[cfg_attr(docsrs, doc(cfg(feature = "prost")))]
#[doc(inline)]
pub use busway_event::Proto;
#[doc(inline)]
pub use busway_event::{
    AnyDraft, AnyEvent, CloudEventError, Codec, CodecId, DELAY_MAX, DecodeError, Draft, DraftHead, Due,
    EncodeError, Encoded, Event, EventId, EventIdError, EventType, Filter, FilterError, Header, IntoTopic,
    Invalid, KEY_BYTES_MAX, Key, KeyError, Metadata, MetadataDraft, MetadataError, Parts, Priority,
    PriorityError, Raw, RoundTripError, Timestamp, TimestampError, Topic, TopicError, TraceContext,
    TraceContextError, TypeName, check_round_trip, cloudevents, codec, draft, event, event_type, filter,
    metadata, topic, trace,
};

#[cfg(feature = "config")]
#[cfg_attr(docsrs, doc(cfg(feature = "config")))]
#[doc(inline)]
pub use busway_config as config;
/// Signals, metrics, health and traces, redaction and audit lines: what is seen of a bus. With the feature `logs` its [`Logs`](observability::Logs), with `http` an
/// [`Endpoint`](observability::Endpoint) for who scrapes and probes, with `otel` traces through OpenTelemetry.
#[doc(inline)]
pub use busway_observability as observability;
#[doc(inline)]
pub use busway_observability::{Collector, Health, Metrics, Redact, Redactor, Signal, Tracing, Wants};

#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[doc(inline)]
pub use busway_redis::{RedisError, RedisKeys, RedisKeysBuilder, RedisTransport, RedisTransportBuilder};

#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
#[doc(inline)]
pub use busway_middleware::tower;
#[doc(inline)]
pub use busway_middleware::{
    AnyHandler, Batch, BoxError, Chain, ChainTrace, Delivery, Durable, Emit, Ephemeral, Extension,
    ExtractError, Failure, Flow, FromBatch, FromDelivery, FromScope, Gap, HandlerInfo, IntoBatchReply,
    IntoHandler, IntoReply, IntoStep, Meta, Middleware, Mode, ModeKind, Next, NodeTime, Outcome, Pass,
    PassMiddleware, Payload, Permanent, Position, PublishMiddleware, PublishRefused, PublishStage,
    RegistryError, Replay, Reply, Requirements, Run, Scope, Stage, State, Step, SyncMiddleware, batch,
    blocking, builtin, chain, extract, handler, inline, middleware, outcome, publish,
};

/// A middleware is tested without a bus: with a delivery, and with the chain around a handler.
///
/// ```
/// use std::sync::Arc;
///
/// use busway::chain::{Progress, Registry, run_now};
/// use busway::draft::Stamp;
/// use busway::prelude::*;
/// use busway::{Chain, Ephemeral, EventId, IntoHandler, IntoStep, Metadata, ModeKind, Scope, States, Timestamp};
///
/// struct LiveOnly;
///
/// impl SyncMiddleware for LiveOnly {
///     fn before(&self, delivery: &mut Delivery) -> Flow {
///         if delivery.is_replay() { Flow::Stop(Outcome::Skip) } else { Flow::Continue }
///     }
/// }
///
/// let metadata = Metadata::draft("test", 1).build()?;
/// let stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(0), &metadata);
/// let event = Event::new("orders.created", Raw::default()).finish(&stamp).map_err(|(_draft, reason)| reason)?;
/// let scope = Scope::new("stock", Filter::new("orders.#")?, ModeKind::Ephemeral, States::new());
/// let mut delivery = Delivery::new(event.into(), Arc::new(scope)).with_replay(busway::Replay::Repeated);
///
/// let registry = Registry::new();
/// registry.add(Stage::User, "live-only", LiveOnly.into_step())?;
/// let handler = IntoHandler::<Ephemeral, _>::into_handler(inline(|| println!("handled")));
/// let mut progress = Progress::new();
/// let outcome = run_now(&Chain::merge([&registry]), &mut delivery, &handler, &mut progress);
/// assert_eq!(outcome.map(|outcome| outcome.label()), Some("skipped"));
/// assert_eq!(progress.cut_by(), Some("live-only"));
/// # Ok::<(), BoxError>(())
/// ```
#[doc(inline)]
pub use busway_middleware::States;

#[doc(inline)]
pub use busway_reliability::{
    BreakerProblem, BreakerState, CircuitCounts, FailureClass, Force, Idempotency, IdempotencyKey,
    IdempotencyKeyError, IdempotencyProblem, IdempotencyStore, KeySource, OnNoKey, OnUnreachable, Order,
    Overflow, PriorityLimits, Rate, RateError, Retry, RetryBudget, RetryProblem, Tally, TimeToLive,
};

#[doc(inline)]
pub use busway_router::GroupRule;

#[doc(inline)]
pub use busway_engine::{
    AnyPublisher, Archive, ArchiveEnd, ArchiveError, ArchiveProblem, Archived, AsTableKey, AtCap, Attempt,
    Attempts, Audit, AuditHead, AuditHeadError, AuditKey, Backup, BackupError, BadLine, BadLines, Breaker,
    BreakerStatus, Breakers, BuildError, BuildProblem, Bus, BusBuilder, BusStats, ChannelUnknown, Clock,
    Comparison, Corrupt, CursorError, CursorHandle, Damaged, DamagedLetter, DeadLetter, DeadLetterError,
    DeadLetterId, DeadLetterIdError, DeadLetterOperation, DeadLetterPage, DeadLetterPolicy, DeadLetterState,
    DeadLetters, Description, Difference, Durability, DurableBuilder, DurableStats, DurableSubscription,
    EntryError, Error, Export, ExportError, Exported, Fallback, FallbackKind, Fault, Heritage, History,
    HistoryError, IdempotencyStats, Import, ImportCause, ImportError, Imported, InStore, IntoFilter, Lag,
    LineError, LookupError, MakeError, OpenError, OperationKind, Origin, Pace, PageStart, Parameter,
    ParameterError, PartitionStanding, PastEvent, PublishError, Publisher, Quarantine, RateHandle, RateLimit,
    ReadError, ReadTables, Receipt, Redrive, Refusal, Refused, RequestError, Result, Retention,
    ScopedSubscription, Selection, Setting, Settings, Shadow, ShadowEmit, ShadowWrite, ShutdownEnd,
    ShutdownReport, Snapshot, Standing, StartAt, State as SubscriptionState, Stopping, StoreError, StoreTx,
    Stream, StreamProblem, SubscribeBuilder, SubscribeError, SubscribeProblem, Subscription,
    SubscriptionStats, SystemClock, Table, TableKey, Target, Timeout, Transacted, TransactionError, Tx,
    TxError, UnknownCause, Verified, VerifiedArchive, VerifiedAudit, WeakBus, WriteTables, breaker, bridge,
    bus, clock, cutover, dead_letters, durable, history, idempotency, in_store, named, remote, schedule,
    settings, stages, stats, subscription, transact, transport, verify_archive,
};

pub mod prelude;

/// The README's code compiles and runs.
#[cfg(all(doctest, feature = "derive"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
