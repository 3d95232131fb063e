//! The engine without the facade: a bus, a group of two members, a report.

use std::time::Duration;

use busway_engine::{Bus, Settings};
use busway_event::{Event, Raw};
use busway_middleware::Payload;

#[tokio::main]
async fn main() -> Result<(), busway_engine::Error> {
    let settings = Settings::new().capacity(256);
    let bus = Bus::memory().producer("minimal").settings(settings).start().await?;
    for member in ["one", "two"] {
        let handler = move |text: Payload<Raw>| async move { println!("{member}: {:?}", text.0) };
        bus.subscribe("lines.#").group("readers").to(handler).await?;
    }
    for line in ["a", "b", "c", "d"] {
        bus.publish(Event::new("lines.read", Raw::from(line))).await?;
    }
    bus.idle().await;
    print!("{}", bus.describe());
    println!("{}", bus.shutdown(Duration::from_secs(5)).await);
    Ok(())
}
