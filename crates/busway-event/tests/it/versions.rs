//! A consumer that wants version 3 reads 1 and 2 too; everything else is a typed error.

use busway_event::event::Parts;
use busway_event::{
    AnyEvent, CodecId, DecodeError, Encoded, Event, EventId, EventType, Invalid, Metadata, MetadataDraft,
    Raw, Timestamp, Topic,
};
use serde::{Deserialize, Serialize};

use crate::publish;

#[derive(Debug, Serialize, Deserialize, EventType)]
#[event(name = "order", version = 1)]
struct OrderV1 {
    id: String,
}

#[derive(Debug, Serialize, Deserialize, EventType)]
#[event(name = "order", version = 2, upcast_from = OrderV1)]
struct OrderV2 {
    id: String,
    currency: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, EventType)]
#[event(name = "order", version = 3, upcast_from = OrderV2)]
struct Order {
    id: String,
    currency: String,
    cents: u64,
}

impl From<OrderV1> for OrderV2 {
    fn from(old: OrderV1) -> Self {
        Self { id: old.id, currency: "EUR".into() }
    }
}

impl From<OrderV2> for Order {
    fn from(old: OrderV2) -> Self {
        Self { id: old.id, currency: old.currency, cents: 0 }
    }
}

#[derive(Debug, Serialize, Deserialize, EventType)]
#[event(name = "alone", version = 2)]
struct Alone {
    id: u8,
}

fn received(name: &str, version: u16, codec: CodecId, bytes: &'static [u8]) -> AnyEvent {
    let parts = Parts::new(
        EventId::foreign("/elsewhere", "7"),
        Timestamp::from_nanos(0),
        Topic::new("orders").unwrap(),
        Metadata::draft("elsewhere", 1),
    );
    AnyEvent::receive(parts, Encoded { type_name: name.into(), version, codec, bytes: bytes.into() }).unwrap()
}

#[test]
fn version_three_reads_one_two_and_three() {
    let order = |event: &AnyEvent| event.typed::<Order>().unwrap();
    let first = received("order", 1, CodecId::Json, br#"{"id":"A"}"#);
    assert_eq!(order(&first).payload(), &Order { id: "A".into(), currency: "EUR".into(), cents: 0 });
    let second = received("order", 2, CodecId::Json, br#"{"id":"A","currency":"USD"}"#);
    assert_eq!(order(&second).payload().currency, "USD");
    let third = publish(Event::new("orders", Order { id: "A".into(), currency: "USD".into(), cents: 7 }));
    assert_eq!(order(&third).payload().cents, 7);
    // The event keeps its version; what the handler gets is of the version that it wants.
    assert_eq!((first.metadata().version(), order(&first).metadata().version()), (1, 3));
}

#[test]
fn older_versions_come_in_any_codec_that_serde_reads() {
    let bincode = received("order", 1, CodecId::Bincode, &[1, b'A']);
    assert_eq!(bincode.typed::<Order>().unwrap().payload().id, "A");
}

#[test]
fn what_does_not_fit_is_a_typed_error() {
    let error = |event: AnyEvent| event.typed::<Order>().unwrap_err();
    let cases = [
        (received("order", 4, CodecId::Json, b"{}"), "version 4, this program knows up to 3"),
        (received("refund", 3, CodecId::Json, b"{}"), "is a \"refund\", the handler wants a \"order\""),
        (received("order", 3, CodecId::Protobuf, b""), "read from json or bincode, the payload is protobuf"),
        (received("order", 2, CodecId::Raw, b""), "the payload is raw"),
        (received("order", 1, CodecId::Json, br#"{"id":"A"} x"#), "2 bytes after its value"),
        (received("order", 1, CodecId::Json, b"{"), "no valid json"),
        (received("order", 1, CodecId::Json, b"\xff"), "no valid json"),
        (received("order", 1, CodecId::Bincode, &[1, b'A', 0]), "1 bytes after its value"),
        (received("order", 1, CodecId::Bincode, &[200]), "no valid bincode"),
    ];
    for (event, expected) in cases {
        let message = error(event).to_string();
        assert!(message.contains(expected), "{message} should say {expected}");
    }
    let alone = received("alone", 1, CodecId::Json, b"{}").typed::<Alone>().unwrap_err();
    assert_eq!(alone, DecodeError::NoUpcaster { name: "alone", expected: 2, found: 1 });
}

#[test]
fn raw_readers_take_any_event_as_its_bytes() {
    let event = received("refund", 9, CodecId::Protobuf, b"\x0a\x01x");
    assert_eq!(event.typed::<Raw>().unwrap().payload().0, &b"\x0a\x01x"[..]);
    let published = publish(Event::new("orders", OrderV1 { id: "A".into() }));
    assert_eq!(published.typed::<Raw>().unwrap().payload().0, &br#"{"id":"A"}"#[..]);
}

#[test]
fn what_is_received_is_validated_again() {
    let encoded =
        || Encoded { type_name: "order".into(), version: 1, codec: CodecId::Json, bytes: "{}".into() };
    let parts = |metadata: MetadataDraft| {
        let id = EventId::foreign("/elsewhere", "7");
        Parts::new(id, Timestamp::from_nanos(0), Topic::new("orders").unwrap(), metadata)
    };
    let good = || parts(Metadata::draft("elsewhere", 1));
    let mut key = good();
    key.key = Some(String::new());
    assert!(matches!(AnyEvent::receive(key, encoded()), Err(Invalid::Key(_))));
    let mut ttl = good();
    ttl.ttl = Some(std::time::Duration::ZERO);
    assert_eq!(AnyEvent::receive(ttl, encoded()).unwrap_err(), Invalid::TtlZero);
    let mut large = good();
    large.payload_bytes_max = 1;
    assert_eq!(
        AnyEvent::receive(large, encoded()).unwrap_err(),
        Invalid::PayloadTooLarge { len: 2, limit: 1 }
    );
    let nobody = parts(MetadataDraft::default());
    assert!(matches!(AnyEvent::receive(nobody, encoded()), Err(Invalid::Metadata(_))));
    let unnamed = Encoded { type_name: "".into(), ..encoded() };
    assert!(AnyEvent::receive(good(), unnamed).is_err());
    let unversioned = Encoded { version: 0, ..encoded() };
    assert!(matches!(AnyEvent::receive(good(), unversioned), Err(Invalid::Metadata(_))));
}
