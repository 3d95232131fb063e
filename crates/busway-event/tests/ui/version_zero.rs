use busway_event::EventType;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, EventType)]
#[event(version = 0)]
struct Zero;

#[derive(Serialize, Deserialize, EventType)]
#[event(version = 65536)]
struct TooHigh;

fn main() {}
