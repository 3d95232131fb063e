//! Testing handlers: `busway-testkit` has a bus with a manual clock that remembers what happened. No sleeps.

use std::sync::Arc;
use std::time::Duration;

use busway::Clock;
use busway::prelude::*;
use busway_testkit::{Recorder, TestBus};

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "invoice")]
struct Invoice {
    cents: u64,
}

/// What is tested: reminds an hour after an invoice was sent, unless it asks for nothing.
async fn remind(invoice: Payload<Invoice>, State(clock): State<Arc<dyn Clock>>) -> Option<Draft<Invoice>> {
    if invoice.cents == 0 {
        return None;
    }
    clock.sleep_until(clock.now() + Duration::from_secs(3_600)).await;
    Some(Event::new("invoices.reminded", Invoice { cents: invoice.cents }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> busway::Result<()> {
    let hand = busway_testkit::ManualClock::new();
    let clock: Arc<dyn Clock> = Arc::new(hand.clone());
    let bus = TestBus::build(|builder| builder.state(clock)).await;
    bus.subscribe("invoices.sent").name("remind").to(remind).await?;
    let reminded = Recorder::<Invoice>::new();
    bus.subscribe("invoices.reminded").to(reminded.handler()).await?;

    bus.publish(Event::new("invoices.sent", Invoice { cents: 4200 })).await?;
    // The handler waits for its clock: an hour passes when the test says so.
    while hand.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    hand.advance(Duration::from_secs(3_600));
    bus.settle().await;
    reminded.assert_payloads(&[Invoice { cents: 4200 }]);
    println!("reminded after a virtual hour");

    bus.publish(Event::new("invoices.sent", Invoice { cents: 0 })).await?;
    bus.settle().await;
    bus.assert_published("invoices.reminded", 1);
    bus.assert_published_only(&["invoices.#"]);
    bus.assert_outcomes("remind", &["done", "done"]);
    // Shuts down, checks that every account is balanced and that no timer was left behind.
    let report = bus.finish().await;
    println!("{} delivered, none lost", report.tally.delivered);
    Ok(())
}
