//! Middleware that comes with busway: logging, rules on metadata, limits, deadlines, panics, and any `tower::Layer`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use busway::builtin::{ConcurrencyLimit, IsolatePanics, LogOutcome, PanicOutcome, ValidateMetadata};
use busway::prelude::*;
use busway::tower::TowerMiddleware;
use busway::{Rate, RateLimit, Timeout};
use tokio::sync::{Barrier, mpsc};

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "order")]
struct Order {
    item: String,
}

fn order(item: &str) -> Draft<Order> {
    Event::new("orders.created", Order { item: item.to_owned() }).meta("tenant", "acme")
}

async fn pack(order: Payload<Order>) {
    match order.item.as_str() {
        "bomb" => panic!("this must not be packed"),
        "piano" => std::future::pending().await,
        item => println!("packed {item}"),
    }
}

/// A log record an outcome; who may come in; how long it may take; what a panic means.
async fn guarded() -> busway::Result<()> {
    let bus = Bus::memory().start().await?;
    bus.middleware(Stage::Trace).add("log", LogOutcome)?;
    bus.middleware(Stage::Decode).add("rules", ValidateMetadata::new().require("tenant"))?;
    bus.middleware(Stage::Timeout).add("deadline", Timeout::new(Duration::from_millis(50)))?;
    // Inside of the others: what they say about it is not its business.
    bus.middleware(Stage::User).add("panics", IsolatePanics::new(PanicOutcome::Dead))?;
    // A layer of tower is a middleware like any other.
    let count = tower::util::MapResponseLayer::new(|outcome: Outcome| {
        println!("tower saw: {}", outcome.label());
        outcome
    });
    bus.middleware(Stage::User).add("tower", TowerMiddleware::new(&count))?;
    let packing = bus.subscribe("orders.#").name("packing").to(pack).await?;

    bus.publish(order("book")).await?;
    bus.publish(order("bomb")).await?;
    bus.publish(order("piano")).await?;
    bus.publish(Event::new("orders.created", Order { item: "stolen".to_owned() })).await?;
    bus.idle().await;
    let stats = packing.stats();
    println!("{} done, {} failed, {} dead", stats.done, stats.failed, stats.dead);
    bus.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// At most two at once over two subscriptions that share one dependency.
async fn limited_together() -> busway::Result<()> {
    let bus = Bus::memory().start().await?;
    let limit = ConcurrencyLimit::new(2);
    // Each waits here for one other: with fewer places than two nobody would ever come out.
    let pair = Arc::new(Barrier::new(2));
    for name in ["left", "right"] {
        let pair = Arc::clone(&pair);
        let handler = move |_: Payload<Order>| {
            let pair = Arc::clone(&pair);
            async move { _ = pair.wait().await }
        };
        let builder = bus.subscribe("orders.#").name(name).concurrency(4);
        builder.middleware(Stage::User, "limit", limit.clone()).to(handler).await?;
    }
    for item in ["a", "b", "c"] {
        bus.publish(order(item)).await?;
    }
    bus.idle().await;
    println!("in pairs: {} of 6", bus.stats().tally.delivered);
    bus.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Two at once and then one an hour, until somebody changes the rate; events that wait are measured again.
async fn limited_in_time() -> Result<(), BoxError> {
    let bus = Bus::memory().start().await?;
    let hourly = Rate::new(1, Duration::from_secs(3_600))?;
    let limit = RateLimit::new(hourly, NonZeroU32::MIN.saturating_add(1));
    let handle = limit.handle();
    bus.middleware(Stage::User).add("rate", limit)?;
    let (packed, mut arrived) = mpsc::unbounded_channel();
    let handler = move |order: Payload<Order>| {
        let packed = packed.clone();
        async move { packed.send(order.item.clone()).map_err(BoxError::from) }
    };
    bus.subscribe("orders.#").to(handler).await?;
    for item in ["a", "b", "c"] {
        bus.publish(order(item)).await?;
    }
    println!("at once: {:?}, {:?}", arrived.recv().await, arrived.recv().await);
    println!("then nothing more: {}", arrived.is_empty());
    handle.set_rate(Rate::per_second(NonZeroU32::MAX));
    println!("faster: {:?}", arrived.recv().await);
    bus.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let log = tracing_subscriber::fmt().without_time().with_writer(std::io::stdout);
    log.with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG).init();
    guarded().await?;
    limited_together().await?;
    limited_in_time().await
}
