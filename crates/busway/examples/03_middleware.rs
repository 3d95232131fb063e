//! Middleware: named steps around handlers, in stages, changed while the bus runs.

use std::time::Duration;

use busway::builtin::{Authorize, Refusal};
use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "payment")]
struct Payment {
    cents: u64,
}

/// The sync form: looks before and after, allocates nothing.
struct Announce;

impl SyncMiddleware for Announce {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        println!("-> {}", delivery.event().topic());
        Flow::Continue
    }

    fn after(&self, _delivery: &Delivery, outcome: Outcome) -> Outcome {
        println!("<- {outcome}");
        outcome
    }
}

/// The async form: may wait, repeat, or not go on at all.
struct SecondChance;

impl Middleware for SecondChance {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        match next.run(delivery).await {
            Outcome::Failed(error) => {
                println!("   again, after: {error}");
                next.run(delivery).await
            }
            outcome => outcome,
        }
    }
}

async fn pay(payment: Payload<Payment>) -> Result<(), BoxError> {
    match payment.cents {
        0 => Err("nothing to pay".into()),
        cents => {
            println!("   paid {cents}");
            Ok(())
        }
    }
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let bus = Bus::memory().start().await?;
    let subscription = bus.subscribe("payments.#").name("pay").traces(1).to(pay).await?;
    let send = async |cents: u64, tenant: &str| {
        let event = Event::new("payments.due", Payment { cents }).meta("tenant", tenant);
        bus.publish(event).await.map(|_receipt| ())?;
        bus.idle().await;
        Ok::<(), busway::Error>(())
    };

    // Registered inside out on purpose: the stage decides, not the order of these lines.
    bus.middleware(Stage::Retry).add("second-chance", SecondChance)?;
    let known = Authorize::new(|_topic, metadata| match metadata.get("tenant") {
        Some("acme") => Ok(()),
        _ => Err(Refusal::new("unknown tenant")),
    });
    bus.middleware(Stage::Decode).add("tenants", known)?;
    bus.middleware(Stage::Trace).add("announce", Announce)?;

    send(4200, "acme").await?;
    send(0, "acme").await?;
    send(1, "intruder").await?;

    // Events in flight keep the chain with which they started; the next one gets the new chain.
    bus.middleware(Stage::Decode).remove("tenants")?;
    send(1, "intruder").await?;

    for trace in subscription.traces() {
        let nodes: Vec<&str> = trace.nodes.iter().map(|time| &*time.node).collect();
        println!("last way: {}", nodes.join(" > "));
    }
    let stats = subscription.stop().await;
    println!("{} done, {} failed, {} dead", stats.done, stats.failed, stats.dead);
    bus.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
