//! What is seen: signals of a bus, the metrics that are made of them, and its traces.
//!
//! The engine tells [`Collector`]s of [`Signal`]s, a closed list of moments, where they happen. What can be counted without being told, since the
//! bus keeps account of it anyway, is read when somebody looks: a [`BusNumbers`]. [`Metrics`] makes Prometheus text of both. [`Tracing`] joins
//! what is published and handled to the traces of the program: see [`trace`].
//!
//! **It is not** where anything is decided, timed or started: it has no clock, no task and no thread, and a bus without a collector pays one test of a
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

pub mod collector;
pub mod health;
#[cfg(feature = "http")]
pub mod http;
pub mod metrics;
pub mod numbers;
#[cfg(feature = "otel")]
pub mod otel;
pub mod signal;
pub mod trace;

pub use crate::collector::{Collector, Collectors, Wants};
pub use crate::health::{Concern, Condition, Health};
#[cfg(feature = "http")]
pub use crate::http::{Endpoint, EndpointError, Serving};
pub use crate::metrics::{Metrics, MetricsProblem};
pub use crate::numbers::{
    BusNumbers, ChannelNumbers, DedupNumbers, Kind, Source, StoreNumbers, SubscriptionNumbers,
};
#[cfg(feature = "otel")]
pub use crate::otel::{Exporting, HeadSampler, OpenTelemetry, Otlp, OtlpError};
pub use crate::signal::{Circuit, FallbackKind, Signal};
pub use crate::trace::{Relation, Tracer, Tracing};
