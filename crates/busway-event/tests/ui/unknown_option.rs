use busway_event::EventType;

#[derive(serde::Serialize, serde::Deserialize, EventType)]
#[event(nmae = "order", version = 0, topic = "orders..created")]
struct Order {
    id: u32,
}

fn main() {}
