//! Durable topics: what a stream captures is stored before `publish` returns, and handled at least once, also after a restart.

use std::path::Path;
use std::time::Duration;

use busway::DurableSubscription;
use busway::prelude::*;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "order-created", key = order_id)]
struct OrderCreated {
    order_id: String,
}

fn order(order_id: &str) -> Draft<OrderCreated> {
    Event::new("orders.created", OrderCreated { order_id: order_id.into() })
}

/// A bus whose orders are kept for a month, and longer if somebody has not handled them.
async fn start(path: &Path, reserved: UnboundedSender<u64>) -> busway::Result<Bus> {
    let month = busway::Retention::forever().age(Duration::from_secs(30 * 24 * 3_600));
    let orders = Stream::new("orders").capture("orders.#").retention(month);
    Ok(Bus::open(path).stream(orders).state(reserved).start().await?)
}

/// The shelf of A-1 is locked for a moment. An error would do as well: then the bus chooses the time of the next attempt.
async fn find_the_shelf_locked(order: Event<OrderCreated>) -> Outcome {
    match order.payload().order_id.as_str() {
        "A-1" => Outcome::RetryAt(order.time().saturating_add(Duration::from_millis(1_500))),
        _ => Outcome::Done,
    }
}

async fn reserve(order: Payload<OrderCreated>, delivery: Delivery, reserved: State<UnboundedSender<u64>>) {
    let offset = delivery.offset().unwrap_or_default();
    println!("reserved {} at {offset}, attempt {}", order.order_id, delivery.attempt());
    // Nobody listens any more when the program ends.
    reserved.send(offset).ok();
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let path = std::env::temp_dir().join(format!("busway-08-durable-{}", std::process::id()));
    let (reserved, mut reservations) = unbounded_channel();
    let bus = start(&path, reserved.clone()).await?;
    // Parallel across keys, in order within each; an event that fails is given up after the eighth attempt.
    let stock =
        bus.subscribe("orders.created").durable("stock").concurrency(8).retry(Retry::default().attempts(8));
    let stock: DurableSubscription = stock.to(find_the_shelf_locked).await?;

    for order_id in ["A-1", "A-1", "B-7"] {
        // It survives the loss of power from here on.
        println!("{}", bus.publish(order(order_id)).await?);
    }
    // No stream captures this one: it stays in memory.
    println!("{}", bus.publish(Event::new("greetings.sent", Raw::from("hello"))).await?);

    bus.idle().await;
    // The second A-1 waits behind the first, B-7 does not.
    let stats = stock.stats();
    println!("stock: {} done, {} failed, {} parked", stats.done, stats.failed, stats.parked);
    println!("drained: {}", bus.shutdown(Duration::from_secs(5)).await.is_drained());

    println!("  -- the process starts again --");
    let bus = start(&path, reserved).await?;
    // Two handlers share what is left: each key sticks to one of them, and stays in order.
    let shared = || bus.subscribe("orders.created").durable("stock").group("warehouses");
    let stock = shared().to(reserve).await?;
    shared().to(reserve).await?;
    // What is parked comes back by itself when it is due.
    for _ in 0..2 {
        reservations.recv().await;
    }
    bus.idle().await;
    println!("{} events behind", stock.lag().events);
    bus.shutdown(Duration::from_secs(5)).await;
    drop(std::fs::remove_dir_all(path));
    Ok(())
}
