//! What is seen: signals of a bus, the metrics that are made of them, and its traces.
//!
//! The engine tells [`Collector`]s of [`Signal`]s, a closed list of moments, where they happen. What can be counted without being told, since the
//! bus keeps account of it anyway, is read when somebody looks: a [`BusNumbers`]. [`Metrics`] makes Prometheus text of both. [`Tracing`] joins
//! what is published and handled to the traces of the program: see [`trace`].
//!
//! [`Redactor`] makes texts showable, [`audit`] writes down who did what, and with the feature `logs` [`Logs`](crate::log) makes lines of what is emitted with `tracing`.
//!
//! **It is not** where anything is decided, timed or started: it has no clock (but for the time of a line), no task and no thread, and a bus without a collector pays one test of a
//! bit for each moment that could be told.
//!
//! ```
//! use busway_observability::{Collector, Signal, Wants};
//!
//! /// Counts what is given up.
//! #[derive(Default)]
//! struct GivenUp(std::sync::atomic::AtomicU64);
//!
//! impl Collector for GivenUp {
//!     fn wants(&self) -> Wants {
//!         Wants::ALARMS
//!     }
//!
//!     fn collect(&self, signal: &Signal<'_>) {
//!         if let Signal::DeadLetter { .. } = signal {
//!             self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
//!         }
//!     }
//! }
//! ```

pub mod audit;
pub mod collector;
pub mod health;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "logs")]
#[cfg_attr(docsrs, doc(cfg(feature = "logs")))]
pub mod log;
pub mod metrics;
pub mod numbers;
#[cfg(feature = "otel")]
pub mod otel;
pub mod redact;
pub mod signal;
mod sums;
pub mod trace;

pub use crate::collector::{Collector, Collectors, Wants};
pub use crate::health::{Concern, Condition, Health};
#[cfg(feature = "http")]
pub use crate::http::{Endpoint, EndpointError, Serving};
#[cfg(feature = "logs")]
pub use crate::log::{
    Colour, DirectiveError, FIELDS, FieldKind, LogControl, LogField, LogFormat, Logs, LogsError, init,
};
pub use crate::metrics::{Metrics, MetricsProblem};
pub use crate::numbers::{
    BusNumbers, ChannelNumbers, DedupNumbers, Kind, ReloadNumbers, Source, StoreNumbers, SubscriptionNumbers,
};
#[cfg(feature = "otel")]
pub use crate::otel::{Exporting, HeadSampler, OpenTelemetry, Otlp, OtlpError};
pub use crate::redact::{Redact, Redactor, Secret};
pub use crate::signal::{Circuit, FallbackKind, Signal};
pub use crate::sums::{CountSums, PAST_SERIES_MAX};
pub use crate::trace::{Relation, Tracer, Tracing};
