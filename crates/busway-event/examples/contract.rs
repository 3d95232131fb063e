//! An event type as a contract for other teams, and one of its events as a CloudEvent.

use busway_event::{AnyEvent, Contract, Event, EventId, EventType, Metadata, Stamp, Timestamp, cloudevents};

/// A customer has ordered something.
#[derive(Debug, serde::Serialize, serde::Deserialize, EventType, schemars::JsonSchema)]
#[event(name = "order-created", version = 2, topic = "orders.created", key = order_id)]
struct OrderCreated {
    /// What the customer calls it.
    order_id: String,
    amount_cents: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", Contract::of::<OrderCreated>().to_json());

    // A bus stamps events; without one it is done by hand.
    let metadata = Metadata::draft("shop", OrderCreated::VERSION).build()?;
    let id: EventId = "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1".parse()?;
    let stamp = Stamp::new(id, Timestamp::from_nanos(1_767_225_600_000_000_000), &metadata);
    let draft =
        Event::of(OrderCreated { order_id: "A-1".into(), amount_cents: 4_200 }).meta("tenant", "acme");
    let event: AnyEvent = draft.finish(&stamp).map_err(|(_, reason)| reason)?.into();

    let json = cloudevents::to_json(&event)?;
    println!("{}", String::from_utf8_lossy(&json));
    let again = cloudevents::from_json(&json, &cloudevents::Import::new())?;
    println!("{}", again.typed::<OrderCreated>()?.payload().order_id);
    Ok(())
}
