//! The spans and their attributes: every name of OpenTelemetry's conventions for messaging that busway uses is in this file.
//!
//! <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>, status development, read at schema 1.42. `otel.name`, `otel.kind` and `otel.status_code` are
//! what `tracing-opentelemetry` makes name, kind and status of. A name says the operation, and the filter where there is one: as many as the program declares. What is
//! busway's own begins with `busway.`.

use std::time::Duration;

use busway_event::{EventId, Topic, TraceContext};
use busway_middleware::chain::attempt::TRACED;
use busway_middleware::{Delivery, Outcome};
use tracing::Span;
use tracing::field::Empty;

use super::Publish;

/// Spans have their names where they are made, so a function cannot be given one.
macro_rules! of_publish {
    ($name:literal, $kind:literal, $topic:expr, $id:expr) => {
        tracing::info_span!(
            target: TRACED,
            $name,
            "otel.kind" = "producer",
            "otel.status_code" = Empty,
            "messaging.system" = SYSTEM,
            "messaging.operation.name" = $name,
            "messaging.operation.type" = $kind,
            "messaging.destination.name" = $topic.as_str(),
            "messaging.message.id" = %$id,
            "error.type" = Empty,
        )
    };
}

pub(super) fn publish(topic: &Topic, id: EventId, publish: Publish) -> Span {
    match publish {
        Publish::Alone => of_publish!("publish", "send", topic, id),
        Publish::OneOfMany => of_publish!("create", "create", topic, id),
    }
}

/// A publish of several events, each of which has its `create`: of this topic, where they have one.
pub(super) fn send(topic: Option<&Topic>, events: usize) -> Span {
    let span = tracing::info_span!(
        target: TRACED,
        "send",
        "otel.kind" = "client",
        "otel.status_code" = Empty,
        "messaging.system" = SYSTEM,
        "messaging.operation.name" = "send",
        "messaging.operation.type" = "send",
        "messaging.destination.name" = Empty,
        "messaging.batch.message_count" = number(events),
        "error.type" = Empty,
    );
    if let Some(topic) = topic {
        span.record("messaging.destination.name", topic.as_str());
    }
    span
}

/// An attempt at one event.
pub(super) fn process(delivery: &Delivery) -> Span {
    let (event, scope) = (delivery.event(), delivery.scope());
    let span = tracing::info_span!(
        target: TRACED,
        "process",
        "otel.name" = %format_args!("process {}", scope.filter()),
        "otel.kind" = "consumer",
        "otel.status_code" = Empty,
        "messaging.system" = SYSTEM,
        "messaging.operation.name" = "process",
        "messaging.operation.type" = "process",
        "messaging.destination.name" = event.topic().as_str(),
        "messaging.destination.template" = scope.filter().as_str(),
        "messaging.destination.subscription.name" = scope.subscription(),
        "messaging.destination.partition.id" = Empty,
        "messaging.message.id" = %event.id(),
        "busway.stream" = Empty,
        "busway.offset" = Empty,
        "busway.attempt" = i64::from(delivery.attempt()),
        "busway.replay" = delivery.is_replay(),
        "busway.outcome" = Empty,
        "error.type" = Empty,
        trace_id = Empty,
        span_id = Empty,
    );
    if let Some(position) = delivery.position() {
        span.record("messaging.destination.partition.id", tracing::field::display(position.partition));
        span.record("busway.stream", &*position.stream);
        span.record("busway.offset", i64::try_from(position.offset).unwrap_or(i64::MAX));
    }
    span
}

/// An attempt at several events of a subscription, of which this is one.
pub(super) fn process_all(delivery: &Delivery, events: usize) -> Span {
    let events = number(events);
    let scope = delivery.scope();
    tracing::info_span!(
        target: TRACED,
        "process",
        "otel.name" = %format_args!("process {}", scope.filter()),
        "otel.kind" = "consumer",
        "otel.status_code" = Empty,
        "messaging.system" = SYSTEM,
        "messaging.operation.name" = "process",
        "messaging.operation.type" = "process",
        "messaging.destination.template" = scope.filter().as_str(),
        "messaging.destination.subscription.name" = scope.subscription(),
        "messaging.batch.message_count" = events,
        "busway.outcome" = Empty,
        "error.type" = Empty,
        trace_id = Empty,
        span_id = Empty,
    )
}

pub(super) fn redrive(request: &str, letters: usize) -> Span {
    tracing::info_span!(
        target: TRACED,
        "redrive",
        "otel.kind" = "client",
        "messaging.system" = SYSTEM,
        "messaging.operation.name" = "redrive",
        "messaging.operation.type" = "settle",
        "messaging.batch.message_count" = number(letters),
        "busway.request" = request,
    )
}

/// The place of an attempt, by the names that log stores know: formatters of lines show fields of spans, and know nothing of contexts.
pub(super) fn placed(span: &Span, context: &TraceContext) {
    span.record("trace_id", context.trace_id_hex());
    span.record("span_id", format!("{:016x}", u64::from_be_bytes(context.parent_id())));
}

/// A span that the tracing system does not know has no place of its own: its lines lead to the trace of the event.
pub(super) fn borne(span: &Span, trace: &TraceContext) {
    span.record("trace_id", trace.trace_id_hex());
}

/// Texts of errors are the program's own and may be secrets: the kind alone is told.
pub(super) fn ended(span: &Span, outcome: &Outcome) {
    span.record("busway.outcome", outcome.label());
    if !matches!(outcome, Outcome::Done | Outcome::Skip) {
        failed(span, outcome.label());
    }
}

pub(super) fn failed(span: &Span, kind: &str) {
    span.record("otel.status_code", "error");
    span.record("error.type", kind);
}

pub(super) fn retried(span: &Span, attempt: u32, delay: Duration) {
    let (attempt, delay_ms) = (i64::from(attempt), i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
    tracing::info!(
        target: TRACED,
        parent: span,
        { busway.attempt = attempt, busway.retry.delay_ms = delay_ms },
        "busway.retry"
    );
}

pub(super) fn given_up(span: &Span, attempt: u32) {
    let attempt = i64::from(attempt);
    tracing::info!(target: TRACED, parent: span, { busway.attempt = attempt }, "busway.dead_letter");
}

/// Attributes have signed numbers: others would be told as texts.
fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The conventions by which attributes are named, for the instrumentation scope of a tracer: who reads spans later can tell what the names meant.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";
/// No system of the conventions' list: they allow one's own.
const SYSTEM: &str = "busway";
