//! Tracing: what an order has set off, as one picture.
//!
//! `cargo run --example 16_tracing --features otel` keeps the spans in memory and prints them as a tree. A service exports them instead:
//!
//! ```ignore
//! let exporting = Otlp::grpc("http://127.0.0.1:4317").service("orders").sample(0.1).start()?;
//! tracing_subscriber::registry().with(exporting.layer()).init();
//! ```

use std::time::Duration;

use busway::observability::{HeadSampler, Relation, Tracing};
use busway::prelude::*;
use opentelemetry::trace::{SpanId, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct OrderCreated {
    order_id: u32,
}

impl EventType for OrderCreated {
    const NAME: &'static str = "order-created";
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct StockReserved {
    order_id: u32,
}

impl EventType for StockReserved {
    const NAME: &'static str = "stock-reserved";
}

/// Fails once; what it returns is published with the settlement of the order.
async fn reserve(order: Payload<OrderCreated>, delivery: Delivery) -> Result<Draft<StockReserved>, BoxError> {
    if delivery.attempt() == 1 {
        return Err("the warehouse does not answer".into());
    }
    Ok(Event::new("stock.reserved", StockReserved { order_id: order.order_id }))
}

async fn send_mail(_: Payload<StockReserved>) {
    // A span of the program's own, within that of the attempt.
    let _rendered = tracing::info_span!("render mail").entered();
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spans = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .with_sampler(HeadSampler::new(1.0))
        .build();
    tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("shop")))
        .init();

    let path = std::env::temp_dir().join(format!("busway-16-{}", std::process::id()));
    // As one tree. By default each attempt begins a trace of its own, with a link to the publish.
    let tracing = Tracing::otel().relation(Relation::Parent);
    let bus =
        Bus::open(&path).stream(Stream::new("orders").capture("orders.#")).tracing(&tracing).start().await?;
    let retry = Retry::listed(&[Duration::from_millis(10)]);
    let stock = bus.subscribe("orders.created").durable("stock").retry(retry).to(reserve).await?;
    bus.subscribe("stock.#").name("mail").to(send_mail).await?;

    let order = Event::new("orders.created", OrderCreated { order_id: 7 });
    bus.publish(order).instrument(tracing::info_span!("checkout")).await?;
    // What is parked comes back by itself when it is due.
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while stock.stats().done < 1 {
        looks.tick().await;
    }
    bus.idle().await;
    bus.shutdown(Duration::from_secs(10)).await;

    let mut spans = spans.get_finished_spans()?;
    spans.sort_by_key(|span| span.start_time);
    print_below(SpanId::INVALID, &spans, 0);
    std::fs::remove_dir_all(path).ok();
    Ok(())
}

fn print_below(parent: SpanId, spans: &[SpanData], depth: usize) {
    for span in spans.iter().filter(|span| span.parent_span_id == parent) {
        let indent = "  ".repeat(depth);
        println!("{indent}{}{}", span.name, details(span));
        for event in span.events.iter().filter(|event| event.name.starts_with("busway.")) {
            println!("{indent}  ! {}", event.name);
        }
        print_below(span.span_context.span_id(), spans, depth + 1);
    }
}

/// What the bus says of its own spans.
fn details(span: &SpanData) -> String {
    let told = [
        "messaging.destination.name",
        "messaging.destination.subscription.name",
        "busway.attempt",
        "busway.outcome",
    ];
    let value = |key: &&str| {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == *key)?;
        let name = key.rsplit_once(".name").map_or(*key, |(name, _)| name);
        Some(format!(" {}={}", name.rsplit('.').next().unwrap_or(name), found.value.as_str()))
    };
    told.iter().filter_map(value).collect()
}
