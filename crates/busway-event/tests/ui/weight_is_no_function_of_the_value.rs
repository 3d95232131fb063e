use busway_event::EventType;

#[derive(serde::Serialize, serde::Deserialize, EventType)]
#[event(weight = bytes)]
struct Image(Vec<u8>);

fn bytes(image: &Image) -> u64 {
    image.0.len() as u64
}

#[derive(serde::Serialize, serde::Deserialize, EventType)]
#[event(weight = 1024)]
struct Fixed;

fn main() {}
