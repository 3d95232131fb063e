//! Who watches a bus in these suites: its metrics, and tracing that records nothing.

use anyhow::Result;
use busway::observability::{Exporting, Otlp, Tracing};
use busway::{BusBuilder, Metrics};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, ContextGuard};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How a bus is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traced {
    /// Not at all.
    No,
    /// With a share of 0 of the publishes.
    Share0,
    /// With all publishes, by a program whose exporter has a sampler with the ratio 0.
    Exporter0,
}

/// The part of a program's tracing that is not the bus's; until it is dropped.
#[must_use = "dropped, the program is not traced"]
#[expect(missing_debug_implementations, reason = "it is held and dropped")]
pub struct Program {
    _subscriber: Option<DefaultGuard>,
    _exporting: Option<Exporting>,
}

impl Traced {
    /// Traces the bus that is built.
    #[must_use]
    pub fn bus(self, builder: BusBuilder) -> BusBuilder {
        match self {
            Self::No => builder,
            Self::Share0 => builder.tracing(&Tracing::otel().sample(0.0)),
            Self::Exporter0 => builder.tracing(&Tracing::otel()),
        }
    }

    /// Traces what this thread does. Nothing is sampled, so that nobody is ever connected to.
    ///
    /// # Errors
    /// There is no thread for the exporter.
    pub fn program(self) -> Result<Program> {
        if self != Self::Exporter0 {
            return Ok(Program { _subscriber: None, _exporting: None });
        }
        let exporting = Otlp::grpc("http://127.0.0.1:4317").service("bench").sample(0.0).start()?;
        let subscriber = tracing_subscriber::registry().with(exporting.layer()).set_default();
        Ok(Program { _subscriber: Some(subscriber), _exporting: Some(exporting) })
    }
}

/// Metrics of the bus that is built.
#[must_use]
pub fn measured(builder: BusBuilder) -> BusBuilder {
    builder.metrics(&Metrics::new())
}

/// This thread is in a trace that is not recorded; until it is dropped.
#[must_use = "dropped, the trace is left"]
pub fn within_unsampled() -> ContextGuard {
    let (trace, span) = (TraceId::from_bytes([7; 16]), SpanId::from_bytes([7; 8]));
    let span = SpanContext::new(trace, span, TraceFlags::NOT_SAMPLED, true, TraceState::NONE);
    Context::new().with_remote_span_context(span).attach()
}

/// The trace of an event that is not recorded, as its metadata says so.
pub const UNSAMPLED: &str = "00-07070707070707070707070707070707-0707070707070707-00";
