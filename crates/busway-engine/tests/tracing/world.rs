//! A process with OpenTelemetry: one subscriber and one exporter for all tests, each of which has topics of its own.

use std::io::{self, Write};
use std::sync::OnceLock;

use busway_engine::Bus;
use busway_event::{Event, EventType, Raw};
use busway_observability::{HeadSampler, LogFormat, Logs, Tracing};
use opentelemetry::trace::{Link, SpanId, SpanKind, TraceContextExt as _, TraceId, TracerProvider as _};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample, SpanData,
};
use parking_lot::Mutex;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// All that was exported so far.
static EXPORTED: OnceLock<(InMemorySpanExporter, SdkTracerProvider)> = OnceLock::new();

/// As the exported one, but of spans that are called so nothing is recorded.
#[derive(Debug, Clone)]
struct ByName(HeadSampler);

pub(crate) const NOT_RECORDED: &str = "not recorded";

impl ShouldSample for ByName {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_root = parent.is_none_or(|parent| !parent.span().span_context().is_valid());
        let mut result = self.0.should_sample(parent, trace_id, name, kind, attributes, links);
        if is_root && name == NOT_RECORDED {
            result.decision = SamplingDecision::Drop;
        }
        result
    }
}

/// Lines of `Logs`, and of the formatter for JSON that `tracing-subscriber` has.
static LOGS: Mutex<String> = Mutex::new(String::new());
static PLAIN: Mutex<String> = Mutex::new(String::new());

/// Where they go.
struct Lines(&'static Mutex<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line of `Logs` with this message, and the one of the formatter.
pub(crate) fn line(message: &str) -> [serde_json::Value; 2] {
    [&LOGS, &PLAIN].map(|lines| {
        let lines = lines.lock();
        let found = lines.lines().find(|line| line.contains(&format!("\"message\":\"{message}\"")));
        serde_json::from_str(found.unwrap_or_else(|| panic!("no {message} in {lines}"))).unwrap()
    })
}

/// How a bus is traced here.
pub(crate) fn tracing() -> Tracing {
    EXPORTED.get_or_init(|| {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .with_sampler(ByName(HeadSampler::new(1.0)))
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        // As `Exporting::layer` does.
        let layer = layer.with_filter(filter_fn(|metadata| metadata.target() != "busway"));
        // Beside it, as in most programs, lines: with filters of their own, of which none may cost another a span.
        let logs = Logs::new(LogFormat::Json).filter("tracing=info").writer(Lines(&LOGS)).layer().unwrap();
        let plain = tracing_subscriber::fmt::layer().json().with_writer(|| Lines(&PLAIN));
        tracing_subscriber::registry().with(layer).with(logs.0).with(plain).init();
        (exporter, provider)
    });
    Tracing::otel()
}

/// The spans that have ended, of events whose topics begin so; in the order in which they ended.
pub(crate) fn spans(prefix: &str) -> Vec<Span> {
    let (exporter, _) = EXPORTED.get().unwrap();
    let all = exporter.get_finished_spans().unwrap().into_iter().map(Span);
    all.filter(|span| span.text("messaging.destination.name").is_some_and(|topic| topic.starts_with(prefix)))
        .collect()
}

/// All spans of this name.
pub(crate) fn named(name: &str) -> Vec<Span> {
    let (exporter, _) = EXPORTED.get().unwrap();
    exporter.get_finished_spans().unwrap().into_iter().map(Span).filter(|span| span.0.name == name).collect()
}

#[derive(Debug, Clone)]
pub(crate) struct Span(pub(crate) SpanData);

impl Span {
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        let found = self.0.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        found.map(|attribute| attribute.value.as_str().into_owned())
    }

    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        let found = self.0.attributes.iter().find(|attribute| attribute.key.as_str() == key)?;
        match found.value {
            Value::I64(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        let found = self.0.attributes.iter().find(|attribute| attribute.key.as_str() == key)?;
        match found.value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    pub(crate) fn id(&self) -> SpanId {
        self.0.span_context.span_id()
    }

    pub(crate) fn trace(&self) -> TraceId {
        self.0.span_context.trace_id()
    }

    pub(crate) fn is_linked_to(&self, other: &Self) -> bool {
        self.0.links.links.iter().any(|link| {
            (link.span_context.span_id(), link.span_context.trace_id()) == (other.id(), other.trace())
        })
    }

    pub(crate) fn is_child_of(&self, other: &Self) -> bool {
        (self.0.parent_span_id, self.trace()) == (other.id(), other.trace())
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.parent_span_id == SpanId::INVALID
    }

    pub(crate) fn has_moment(&self, name: &str) -> bool {
        self.0.events.events.iter().any(|event| event.name == name)
    }

    pub(crate) fn is_process(&self) -> bool {
        self.0.name.starts_with("process ")
    }
}

/// A payload with a number.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Numbered(pub(crate) u32);

impl EventType for Numbered {
    const NAME: &'static str = "numbered";
}

pub(crate) fn raw(topic: &str) -> busway_event::Draft<Raw> {
    Event::new(topic, Raw::from("x"))
}

/// A bus in memory that is traced.
pub(crate) async fn memory() -> Bus {
    Bus::memory().tracing(&tracing()).start().await.unwrap()
}
