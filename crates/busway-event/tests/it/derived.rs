//! `#[derive(EventType)]`: what it writes, and what it refuses to.

use busway_event::{CodecId, Event, EventType, check_round_trip};
use serde::{Deserialize, Serialize};

use crate::publish;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, EventType)]
struct OrderCreatedV2 {
    id: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, EventType)]
#[event(name = "payment", version = 3, topic = "payments.made", key = account, codec = "bincode")]
struct Payment {
    account: u64,
    cents: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, EventType)]
#[event(key = 0)]
struct Tuple(String, u8);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, EventType)]
#[event(name = "door", key = "type")]
struct Keyword {
    r#type: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, EventType)]
enum Light {
    On { lumen: u32 },
    Off,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, EventType)]
#[serde(bound = "")]
struct Wrapped<T: EventType> {
    inner: T,
}

#[test]
fn the_name_is_the_types_in_kebab_case_and_the_version_is_one() {
    assert_eq!((OrderCreatedV2::NAME, OrderCreatedV2::VERSION), ("order-created-v2", 1));
    assert_eq!((OrderCreatedV2::TOPIC, OrderCreatedV2::CODEC), (None, CodecId::Json));
    assert_eq!((Light::NAME, Wrapped::<Light>::NAME), ("light", "wrapped"));
}

#[test]
fn every_option_is_taken() {
    assert_eq!((Payment::NAME, Payment::VERSION, Payment::CODEC), ("payment", 3, CodecId::Bincode));
    let event = publish(Event::of(Payment { account: 7, cents: -1 }));
    assert_eq!((event.topic().as_str(), event.key().unwrap().as_str()), ("payments.made", "7"));
    assert_eq!(event.encoded(64).unwrap().bytes, &[7, 1][..]);
    let keyed = publish(Event::of(Payment { account: 7, cents: 1 }).key("other"));
    assert_eq!(keyed.key().unwrap().as_str(), "other");
    assert_eq!(Tuple("k".into(), 1).key().as_deref(), Some("k"));
    assert_eq!(Keyword { r#type: "front".into() }.key().as_deref(), Some("front"));
}

#[test]
fn derived_types_survive_their_codec() {
    check_round_trip(&Payment { account: u64::MAX, cents: i64::MIN }).unwrap();
    check_round_trip(&Light::On { lumen: 800 }).unwrap();
    check_round_trip(&Light::Off).unwrap();
    check_round_trip(&Wrapped { inner: Tuple("k".into(), 1) }).unwrap();
}
