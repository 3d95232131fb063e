use busway_event::EventType;

#[derive(EventType)]
union Number {
    int: u32,
    float: f32,
}

#[derive(serde::Serialize, serde::Deserialize, EventType)]
struct Borrowed<'a> {
    text: &'a str,
}

fn main() {}
