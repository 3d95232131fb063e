//! Pressure: what happens when a subscriber is slower than its publishers is written at the subscription, and counted.

use std::time::Duration;

use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "price")]
struct Price {
    cents: u32,
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let policies = [
        ("drop newest", Overflow::DropNewest),
        ("drop oldest", Overflow::DropOldest),
        ("coalesce", Overflow::Coalesce),
        ("disconnect", Overflow::Disconnect),
        ("block 5 ms", Overflow::Block(Some(Duration::from_millis(5)))),
    ];
    for (name, policy) in policies {
        let bus = Bus::memory().start().await?;
        let handler = async |price: Event<Price>, delivery: Delivery| {
            let key = price.key().map(Key::as_str).unwrap_or_default();
            println!("  {key} at {}, {} lost before", price.payload().cents, delivery.lagged());
        };
        let subscription =
            bus.subscribe("prices").name("board").capacity(3).overflow(policy).to(handler).await?;

        println!("{name}:");
        // Paused, it starts nothing: what would have waited when it is disconnected is abandoned.
        subscription.pause();
        for cents in 1..=5 {
            let key = if cents % 2 == 0 { "even" } else { "odd" };
            bus.publish(Event::new("prices", Price { cents }).key(key)).await?;
        }
        subscription.resume();
        bus.idle().await;
        println!("  {}", subscription.stats().tally);
        bus.shutdown(Duration::from_secs(5)).await;
    }
    Ok(())
}
