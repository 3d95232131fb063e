use busway_event::EventType;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, EventType)]
#[event(name = "", version = 0, topic = "a b", key = 7, codec = "yaml")]
#[event(upcast_from = , color = "red" topic = "x", crate = "x")]
struct Order<'a> {
    id: &'a str,
}

fn main() {}
