use busway_event::EventType;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, EventType)]
#[event(nmae = "order", version = 2, key = id, key = id)]
struct Order {
    id: u32,
}

fn main() {}
