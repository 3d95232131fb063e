//! Store and forward: what is published here reaches another bus behind it, and what that one answers comes back.
//!
//! The other bus stands for a broker: `busway-nats` and `busway-redis` have transports that are used in the same way.

use std::time::Duration;

use busway::prelude::*;
use busway::transport::{LocalTransport, Reception};

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "order-placed", key = number)]
struct OrderPlaced {
    number: String,
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "order-billed", key = number)]
struct OrderBilled {
    number: String,
}

async fn open(folder: &std::path::Path) -> busway::Result<Bus> {
    let stream = Stream::new("all").capture("orders.#").capture("bills.#");
    Ok(Bus::open(folder).stream(stream).producer("shop").start().await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let [shop, billing] = [open(folders[0].path()).await?, open(folders[1].path()).await?];

    // Nobody forwards yet: publishing does not mind.
    for number in ["A-1", "A-2"] {
        let receipt =
            shop.publish(Event::new("orders.placed", OrderPlaced { number: number.into() })).await?;
        println!("shop: {receipt}");
    }

    let bill = async |order: Payload<OrderPlaced>| {
        println!("billing: {}", order.number);
        Event::new("bills.made", OrderBilled { number: order.number.clone() })
    };
    billing.subscribe("orders.placed").durable("bill").to(bill).await?;
    let (done, mut billed) = tokio::sync::mpsc::channel(8);
    let tell = move |bill: Payload<OrderBilled>| {
        let done = done.clone();
        async move { done.send(bill.number.clone()).await }
    };
    shop.subscribe("bills.made").durable("tell").to(tell).await?;

    // One way for orders, the other for bills.
    let there = LocalTransport::new(&billing);
    let orders = shop.forwarder("orders-out", "orders.#").to(&there).await?;
    // From the beginning: what was sent may be billed before this begins.
    let wanted = Reception::new("all", "bills-in", Filter::new("bills.#")?).start_at(StartAt::Earliest);
    let bills = shop.ingest(wanted).from(&there).await?;
    for _ in 0..2 {
        println!("shop: {:?} is billed", billed.recv().await.unwrap_or_default());
    }
    let (out, back) = (orders.stop().await, bills.stop().await);
    println!("{} out, {} back", out.carried, back.carried);
    shop.shutdown(Duration::from_secs(5)).await;
    billing.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
