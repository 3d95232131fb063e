//! `Proto<M>`: Protobuf messages as payloads.

use busway_event::{
    AnyEvent, CodecId, DecodeError, EncodeError, Encoded, Event, EventId, EventType, Invalid, Metadata,
    Parts, Proto, Raw, Stamp, Timestamp, check_round_trip,
};
use bytes::Bytes;
use prost::Name as _;

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
fn a_message_is_named_after_its_package_and_itself_and_encoded_as_protobuf() {
    let encoded = Encoded::of(&shipped(), 64).unwrap();
    assert_eq!(
        (&*encoded.type_name, encoded.version, encoded.codec),
        ("shop.v1.Shipped", 1, CodecId::Protobuf)
    );
    assert_eq!(encoded.bytes, Bytes::from_static(BYTES));
    assert_eq!(shipped().encoded_len(), Some(BYTES.len()));
    assert_eq!(check_round_trip(&shipped()), Ok(()));
}

#[test]
fn a_handler_of_bytes_and_one_of_the_message_read_the_same_event() {
    let event = publish(shipped(), 64).unwrap();
    assert_eq!(event.typed::<Raw>().unwrap().payload().0, Bytes::from_static(BYTES));
    let parts = Parts::new(event.id(), event.time(), event.topic().clone(), event.metadata().into());
    let wire = AnyEvent::receive(parts, event.encoded(64).unwrap()).unwrap();
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
    let expected =
        DecodeError::WrongCodec { name: "shop.v1.Shipped", expected: "protobuf", found: CodecId::Json };
    assert_eq!(Proto::<Shipped>::read(&json).unwrap_err(), expected);
    let cut = Encoded { bytes: encoded.bytes.slice(..4), ..encoded };
    assert!(matches!(Proto::<Shipped>::read(&cut), Err(DecodeError::Malformed { .. })));
}

#[test]
fn through_serde_a_message_is_its_bytes() {
    let json = serde_json::to_string(&shipped()).unwrap();
    assert_eq!(serde_json::from_str::<Proto<Shipped>>(&json).unwrap(), shipped());
}

macro_rules! message {
    ($message:ident, $package:expr, $name:expr) => {
        #[derive(Clone, PartialEq, prost::Message)]
        struct $message {}

        impl prost::Name for $message {
            const NAME: &'static str = $name;
            const PACKAGE: &'static str = $package;
        }
    };
}

message!(ShopOrder, "shop.v1", "Order");
message!(BillingOrder, "billing.v1", "Order");
message!(Loose, "", "Order");

#[test]
fn messages_of_one_name_in_two_packages_are_two_types() {
    let names = [Proto::<ShopOrder>::NAME, Proto::<BillingOrder>::NAME, Proto::<Loose>::NAME];
    assert_eq!(names, ["shop.v1.Order", "billing.v1.Order", "Order"]);
    let full = [ShopOrder::full_name(), BillingOrder::full_name(), Loose::full_name()];
    assert_eq!(names.map(str::to_owned), full);
    let shop = Encoded::of(&Proto(ShopOrder {}), 64).unwrap();
    let expected = DecodeError::WrongType { expected: "billing.v1.Order", found: "shop.v1.Order".to_owned() };
    assert_eq!(Proto::<BillingOrder>::read(&shop).unwrap_err(), expected);
}
