//! Without a name of its own, an event bears that of its type, which here is none.

use busway_event::EventType;

#[derive(serde::Serialize, serde::Deserialize, EventType)]
struct __;

fn main() {}
