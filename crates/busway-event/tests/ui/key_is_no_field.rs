use busway_event::EventType;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, EventType)]
#[event(key = order_id)]
struct Order {
    id: u32,
    amount: u32,
}

#[derive(Serialize, Deserialize, EventType)]
#[event(key = 2)]
struct Pair(u32, u32);

#[derive(Serialize, Deserialize, EventType)]
#[event(key = "id")]
struct Ping;

#[derive(Serialize, Deserialize, EventType)]
#[event(key = id)]
enum Door {
    Opened { id: u32 },
}

fn main() {}
