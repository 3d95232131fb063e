use busway_event::EventType;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, EventType)]
#[event(key = id)]
struct Order {
    id: Option<u32>,
}

fn main() {}
