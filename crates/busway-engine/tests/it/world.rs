//! What the tests share: an event type and small helpers.

use busway_engine::{Bus, BusBuilder};
use busway_event::{Draft, Event, EventType};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Number {
    pub(crate) n: u32,
}

impl EventType for Number {
    const NAME: &'static str = "number";
}

/// An event on `topic`.
pub(crate) fn number(topic: &str, n: u32) -> Draft<Number> {
    Event::new(topic, Number { n })
}

pub(crate) async fn start(builder: BusBuilder) -> Bus {
    builder.producer("test").start().await.unwrap()
}

pub(crate) async fn memory() -> Bus {
    start(Bus::memory()).await
}
