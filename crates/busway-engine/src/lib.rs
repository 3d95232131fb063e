//! Who acts on a busway event bus: publishing, mailboxes, workers, timers, shutdown.
//!
//! It is **not** where rules are: matching is in `busway-router`, what is decided in `busway-reliability`, what surrounds a
//! handler in `busway-middleware`. This crate owns the clock and every task and thread.
//!
//! ```
//! use busway_engine::Bus;
//! use busway_event::{Event, Raw};
//! use busway_middleware::Payload;
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), busway_engine::Error> {
//! let bus = Bus::memory().start().await?;
//! let subscription = bus.subscribe("greetings.+").to(async |_greeting: Payload<Raw>| {}).await?;
//! let receipt = bus.publish(Event::new("greetings.world", Raw::from("hello"))).await?;
//! assert_eq!(receipt.offered, 1);
//! let report = bus.shutdown(Duration::from_secs(5)).await;
//! assert!(report.is_drained());
//! assert_eq!(subscription.stats().done, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantee
//! For each subscription, at all times: offered = delivered + dropped + expired + abandoned + waiting. Every queue is bounded.
//! Events of a lane never overlap. Nothing in the background outlives the last handle of its bus.
//!
//! # Modules
//! [`breaker`] stops calling what is down, [`bus`] publishes and stops, [`subscription`] receives, [`durable`] receives what streams store, [`transact`] stores effects with it, [`history`] reads streams back, [`schedule`] publishes later and again and again, [`transport`] is what carries events between processes, [`remote`] are subscriptions there, [`bridge`] what carries them there and back, [`cutover`] who handles them, [`named`] are handlers by name, [`settings`] and [`stats`] say how and how much, [`stages`] are
//! middleware that needs a clock, [`clock`] is for test kits. What is seen of it are signals, metrics and health: `busway-observability`.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod believed;
pub mod breaker;
pub mod bridge;
pub mod bus;
mod classify;
pub mod clock;
pub mod cutover;
pub mod dead_letters;
pub mod durable;
mod extract;
mod handover;
pub mod history;
pub mod idempotency;
mod idle;
mod ids;
mod log;
mod mailbox;
pub mod named;
pub mod remote;
pub mod schedule;
mod seen;
pub mod settings;
mod shown;
pub mod stages;
pub mod stats;
pub mod subscription;
mod sync;
mod traced;
pub mod transact;
pub mod transport;
mod waits;
mod worker;

pub use crate::breaker::{Breaker, BreakerStatus, Breakers, ChannelUnknown, Fallback, FallbackKind};
pub use crate::bus::{
    AnyPublisher, BuildError, BuildProblem, Bus, BusBuilder, Description, Durability, Error, LookupError,
    PublishError, Publisher, Receipt, Refused, ShutdownEnd, ShutdownReport, StoreError, UnknownCause,
    WeakBus,
};
pub use crate::clock::{Clock, SystemClock};
pub use crate::dead_letters::{
    DamagedLetter, DeadLetter, DeadLetterError, DeadLetterId, DeadLetterIdError, DeadLetterOperation,
    DeadLetterPage, DeadLetterPolicy, DeadLetterState, DeadLetters, PageStart, Redrive, Selection, Target,
};
pub use crate::durable::{
    CursorError, CursorHandle, DurableBuilder, DurableStats, DurableSubscription, Lag, LogEnds, Pace,
    PartitionStanding, Standing, StartAt,
};
pub use crate::extract::Stopping;
pub use crate::history::{
    Comparison, Difference, History, HistoryError, PastEvent, Shadow, ShadowEmit, ShadowWrite,
};
pub use crate::idempotency::IdempotencyStats;
pub use crate::named::{MakeError, Parameter, ParameterError};
pub use crate::settings::{Origin, Setting, Settings};
pub use crate::stages::{RateHandle, RateLimit, Timeout};
pub use crate::stats::{BusStats, State, SubscriptionStats};
pub use crate::subscription::{
    Heritage, IntoFilter, ScopedSubscription, SubscribeBuilder, SubscribeError, SubscribeProblem,
    Subscription,
};

pub use crate::transact::{InStore, StoreTx, Transacted, TransactionError, Tx, in_store};

#[doc(inline)]
pub use busway_persistence::{
    Archive, ArchiveEnd, ArchiveError, ArchiveProblem, Archived, AsTableKey, AtCap, Attempt, Attempts, Audit,
    AuditHead, AuditHeadError, AuditKey, Backup, BackupError, BadLine, BadLines, Corrupt, Damaged,
    EntryError, Export, ExportError, Exported, Fault, Import, ImportCause, ImportError, Imported, LineError,
    OpenError, OperationKind, Quarantine, ReadError, ReadTables, Refusal, RequestError, Retention, Snapshot,
    Stream, StreamProblem, Table, TableKey, TxError, Verified, VerifiedArchive, VerifiedAudit, WriteTables,
    verify_archive,
};

/// The result of functions that use several verbs of busway.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The README's code compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
