use busway_event::EventType;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, EventType)]
#[event(topic = "orders..created")]
struct Empty;

#[derive(Serialize, Deserialize, EventType)]
#[event(topic = "orders.#")]
struct Wildcard;

#[derive(Serialize, Deserialize, EventType)]
#[event(topic = "orders/created")]
struct Foreign;

fn main() {}
