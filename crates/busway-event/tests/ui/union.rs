use busway_event::EventType;

#[derive(EventType)]
union Either {
    one: u32,
    other: f32,
}

fn main() {}
