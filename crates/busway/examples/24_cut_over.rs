//! A stream is cut over to a broker: the same handler, here and there, and each order is handled once.
//!
//! The broker is another bus of this process: `busway-nats`, `busway-kafka` and `busway-redis` have transports that are used in the same way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use busway::cutover::CutOverMode;
use busway::prelude::*;
use busway::transport::LocalTransport;
use tokio::sync::Notify;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "order-placed", key = number)]
struct OrderPlaced {
    number: String,
}

/// Orders that were handled.
#[derive(Default)]
struct Handled {
    orders: AtomicU32,
    one_more: Notify,
}

impl Handled {
    async fn reaches(&self, orders: u32) {
        while self.orders.load(Ordering::SeqCst) < orders {
            self.one_more.notified().await;
        }
    }
}

async fn pack(order: Payload<OrderPlaced>, State(handled): State<Arc<Handled>>) {
    println!("  packing {}", order.number);
    handled.orders.fetch_add(1, Ordering::SeqCst);
    handled.one_more.notify_one();
}

async fn open(folder: &std::path::Path, handled: &Arc<Handled>) -> busway::Result<Bus> {
    let bus = Bus::open(folder).stream(Stream::new("orders").capture("orders.#"));
    Ok(bus.producer("shop").state(Arc::clone(handled)).start().await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let handled = Arc::<Handled>::default();
    let (shop, elsewhere) =
        (open(folders[0].path(), &handled).await?, open(folders[1].path(), &handled).await?);
    let broker = LocalTransport::new(&elsewhere);

    let mut orders = 0;
    for mode in [CutOverMode::Mirror, CutOverMode::Remote, CutOverMode::Local] {
        // Who leads from now on. With a configuration this is one line of it: `carriers: { orders: { transport: nats, mode: remote } }`.
        let cut_over = shop.cut_over("orders", mode).await?;
        let here = shop.subscribe("orders.#").durable("packing").start_at(StartAt::Earliest);
        let here = cut_over.local(here).to(pack).await?;
        let there = match cut_over.remote(shop.subscribe("orders.#"), &broker, "packing") {
            Some(there) => Some(there.to(pack).await?),
            None => None,
        };
        let carrier = cut_over.begin(&broker).await?;

        println!("{mode:?}:");
        for _ in 0..2 {
            orders += 1;
            let order = OrderPlaced { number: format!("A-{orders}") };
            shop.publish(Event::new("orders.placed", order)).await?;
            handled.reaches(orders).await;
        }

        let mut by_the_broker = 0;
        here.stop().await;
        if let Some(there) = there {
            by_the_broker = there.stop().await.subscription.done;
        }
        let copied = carrier.stop().await.forwarder.map_or(0, |forwarder| forwarder.carried);
        println!("  {by_the_broker} came from the broker, {copied} went there");
    }
    println!("{} orders, {} packed", orders, handled.orders.load(Ordering::SeqCst));
    shop.shutdown(Duration::from_secs(5)).await;
    elsewhere.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
