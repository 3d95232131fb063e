use busway_event::EventType;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, EventType)]
struct Borrowed<'a> {
    text: &'a str,
}

fn main() {}
