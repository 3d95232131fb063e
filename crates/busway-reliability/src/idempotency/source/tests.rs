//! Keys of events.

use busway_event::{Encoded, Event, EventId, EventType, Metadata, Parts, Raw, Stamp, Timestamp, Topic};

use super::*;
use crate::idempotency::Idempotency;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Paid {
    order: Order,
    cents: u64,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Order {
    id: String,
    lines: Vec<String>,
}

impl EventType for Paid {
    const NAME: &'static str = "paid";
    const VERSION: u16 = 1;
}

fn finished<T: EventType>(draft: busway_event::Draft<T>, at: i64) -> AnyEvent {
    let metadata = Metadata::draft("shop", 3).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("shop", "1"), Timestamp::from_nanos(at), &metadata);
    draft.finish(&stamp).map_err(|refused| refused.1).unwrap().into()
}

fn event(pairs: &[(&str, &str)], at: i64) -> AnyEvent {
    let paid =
        Paid { order: Order { id: "A-1".to_owned(), lines: vec!["x".to_owned()] }, cents: 7, note: None };
    let draft = Event::new("orders.paid", paid);
    finished(pairs.iter().fold(draft, |draft, (name, value)| draft.meta(*name, *value)), at)
}

fn key_of(idempotency: &Idempotency, event: &AnyEvent) -> Result<IdempotencyKey, IdempotencyKeyError> {
    idempotency.source().unwrap().key(event)
}

#[test]
fn keys_come_from_id_metadata_payload_and_functions() {
    let event = event(&[("bizId", "B-9")], 5);
    assert_eq!(key_of(&Idempotency::by_id(), &event), Ok(IdempotencyKey::of_id(event.id())));
    let metadata = Idempotency::by_metadata(["bizId", "timestamp", "version"]);
    let version = event.metadata().version().to_string();
    assert_eq!(key_of(&metadata, &event), Ok(IdempotencyKey::of(["B-9", "5", &version])));
    assert_eq!(key_of(&Idempotency::by_pointer("/order/id"), &event), Ok(IdempotencyKey::of(["A-1"])));
    assert_eq!(key_of(&Idempotency::by_pointer("/order/lines/0"), &event), Ok(IdempotencyKey::of(["x"])));
    let mut two = KeyDigest::default();
    two.text(b"A-1");
    two.literal("7");
    assert_eq!(key_of(&Idempotency::by_pointers(["/order/id", "/cents"]), &event), Ok(two.into_key()));
    let function = Idempotency::by(|event| Some(IdempotencyKey::of([event.topic().as_str()])));
    assert_eq!(key_of(&function, &event), Ok(IdempotencyKey::of(["orders.paid"])));
}

#[test]
fn a_key_path_that_is_not_in_the_payload_is_an_error_that_names_it() {
    let event = event(&[], 5);
    for (idempotency, error) in [
        (
            Idempotency::by_pointer("/order/no"),
            IdempotencyKeyError::NoValue { pointer: "/order/no".to_owned() },
        ),
        (Idempotency::by_pointer("/note"), IdempotencyKeyError::NoValue { pointer: "/note".to_owned() }),
        (Idempotency::by_pointer("/order"), IdempotencyKeyError::NoScalar { pointer: "/order".to_owned() }),
        (Idempotency::by_metadata(["bizId"]), IdempotencyKeyError::NoField { name: "bizId".to_owned() }),
        (Idempotency::by_metadata(["key"]), IdempotencyKeyError::NoField { name: "key".to_owned() }),
        (Idempotency::by(|_| None), IdempotencyKeyError::Function),
        (Idempotency::by(|_| panic!("a bug")), IdempotencyKeyError::Panicked),
    ] {
        assert_eq!(key_of(&idempotency, &event), Err(error), "{idempotency}");
    }
    let text = key_of(&Idempotency::by_pointer("/order/no"), &event).unwrap_err().to_string();
    assert!(text.contains("/order/no"), "{text}");
}

#[test]
fn a_payload_that_is_no_json_is_an_error() {
    let raw = finished(Event::new("orders.raw", Raw::from("no json")), 1);
    let error = key_of(&Idempotency::by_pointer("/id"), &raw).unwrap_err();
    assert!(
        matches!(error, IdempotencyKeyError::NotJson { .. } | IdempotencyKeyError::Unreadable { .. }),
        "{error}"
    );
}

#[test]
fn numbers_that_a_double_would_make_one_are_two_keys() {
    let key = |number: &str| {
        let payload = format!(r#"{{"a/b": [0, {{"c": 1, "c": {number} }}]}}"#);
        let (id, topic) = (EventId::foreign("shop", "1"), Topic::new("orders.paid").unwrap());
        let parts = Parts::new(id, Timestamp::from_nanos(5), topic, Metadata::draft("shop", 3));
        let (type_name, bytes) = ("paid".into(), payload.into());
        let event = AnyEvent::receive(parts, Encoded { type_name, version: 1, codec: CodecId::Json, bytes });
        let event = event.unwrap();
        key_of(&Idempotency::by_pointer("/a~1b/1/c"), &event).unwrap()
    };
    let apart = [
        "20000000000000000001",
        "20000000000000000002",
        "-9223372036854775809",
        "-9223372036854775810",
        "0.12345678901234567",
        "0.12345678901234568",
        "18446744073709551615",
        "7",
        "7.5",
    ];
    for (at, one) in apart.iter().enumerate() {
        assert!(apart.iter().skip(at + 1).all(|other| key(one) != key(other)), "{one}");
    }
    // What a double holds is one number, however it is written; and keys are stored, so that it stays the key that it was.
    let mut stored = KeyDigest::default();
    stored.literal("7.5");
    assert_eq!([key("7.5"), key("7.50"), key("75e-1")], [stored.into_key(); 3]);
}
