//! What comes from outside is checked again, and read as bytes by whoever wants bytes.

use busway_event::event::Parts;
use busway_event::{
    AnyEvent, CodecId, Encoded, EventId, Invalid, Metadata, MetadataDraft, Raw, Timestamp, Topic,
};

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
fn raw_readers_take_any_event_as_its_bytes() {
    let event = received("refund", 9, CodecId::Protobuf, b"\x0a\x01x");
    assert_eq!(event.typed::<Raw>().unwrap().payload().0, &b"\x0a\x01x"[..]);
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
    key.key = Some("".into());
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
