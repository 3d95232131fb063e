//! The four forms of handlers: async, blocking, inline and batch. All of them take extractors and return outcomes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "sale")]
struct Sale {
    cents: u64,
}

/// Async: for whatever waits. It runs in the subscription's own tasks.
async fn charge(sale: Payload<Sale>) -> Result<(), BoxError> {
    match sale.cents {
        0 => Err("nothing to charge".into()),
        cents => {
            println!("  charged {cents}");
            Ok(())
        }
    }
}

/// Blocking: sync code that may take its time. It runs on a thread of the subscription's own and holds up nobody else.
#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
fn archive(sale: Payload<Sale>, topic: Topic) {
    println!("  archived {} from {topic}", sale.cents);
}

/// Inline: a few nanoseconds of work, done by the publisher itself. When `publish` returns, it has been done.
#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
fn add_up(sale: Payload<Sale>, State(total): State<Arc<AtomicU64>>) {
    total.fetch_add(sale.cents, Ordering::Relaxed);
}

/// Batch: whatever waits, in one call, and one outcome an event. Middleware still sees each event alone.
async fn store(sales: Batch<Sale>) -> Vec<Outcome> {
    let cents: Vec<u64> = sales.iter().map(|sale| sale.payload().cents).collect();
    println!("  stored {cents:?} at once");
    let outcome = |cents: u64| if cents == 0 { Outcome::dead("not a sale") } else { Outcome::Done };
    cents.into_iter().map(outcome).collect()
}

/// Publishes three sales, waits for their end and stops the subscription.
async fn sell(bus: &Bus, subscription: Subscription) -> busway::Result<()> {
    // What is published meanwhile waits, so that the batch is one.
    subscription.pause();
    let publisher = bus.publisher::<Sale>("sales.berlin")?;
    for cents in [4_200, 0, 100] {
        publisher.publish(Sale { cents }).await?;
    }
    subscription.resume();
    bus.idle().await;
    let stats = subscription.stop().await;
    println!("{}: {} done, {} failed, {} dead", stats.name, stats.done, stats.failed, stats.dead);
    Ok(())
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let total = Arc::new(AtomicU64::new(0));
    let bus = Bus::memory().state(Arc::clone(&total)).start().await?;

    sell(&bus, bus.subscribe("sales.+").name("async").to(charge).await?).await?;
    sell(&bus, bus.subscribe("sales.+").name("blocking").to(blocking(archive)).await?).await?;
    sell(&bus, bus.subscribe("sales.+").name("batch").to(batch(store).max(16)).await?).await?;

    let inline = bus.subscribe("sales.+").name("inline").to(inline(add_up)).await?;
    // Nothing to wait for: an inline handler has no queue.
    bus.publish(Event::new("sales.berlin", Sale { cents: 4_200 })).await?;
    println!("inline: {} in all, {} done", total.load(Ordering::Relaxed), inline.stats().done);

    bus.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
