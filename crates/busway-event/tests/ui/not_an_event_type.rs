use busway_event::Event;

#[derive(serde::Serialize, serde::Deserialize)]
struct Order {
    id: u32,
}

fn main() {
    let _ = Event::new("orders", Order { id: 7 });
}
