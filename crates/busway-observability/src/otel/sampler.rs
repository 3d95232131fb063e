//! Head sampling that holds together where consumers link.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// Decides where a trace begins, by a ratio of trace ids; what is inside of a trace follows it, and what begins one with a link to something that is recorded
/// is recorded too.
#[derive(Debug, Clone)]
pub struct HeadSampler {
    roots: Sampler,
}

impl HeadSampler {
    /// Records this share of the traces that begin here: from 0, none, to 1, all.
    #[must_use]
    pub fn new(share: f64) -> Self {
        Self { roots: Sampler::TraceIdRatioBased(share) }
    }
}

impl ShouldSample for HeadSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let parent = parent.map(|context| context.span().span_context().clone());
        let is_recorded = match parent.as_ref().filter(|parent| parent.is_valid()) {
            Some(parent) => parent.is_sampled(),
            None if links.iter().any(|link| link.span_context.is_sampled()) => true,
            None => return self.roots.should_sample(None, trace_id, name, kind, attributes, links),
        };
        let decision = if is_recorded { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop };
        let trace_state = parent.map_or(TraceState::NONE, |parent| parent.trace_state().clone());
        SamplingResult { decision, attributes: Vec::new(), trace_state }
    }
}
