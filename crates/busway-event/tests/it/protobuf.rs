//! `Proto<M>`: Protobuf messages as payloads.

use busway_event::{
    AnyEvent, CodecId, DecodeError, EncodeError, Encoded, Event, EventId, EventType, Invalid, Metadata,
    Proto, Raw, Stamp, Timestamp, check_round_trip,
};
use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
struct Shipped {
    #[prost(string, tag = "1")]
    order_id: String,
    #[prost(uint32, repeated, tag = "2")]
    parcels: Vec<u32>,
}

impl prost::Name for Shipped {
    const NAME: &'static str = "Shipped";
    const PACKAGE: &'static str = "shop.v1";
}

/// What `protoc --encode` makes of it.
const BYTES: &[u8] = b"\x0a\x03A-1\x12\x02\x01\x02";

fn shipped() -> Proto<Shipped> {
    Proto(Shipped { order_id: "A-1".to_owned(), parcels: vec![1, 2] })
}

fn publish(payload: Proto<Shipped>, limit: usize) -> Result<AnyEvent, Invalid> {
    let metadata = Metadata::draft("test", 1).build().unwrap();
    let mut stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(7), &metadata);
    stamp.payload_bytes_max = limit;
    Event::new("orders.shipped", payload).finish(&stamp).map(AnyEvent::from).map_err(|(_, reason)| reason)
}

#[test]
fn a_message_is_named_after_itself_and_encoded_as_protobuf() {
    let encoded = Encoded::of(&shipped(), 64).unwrap();
    assert_eq!((&*encoded.type_name, encoded.version, encoded.codec), ("Shipped", 1, CodecId::Protobuf));
    assert_eq!(encoded.bytes, Bytes::from_static(BYTES));
    assert_eq!(shipped().encoded_len(), Some(BYTES.len()));
    assert_eq!(check_round_trip(&shipped()), Ok(()));
}

#[test]
fn a_handler_of_bytes_and_one_of_the_message_read_the_same_event() {
    let event = publish(shipped(), 64).unwrap();
    assert_eq!(event.typed::<Raw>().unwrap().payload().0, Bytes::from_static(BYTES));
    let wire = AnyEvent::from_encoded(event.header().clone(), event.encoded(64).unwrap());
    assert_eq!(wire.typed::<Proto<Shipped>>().unwrap().payload().order_id, "A-1");
}

#[test]
fn a_message_that_is_too_large_is_refused_when_it_is_published() {
    assert_eq!(publish(shipped(), 8).unwrap_err(), Invalid::PayloadTooLarge { len: 9, limit: 8 });
    let event = publish(shipped(), 9).unwrap();
    assert_eq!(event.encoded(8), Err(EncodeError::TooLarge { len: 9, limit: 8 }));
}

#[test]
fn another_codec_and_a_cut_message_are_refused() {
    let encoded = Encoded::of(&shipped(), 64).unwrap();
    let json = Encoded { codec: CodecId::Json, ..encoded.clone() };
    let expected = DecodeError::WrongCodec { name: "Shipped", expected: "protobuf", found: CodecId::Json };
    assert_eq!(Proto::<Shipped>::read(&json).unwrap_err(), expected);
    let cut = Encoded { bytes: encoded.bytes.slice(..4), ..encoded };
    assert!(matches!(Proto::<Shipped>::read(&cut), Err(DecodeError::Malformed { .. })));
}

#[test]
fn through_serde_a_message_is_its_bytes() {
    let json = serde_json::to_string(&shipped()).unwrap();
    assert_eq!(serde_json::from_str::<Proto<Shipped>>(&json).unwrap(), shipped());
}
