//! Prints the contract of an event type, and an event of that type as the world outside sees it.
//!
//! `cargo run -p busway-event --features schemars --example contract`

use std::error::Error;
use std::time::Duration;

use busway_event::{
    AnyEvent, Contract, Event, EventType, Metadata, Priority, Stamp, check_round_trip,
    cloudevents::{self, Import},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An order was placed and paid for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, EventType)]
#[event(name = "order-created", version = 2, topic = "orders.created", key = order_id, upcast_from = OrderCreatedV1)]
struct OrderCreated {
    /// The number on the invoice.
    order_id: String,
    amount_cents: u64,
    /// ISO 4217.
    currency: String,
}

/// The first version knew one currency.
#[derive(Debug, Serialize, Deserialize, EventType)]
#[event(name = "order-created")]
struct OrderCreatedV1 {
    order_id: String,
    amount_cents: u64,
}

impl From<OrderCreatedV1> for OrderCreated {
    fn from(old: OrderCreatedV1) -> Self {
        Self { order_id: old.order_id, amount_cents: old.amount_cents, currency: "EUR".to_owned() }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("What others may rely on:\n{}\n", Contract::of::<OrderCreated>().to_json());

    let order = OrderCreated { order_id: "A-1".to_owned(), amount_cents: 4200, currency: "CHF".to_owned() };
    check_round_trip(&order)?;

    // A bus stamps id, time and producer; here they are fixed, so that the output is always the same.
    let metadata = Metadata::draft("shop", OrderCreated::VERSION).build()?;
    let id = "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1".parse()?;
    let stamp = Stamp::new(id, "2026-01-31T10:00:00Z".parse()?, &metadata);
    let draft = Event::of(order).priority(Priority::P1).ttl(Duration::from_secs(300)).meta("tenant", "acme");
    let event: AnyEvent = draft.finish(&stamp).map_err(|(_, reason)| reason)?.into();

    let json = cloudevents::to_json(&event)?;
    println!("The event as a CloudEvent:\n{}\n", String::from_utf8(json.clone())?);

    let again = cloudevents::from_json(&json, &Import::new())?;
    println!("Read back: {:?}", again.typed::<OrderCreated>()?.payload());

    let old = br#"{"specversion": "1.0", "id": "7", "source": "/old-shop", "type": "order-created", "schemaversion": "1",
                   "subject": "orders.created", "time": "2025-12-31T23:59:59Z",
                   "data": {"order_id": "A-0", "amount_cents": 100}}"#;
    let old = cloudevents::from_json(old, &Import::new())?;
    println!("Version 1, upcast: {:?}", old.typed::<OrderCreated>()?.payload());
    Ok(())
}
