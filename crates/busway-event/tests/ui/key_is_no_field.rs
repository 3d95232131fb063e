use busway_event::EventType;

#[derive(serde::Serialize, serde::Deserialize, EventType)]
#[event(key = order_id)]
struct Order {
    id: u32,
}

fn main() {}
