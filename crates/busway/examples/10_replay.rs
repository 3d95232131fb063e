//! Replay: read a stream back, try a new version of a handler on it without consequences, and send a subscription back to an earlier time.

use std::path::Path;
use std::time::Duration;

use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "order-created", key = order_id)]
struct OrderCreated {
    order_id: String,
    cents: u64,
}

const REVENUE: Table<String, u64> = Table::new("revenue");

/// The version that runs: it forgets the shipping of small orders.
#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
fn first(order: Payload<OrderCreated>, tx: &mut StoreTx<'_>) -> Result<(), TxError> {
    add(tx, &order.order_id, order.cents)
}

/// The version that is to replace it.
#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
fn second(order: Payload<OrderCreated>, tx: &mut StoreTx<'_>) -> Result<(), TxError> {
    let shipping = if order.cents < 1_000 { 300 } else { 0 };
    add(tx, &order.order_id, order.cents + shipping)
}

/// Set, not added: handling an order again changes nothing.
fn add(tx: &mut StoreTx<'_>, order_id: &str, cents: u64) -> Result<(), TxError> {
    tx.put(&REVENUE, order_id, &cents)
}

fn revenue(bus: &Bus) -> busway::Result<u64> {
    Ok(bus.read(|tables| Ok(tables.range(&REVENUE, .., 100)?.into_iter().map(|(_, cents)| cents).sum()))?)
}

async fn start(path: &Path) -> busway::Result<Bus> {
    let orders = Stream::new("orders").capture("orders.#");
    Ok(Bus::open(path).stream(orders).table(&REVENUE).start().await?)
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let path = std::env::temp_dir().join(format!("busway-10-replay-{}", std::process::id()));
    let bus = start(&path).await?;
    bus.subscribe("orders.created").durable("revenue").to(in_store(first)).await?;
    for (order_id, cents) in [("A-1", 4_200), ("B-7", 500), ("A-2", 1_700)] {
        let order = OrderCreated { order_id: order_id.into(), cents };
        bus.publish(Event::new("orders.created", order)).await?;
    }
    bus.idle().await;
    println!("revenue {}", revenue(&bus)?);

    println!("what B-7 did:");
    for past in bus.history("orders.#").key("B-7").take(10).await? {
        println!("  {} at {}", past.event.topic(), past.position);
    }

    // Nothing of this is stored: both versions cast shadows.
    let comparison = bus.history("orders.created").compare(in_store(first), in_store(second)).await?;
    println!("{comparison}");
    for difference in &comparison.differences {
        let value = |shadow: &busway::Shadow| {
            let value = shadow.writes.first().and_then(|write| write.value.clone()).unwrap_or_default();
            String::from_utf8_lossy(&value).into_owned()
        };
        let (one, other) = (value(&difference.one), value(&difference.other));
        println!("  {}: {one} before, {other} now", difference.event.position);
    }
    bus.shutdown(Duration::from_secs(5)).await;

    // The new version takes over, and handles everything again.
    let bus = start(&path).await?;
    bus.cursor("revenue").seek(StartAt::Earliest).await?;
    bus.subscribe("orders.created").durable("revenue").to(in_store(second)).await?;
    bus.idle().await;
    println!("revenue {}", revenue(&bus)?);
    bus.shutdown(Duration::from_secs(5)).await;
    drop(std::fs::remove_dir_all(path));
    Ok(())
}
