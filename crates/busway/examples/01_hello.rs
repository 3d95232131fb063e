//! The smallest bus: one event type, one handler.

use std::time::Duration;

use busway::PublishError;
use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "greeting")]
struct Greeting {
    name: String,
}

async fn greet(greeting: Payload<Greeting>) {
    println!("hello, {}", greeting.name);
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let bus = Bus::memory().start().await?;
    bus.subscribe("greetings.sent").to(greet).await?;

    let receipt = bus.publish(Event::new("greetings.sent", Greeting { name: "world".into() })).await?;
    println!("{receipt}");
    bus.idle().await;

    // Nobody listens there: the receipt says so.
    let receipt = bus.publish(Event::new("greetings.lost", Greeting { name: "nobody".into() })).await?;
    println!("{receipt}");

    // A topic that breaks a rule gives the event back.
    let refused = bus.publish(Event::new("greetings..sent", Greeting { name: "nobody".into() })).await;
    if let Some(draft) = refused.err().and_then(PublishError::into_event) {
        println!("refused {:?}", draft.payload());
    }

    let report = bus.shutdown(Duration::from_secs(5)).await;
    println!("drained: {}, {} delivered", report.is_drained(), report.tally.delivered);
    Ok(())
}
