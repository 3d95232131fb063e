//! Metrics and health: what an operator sees from outside.
//!
//! `cargo run --example 15_metrics --features http` prints where it serves, asks itself for `/metrics` and `/readyz` as a scraper would, and prints what it is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use busway::observability::Endpoint;
use busway::prelude::*;
use busway::{Collector, Metrics, Signal, Wants};

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct OrderCreated {
    order_id: u32,
}

impl EventType for OrderCreated {
    const NAME: &'static str = "order-created";
}

/// A collector of the program's own: it is told of what failed, and of nothing else.
struct Pager;

impl Collector for Pager {
    fn wants(&self) -> Wants {
        Wants::ALARMS
    }

    fn collect(&self, signal: &Signal<'_>) {
        if let Signal::DeadLetter { subscription, event, reason } = signal {
            println!("pager: {subscription} gave up {} of {}: {reason}", event.id(), event.topic());
        }
    }
}

async fn reserve(order: Payload<OrderCreated>) -> Result<(), BoxError> {
    match order.order_id {
        7 => Err(Permanent("order 7 was never paid").into()),
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("busway-15-{}", std::process::id()));
    let metrics = Metrics::new();
    let bus = Bus::open(&path)
        .stream(Stream::new("orders").capture("orders.#"))
        .metrics(&metrics)
        .collector(std::sync::Arc::new(Pager))
        .start()
        .await?;
    bus.subscribe("orders.created").durable("stock").to(reserve).await?;

    // Port 0 takes any that is free; a service says 127.0.0.1:9464, which is the default.
    let endpoint = Endpoint::new(metrics).address(SocketAddr::from(([127, 0, 0, 1], 0)));
    let serving = endpoint.behind(Duration::from_secs(60)).serve()?;
    println!("serving http://{}/metrics", serving.address());

    for order_id in 0..20 {
        bus.publish(Event::new("orders.created", OrderCreated { order_id })).await?;
    }
    bus.idle().await;

    for line in get(serving.address(), "/metrics")?.lines() {
        let shown = ["busway_events_delivered_total{", "busway_dead_letter_depth{", "busway_pending_events{"];
        if shown.iter().any(|name| line.starts_with(name)) {
            println!("{line}");
        }
    }
    println!("ready? {}", get(serving.address(), "/readyz")?.lines().next().unwrap_or_default());
    println!("health: {}", bus.health(None));

    drop(serving);
    println!("{}", bus.shutdown(Duration::from_secs(10)).await);
    std::fs::remove_dir_all(path).ok();
    Ok(())
}

/// As a scraper asks.
fn get(at: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
