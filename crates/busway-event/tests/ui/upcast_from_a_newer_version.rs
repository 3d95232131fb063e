use busway_event::EventType;

#[derive(serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "order", version = 3)]
struct Newer {
    id: u32,
}

#[derive(serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "order", version = 2, upcast_from = Newer)]
struct Order {
    id: u32,
}

impl From<Newer> for Order {
    fn from(newer: Newer) -> Self {
        Self { id: newer.id }
    }
}

fn main() {}
