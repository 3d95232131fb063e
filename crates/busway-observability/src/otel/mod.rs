//! OpenTelemetry: the spans of a bus, and those of the program around them, in its traces.
//!
//! [`Tracing::otel`] joins a bus to whatever `tracing-opentelemetry` layer the program has installed; [`Otlp`] makes one that exports in batches over gRPC or HTTP.
//!
//! ```no_run
//! use busway_observability::{Otlp, Tracing};
//! use tracing_subscriber::layer::SubscriberExt as _;
//! use tracing_subscriber::util::SubscriberInitExt as _;
//!
//! let exporting = Otlp::grpc("http://127.0.0.1:4317").service("orders").sample(0.1).start()?;
//! tracing_subscriber::registry().with(exporting.layer()).init();
//! let tracing = Tracing::otel();
//! // Bus::open("./data").tracing(&tracing) …; dropped in the end, what is left is exported.
//! drop(exporting);
//! # Ok::<(), busway_observability::OtlpError>(())
//! ```
//!
//! **Sampling.** A consumer that [links](crate::trace::Relation::Link) begins a trace of its own, which a sampler by ratio would throw for anew: of a hundredth of the publishes a hundredth of
//! the attempts would be seen. [`HeadSampler`] records what goes back to something that is recorded. [`Otlp`] has it; who makes a provider of his own takes it or
//! [`Relation::Parent`].
//!
//! **What the layer has to be.** Contexts are read where `tracing-opentelemetry` activates them, which is its default (`with_context_activation(true)`), and it must not
//! lie within a `reload` layer: there nobody finds it.

mod address;
mod exporter;
mod otlp;
mod sampler;

use std::any::Any;

use busway_event::TraceContext;
use opentelemetry::Context;
use opentelemetry::baggage::{self, BaggageExt as _, KeyValueMetadata};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetrySpanExt as _, SetParentError};

pub use self::otlp::{Exporting, Otlp, OtlpError};
pub use self::sampler::HeadSampler;

use crate::trace::{Baggage, BaggageMember, Carried, Carrier, Relation, Tracer, Tracing};

impl Tracing {
    /// Traces with OpenTelemetry, through the `tracing-opentelemetry` layer that the program has installed. Without one events carry on what they came with.
    #[must_use]
    pub fn otel() -> Self {
        Self::new(OpenTelemetry)
    }
}

/// OpenTelemetry as a [`Tracer`], see [`Tracing::otel`].
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenTelemetry;

impl Tracer for OpenTelemetry {
    fn current(&self) -> Option<Carried> {
        Context::map_current(|context| {
            if !context.has_active_span() {
                return None;
            }
            let trace = read(context.span().span_context())?;
            Some(Carried { trace, baggage: baggage_of(context) })
        })
    }

    fn context_of(&self, span: &Span) -> Option<TraceContext> {
        read(span.context().span().span_context())
    }

    fn join(&self, span: &Span, relation: Relation, causes: &[Carried]) {
        let mut parent = Context::current();
        if let [only] = causes {
            if let Some(baggage) = &only.baggage {
                parent = parent.with_baggage(written_baggage(baggage));
            }
            if relation == Relation::Parent {
                parent = parent.with_remote_span_context(written(&only.trace));
            }
            if let Err(error @ SetParentError::LayerNotFound) = span.set_parent(parent) {
                tracing::debug!(%error, "a span of the bus is in no trace");
            }
            if relation == Relation::Parent {
                return;
            }
        }
        causes.iter().for_each(|cause| span.add_link(written(&cause.trace)));
    }

    fn link(&self, span: &Span, to: &TraceContext) {
        span.add_link(written(to));
    }

    fn carry(&self, carried: &Carried) -> Option<Box<dyn Carrier>> {
        let mut context = Context::new().with_remote_span_context(written(&carried.trace));
        if let Some(baggage) = &carried.baggage {
            context = context.with_baggage(written_baggage(baggage));
        }
        Some(Box::new(Here(context)))
    }

    fn capture(&self) -> Option<Box<dyn Carrier>> {
        let context = Context::current();
        context.has_active_span().then(|| Box::new(Here(context)) as _)
    }
}

/// A place in OpenTelemetry's traces.
struct Here(Context);

impl Carrier for Here {
    fn enter(&self) -> Box<dyn Any> {
        Box::new(self.0.clone().attach())
    }
}

fn read(span: &SpanContext) -> Option<TraceContext> {
    // Bits that no version defines are not passed on.
    let flags = span.trace_flags().to_u8() & 0b11;
    let trace = TraceContext::new(span.trace_id().to_bytes(), span.span_id().to_bytes(), flags)?;
    let state = span.trace_state().header();
    Some(if state.is_empty() { trace } else { trace.with_state(&state) })
}

fn written(trace: &TraceContext) -> SpanContext {
    let state = trace.state().and_then(|state| state.parse().ok()).unwrap_or(TraceState::NONE);
    let (id, parent) = (TraceId::from_bytes(trace.trace_id()), SpanId::from_bytes(trace.parent_id()));
    SpanContext::new(id, parent, TraceFlags::new(trace.flags()), true, state)
}

fn baggage_of(context: &Context) -> Option<Baggage> {
    let members = context.baggage();
    if members.is_empty() {
        return None;
    }
    Baggage::new(members.iter().map(|(name, (value, properties))| BaggageMember {
        name: name.as_str().to_owned(),
        value: value.as_str().to_owned(),
        properties: properties.as_str().to_owned(),
    }))
}

fn written_baggage(from: &Baggage) -> baggage::Baggage {
    let member = |member: &BaggageMember| {
        KeyValueMetadata::new(member.name.clone(), member.value.clone(), member.properties.as_str())
    };
    from.members().iter().map(member).collect()
}
