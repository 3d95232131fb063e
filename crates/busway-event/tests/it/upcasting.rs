//! Schema versions: a type reads its own and older ones, and says what is wrong with all others.

use busway_event::{
    AnyEvent, CodecId, DecodeError, Encoded, EventId, EventType, Metadata, Parts, Raw, Timestamp, Topic,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OrderV1 {
    id: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OrderV2 {
    id: u32,
    currency: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    order_id: String,
    currency: String,
}

impl EventType for OrderV1 {
    const NAME: &'static str = "order";
}

impl EventType for OrderV2 {
    const NAME: &'static str = "order";
    const VERSION: u16 = 2;

    fn upcast(older: &Encoded) -> Result<Self, DecodeError> {
        OrderV1::read(older).map(|old| Self { id: old.id, currency: "EUR".to_owned() })
    }
}

impl EventType for Order {
    const NAME: &'static str = "order";
    const VERSION: u16 = 3;
    const CODEC: CodecId = CodecId::Bincode;

    fn upcast(older: &Encoded) -> Result<Self, DecodeError> {
        OrderV2::read(older).map(|old| Self { order_id: old.id.to_string(), currency: old.currency })
    }
}

/// An event as a transport hands it over.
fn received(type_name: &str, version: u16, codec: CodecId, bytes: impl Into<Bytes>) -> AnyEvent {
    let metadata = Metadata::draft("shop", 1);
    let topic = Topic::new("orders").unwrap();
    let parts = Parts::new(EventId::foreign("shop", "1"), Timestamp::from_nanos(1), topic, metadata);
    AnyEvent::receive(parts, Encoded { type_name: type_name.into(), version, codec, bytes: bytes.into() })
        .unwrap()
}

fn refusal<T: EventType + std::fmt::Debug>(event: &AnyEvent) -> DecodeError {
    event.typed::<T>().unwrap_err()
}

#[test]
fn version_three_reads_versions_one_two_and_three_whatever_their_codec() {
    let expected = |currency: &str| Order { order_id: "7".to_owned(), currency: currency.to_owned() };
    let first = received("order", 1, CodecId::Json, "{\"id\":7}");
    assert_eq!(first.typed::<Order>().unwrap().payload(), &expected("EUR"));
    let encoded = Encoded::of(&OrderV2 { id: 7, currency: "USD".to_owned() }, 64).unwrap();
    let second = received("order", 2, CodecId::Json, encoded.bytes);
    assert_eq!(second.typed::<Order>().unwrap().payload(), &expected("USD"));
    let encoded = Encoded::of(&expected("CHF"), 64).unwrap();
    assert_eq!((encoded.version, encoded.codec), (3, CodecId::Bincode));
    let third = received("order", 3, CodecId::Bincode, encoded.bytes);
    assert_eq!(third.typed::<Order>().unwrap().payload(), &expected("CHF"));
    let json = received("order", 3, CodecId::Json, r#"{"order_id":"7","currency":"GBP"}"#);
    assert_eq!(json.typed::<Order>().unwrap().payload(), &expected("GBP"));
}

#[test]
fn an_event_that_was_upcast_bears_the_version_of_its_new_payload_and_bytes_keep_theirs() {
    let event = received("order", 1, CodecId::Json, "{\"id\":7}");
    assert_eq!(event.typed::<Order>().unwrap().metadata().version(), 3);
    assert_eq!(event.typed::<Raw>().unwrap().metadata().version(), 1);
    assert_eq!(event.metadata().version(), 1);
}

#[test]
fn a_newer_version_is_refused_and_says_which() {
    let event = received("order", 4, CodecId::Json, "{}");
    assert_eq!(refusal::<Order>(&event), DecodeError::TooNew { name: "order", expected: 3, found: 4 });
}

#[test]
fn a_version_without_an_upcaster_is_refused_by_the_type_that_lacks_it() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Alone {
        id: u32,
    }
    impl EventType for Alone {
        const NAME: &'static str = "order";
        const VERSION: u16 = 2;
    }
    let event = received("order", 1, CodecId::Json, "{\"id\":7}");
    assert_eq!(refusal::<Alone>(&event), DecodeError::NoUpcaster { name: "order", expected: 2, found: 1 });
}

#[test]
fn another_name_is_refused_before_the_version_is_looked_at() {
    let event = received("invoice", 9, CodecId::Json, "{}");
    let wrong = DecodeError::WrongType { expected: "order", found: "invoice".to_owned() };
    assert_eq!(refusal::<Order>(&event), wrong);
}

#[test]
fn a_codec_that_the_type_does_not_read_is_refused() {
    for codec in [CodecId::Raw, CodecId::Protobuf] {
        let event = received("order", 3, codec, "{}");
        let expected = DecodeError::WrongCodec { name: "order", expected: "json or bincode", found: codec };
        assert_eq!(refusal::<Order>(&event), expected);
    }
}

#[test]
fn bytes_that_are_left_over_are_refused_in_each_codec_and_version() {
    let json = received("order", 1, CodecId::Json, "{\"id\":7}{}");
    assert_eq!(refusal::<Order>(&json), DecodeError::TrailingBytes { codec: CodecId::Json, at: 8, extra: 2 });
    let binary = received("order", 1, CodecId::Bincode, vec![7, 0]);
    let expected = DecodeError::TrailingBytes { codec: CodecId::Bincode, at: 1, extra: 1 };
    assert_eq!(refusal::<Order>(&binary), expected);
}

#[test]
fn a_payload_that_was_let_in_under_a_higher_limit_is_readable() {
    let metadata = Metadata::draft("shop", 1);
    let topic = Topic::new("orders").unwrap();
    let mut parts = Parts::new(EventId::foreign("shop", "1"), Timestamp::from_nanos(1), topic, metadata);
    parts.payload_bytes_max = 3 << 20;
    let bytes = Bytes::from(vec![0; 2 << 20]);
    let encoded = Encoded { type_name: "blob".into(), version: 1, codec: CodecId::Raw, bytes };
    let event = AnyEvent::receive(parts, encoded).unwrap();
    assert_eq!(event.typed::<Raw>().unwrap().payload().0.len(), 2 << 20);
}
