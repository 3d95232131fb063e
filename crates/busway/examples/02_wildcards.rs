//! Wildcard topics: `+` is exactly one segment, `#` is all that follows, which may be nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "reading")]
struct Reading {
    celsius: f64,
}

/// Four subscriptions run side by side: their lines are sorted before they are shown.
#[derive(Clone, Default)]
struct Matched(Arc<Mutex<Vec<String>>>);

impl Matched {
    fn add(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn print(&self) {
        let mut lines = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        lines.sort();
        lines.iter().for_each(|line| println!("{line}"));
    }
}

#[tokio::main]
async fn main() -> busway::Result<()> {
    let matched = Matched::default();
    let bus = Bus::memory().state(matched.clone()).start().await?;
    for filter in ["plant.hall1.oven", "plant.+.oven", "plant.#", "#"] {
        // Extractors come in any order; a state is a clone of what the bus was built with.
        let handler = move |topic: Topic, reading: Payload<Reading>, State(matched): State<Matched>| async move {
            matched.add(format!("  {filter} got {topic} at {}", reading.celsius));
        };
        bus.subscribe(filter).to(handler).await?;
    }

    for topic in ["plant.hall1.oven", "plant.hall2.oven", "plant", "office.hall1.oven"] {
        let receipt = bus.publish(Event::new(topic, Reading { celsius: 21.5 })).await?;
        bus.idle().await;
        println!("{topic}: {} subscriptions", receipt.offered);
        matched.print();
    }

    // What is no filter says what is wrong, and where.
    for filter in ["plant.#.oven", "plant.ov+", "plant..oven"] {
        if let Err(error) = Filter::new(filter) {
            println!("{error}");
        }
    }
    bus.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
