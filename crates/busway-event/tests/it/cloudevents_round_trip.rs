//! What is exported as a `CloudEvent` and imported again is the same event.

use std::time::Duration;

use busway_event::cloudevents::{
    self, Binary, Import, from_binary, from_json, from_json_batch, to_binary, to_json, to_json_batch,
};
use busway_event::{
    AnyEvent, CodecId, EncodeError, Encoded, Event, EventId, EventType, Key, Metadata, MetadataDraft, Parts,
    Priority, Raw, Stamp, Timestamp, Topic, TraceContext,
};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

/// All of an event that must come back. Pairs are sorted: those out of `buswaymeta` may change their place.
pub(crate) fn essence(event: &AnyEvent) -> (String, Encoded, Vec<(String, String)>) {
    let metadata = event.metadata();
    let fixed = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        event.id(),
        event.origin_id(),
        event.time(),
        event.topic(),
        event.key(),
        event.priority(),
        event.ttl(),
        metadata.producer(),
        metadata.version(),
        metadata.trace().map(|trace| (trace.to_string(), trace.state().map(str::to_owned))),
    );
    let mut pairs: Vec<_> =
        metadata.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    pairs.sort();
    (fixed, event.encoded(usize::MAX).unwrap(), pairs)
}

/// As a protocol would carry it: the content type among the headers.
fn receive(binary: Binary<'_>, import: &Import) -> AnyEvent {
    let content_type = ("datacontenttype".into(), binary.content_type);
    from_binary(binary.attributes.into_iter().chain([content_type]), binary.body, import).unwrap()
}

fn text(max: usize) -> impl Strategy<Value = String> {
    let any_character = prop_oneof![3 => "\\PC{1,20}", 1 => "[\\x00-\\xff]{1,20}", 1 => "(?s).{1,20}"];
    any_character.prop_map(move |mut text| {
        while text.len() > max {
            text.pop();
        }
        text
    })
}

fn identity() -> impl Strategy<Value = (EventId, Option<String>, String)> {
    let own = (any::<u128>(), "\\PC{1,30}");
    let own = own.prop_map(|(id, source)| (EventId::new(uuid::Uuid::from_u128(id)), None, source));
    let foreign = ("\\PC{1,30}", "\\PC{1,30}");
    let foreign = foreign.prop_map(|(id, source)| (EventId::foreign(&source, &id), Some(id), source));
    prop_oneof![own, foreign]
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    let special = prop::sample::select(vec![
        "id",
        "data",
        "subject",
        "priority",
        "partitionkey",
        "buswaymeta",
        "tenant",
        "ce-version",
        "ce-producer",
        "ce-dataschema",
        "ce-datacontenttype",
        "ce-subject",
        "ce-tenant",
        "data_base64",
        "Tenant",
    ]);
    let name = prop_oneof!["[a-z0-9]{1,22}", "[A-Za-z0-9._-]{1,22}", special.prop_map(str::to_owned)];
    let fixed = ["producer", "version", "trace_id", "traceparent", "tracestate"];
    let name = name.prop_filter("a fixed field", move |name| !fixed.contains(&name.as_str()));
    let value = prop_oneof![4 => text(80), 1 => Just(String::new()), 1 => Just("text/plain".to_owned())];
    prop::collection::vec((name, value), 0..8)
}

fn payload() -> impl Strategy<Value = (CodecId, Bytes)> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text(40).prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(3, 12, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
        let object = prop::collection::btree_map(text(10), inner, 0..4);
        prop_oneof![list, object.prop_map(|members| Value::Object(members.into_iter().collect()))]
    });
    let json = tree.prop_map(|value| (CodecId::Json, Bytes::from(value.to_string())));
    let codec = prop::sample::select(vec![CodecId::Raw, CodecId::Json, CodecId::Bincode, CodecId::Protobuf]);
    let bytes = (codec, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(codec, mut bytes)| {
        // Never JSON by accident: white space around JSON is the one thing that is not kept.
        bytes.iter_mut().take(1).for_each(|first| *first = 0xff);
        (codec, Bytes::from(bytes))
    });
    prop_oneof![json, bytes]
}

prop_compose! {
    pub(crate) fn events()(
        (id, origin_id, source) in identity(),
        nanos in -9_000_000_000_000_000_000_i64..9_000_000_000_000_000_000,
        topic in "[A-Za-z0-9_-]{1,8}([.][A-Za-z0-9_-]{1,8}){0,4}",
        key in prop::option::of(text(255)),
        priority in prop::sample::select(Priority::ALL.to_vec()),
        ttl in prop::option::of(1_u64..100_000_000_000_000_000),
        trace in prop::option::of((1_u128.., 1_u64.., 0_u8..4, prop::option::of("[a-z]{1,5}=[a-z0-9]{1,5}"))),
        pairs in pairs(),
        type_name in "\\PC{1,40}",
        version in 1_u16..,
        (codec, bytes) in payload(),
    ) -> AnyEvent {
        let mut metadata = Metadata::draft(&source, 1);
        pairs.iter().for_each(|(name, value)| metadata.set(name, value));
        if let Some((trace_id, parent, flags, state)) = trace {
            let trace = TraceContext::new(trace_id.to_be_bytes(), parent.to_be_bytes(), flags).unwrap();
            metadata.set_trace(match state {
                Some(state) => trace.with_state(&state),
                None => trace,
            });
        }
        let mut parts = Parts::new(id, Timestamp::from_nanos(nanos), Topic::new(topic).unwrap(), metadata);
        parts.origin_id = origin_id;
        parts.key = key.filter(|key| !key.is_empty()).map(Into::into);
        parts.priority = priority;
        parts.ttl = ttl.map(Duration::from_nanos);
        AnyEvent::receive(parts, Encoded { type_name: type_name.into(), version, codec, bytes }).unwrap()
    }
}

proptest! {
    #[test]
    fn an_event_survives_json_and_binary_mode_with_all_that_it_carries(event in events()) {
        let import = Import::new();
        let json = to_json(&event).unwrap();
        let again = from_json(&json, &import).unwrap();
        prop_assert_eq!(essence(&again), essence(&event), "{}", String::from_utf8_lossy(&json));
        let again = receive(to_binary(&event).unwrap(), &import);
        prop_assert_eq!(essence(&again), essence(&event));
    }

    #[test]
    fn every_attribute_has_a_legal_name_and_only_characters_that_the_specification_allows(event in events()) {
        let binary = to_binary(&event).unwrap();
        for (name, value) in &binary.attributes {
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{}", name);
            prop_assert!(name.len() <= 20, "{}", name);
            let forbidden = |character: char| {
                let code = u32::from(character);
                character.is_control() || (0xfdd0..0xfdf0).contains(&code) || code & 0xfffe == 0xfffe
            };
            prop_assert!(!value.contains(forbidden), "{}: {:?}", name, value);
        }
    }

    #[test]
    fn a_batch_is_its_events_in_order(events in prop::collection::vec(events(), 0..4)) {
        let json = to_json_batch(&events).unwrap();
        let again = from_json_batch(&json, &Import::new()).unwrap();
        let essences = |events: &[AnyEvent]| events.iter().map(essence).collect::<Vec<_>>();
        prop_assert_eq!(essences(&again), essences(&events));
    }
}

fn published(metadata: &MetadataDraft, payload: &'static [u8]) -> AnyEvent {
    let metadata = metadata.build().unwrap();
    let id = "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1".parse().unwrap();
    let stamp = Stamp::new(id, Timestamp::from_nanos(1_357_034_400_000_000_000), &metadata);
    let draft = Event::new("orders.created", Raw(Bytes::from_static(payload))).ttl(Duration::from_secs(30));
    draft.key("A-1").priority(Priority::P0).finish(&stamp).unwrap().into()
}

#[test]
fn the_json_of_an_event_is_what_the_table_says() {
    let mut metadata = Metadata::draft("shop", 1);
    metadata.set("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    metadata.set("tracestate", "a=1");
    metadata.set("tenant", "acme");
    metadata.set("user_agent", "curl");
    metadata.set("note", "two\nlines\u{7f}");
    let event = published(&metadata, b"\x00\x01");
    let json: Value = serde_json::from_slice(&to_json(&event).unwrap()).unwrap();
    let expected = json!({
        "specversion": "1.0",
        "id": "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1",
        "source": "shop",
        "type": "raw",
        "subject": "orders.created",
        "time": "2013-01-01T10:00:00Z",
        "datacontenttype": "application/octet-stream",
        "schemaversion": "1",
        "partitionkey": "A-1",
        "priority": "p0",
        "expirytime": "2013-01-01T10:00:30Z",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate": "a=1",
        "tenant": "acme",
        "buswaymeta": r#"{"user_agent":"curl","note":"two\nlines\u007f"}"#,
        "data_base64": "AAE=",
    });
    assert_eq!(json, expected);
}

#[test]
fn an_empty_payload_has_no_data_and_comes_back_empty() {
    let event = published(&Metadata::draft("shop", 1), b"");
    let json = to_json(&event).unwrap();
    let members: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((members.get("data"), members.get("data_base64")), (None, None));
    assert_eq!(essence(&from_json(&json, &Import::new()).unwrap()), essence(&event));
}

#[test]
fn the_content_type_of_binary_mode_stands_beside_the_attributes() {
    let event = published(&Metadata::draft("shop", 1), b"x");
    let binary = to_binary(&event).unwrap();
    assert_eq!(
        (&*binary.content_type, &binary.body),
        ("application/octet-stream", &Bytes::from_static(b"x"))
    );
    assert!(!binary.attributes.iter().any(|(name, _)| name == "datacontenttype"));
    assert!(binary.attributes.contains(&("specversion".into(), "1.0".into())));
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Text(String);

impl EventType for Text {
    const NAME: &'static str = "text";
}

#[test]
fn a_value_is_encoded_within_the_limit_that_it_was_published_under() {
    let metadata = Metadata::draft("shop", 1).build().unwrap();
    let mut stamp = Stamp::new(EventId::foreign("shop", "1"), Timestamp::from_nanos(1), &metadata);
    let publish = |stamp: &Stamp<'_>, len: usize| {
        AnyEvent::from(Event::new("a", Text("x".repeat(len))).finish(stamp).unwrap())
    };
    stamp.payload_bytes_max = 2 << 20;
    let large = publish(&stamp, 1 << 20);
    assert_eq!(to_binary(&large).unwrap().body.len(), (1 << 20) + 2);
    assert_eq!(large.typed::<Raw>().unwrap().payload().0.len(), (1 << 20) + 2);
    stamp.payload_bytes_max = 10;
    let small = publish(&stamp, 9);
    let refused = EncodeError::TooLarge { len: 11, limit: 10 };
    assert_eq!(to_binary(&small), Err(refused.clone()));
    assert_eq!(small.typed::<Raw>().unwrap_err(), busway_event::DecodeError::Encode(refused));
}

#[test]
fn a_name_that_no_attribute_can_hold_is_an_error_of_the_export() {
    let parts = Parts::new(
        EventId::foreign("shop", "1"),
        Timestamp::from_nanos(1),
        Topic::new("a").unwrap(),
        Metadata::draft("shop", 1),
    );
    let encoded =
        Encoded { type_name: "a\u{fffe}".into(), version: 1, codec: CodecId::Raw, bytes: Bytes::new() };
    let event = AnyEvent::receive(parts, encoded).unwrap();
    let error = to_json(&event).unwrap_err().to_string();
    assert!(error.contains("its type holds a character at byte 1"), "{error}");
}

#[test]
fn a_producer_that_is_no_uri_reference_comes_back_as_it_is() {
    let event = published(&Metadata::draft("our größte shop", 1), b"");
    let json: Value = serde_json::from_slice(&to_json(&event).unwrap()).unwrap();
    assert_eq!(json["source"], "our%20gr%C3%B6%C3%9Fte%20shop");
    assert_eq!(json["buswaymeta"], r#"{"@producer":"our größte shop"}"#);
    let again = from_json(json.to_string().as_bytes(), &Import::new()).unwrap();
    assert_eq!(essence(&again), essence(&event));
    assert_eq!(again.metadata().producer(), "our größte shop");
    // A stranger's escapes are not ours to take away.
    let foreign = published(&Metadata::draft("/a%20b", 1), b"");
    let json = to_json(&foreign).unwrap();
    assert_eq!(from_json(&json, &Import::new()).unwrap().metadata().producer(), "/a%20b");
}

#[test]
fn the_media_types_are_those_of_the_specification() {
    assert_eq!(cloudevents::CONTENT_TYPE, "application/cloudevents+json");
    assert_eq!(cloudevents::BATCH_CONTENT_TYPE, "application/cloudevents-batch+json");
}

#[test]
fn a_key_with_characters_that_no_attribute_may_hold_travels_in_buswaymeta() {
    let mut parts = Parts::new(
        EventId::foreign("shop", "1"),
        Timestamp::from_nanos(1),
        Topic::new("a").unwrap(),
        Metadata::draft("shop", 1),
    );
    parts.key = Some("a\nb".into());
    let encoded = Encoded { type_name: "t".into(), version: 1, codec: CodecId::Raw, bytes: Bytes::new() };
    let event = AnyEvent::receive(parts, encoded).unwrap();
    let json: Value = serde_json::from_slice(&to_json(&event).unwrap()).unwrap();
    assert_eq!(
        (&json["partitionkey"], &json["buswaymeta"]),
        (&Value::Null, &json!(r#"{"@partitionkey":"a\nb"}"#))
    );
    let again = from_json(json.to_string().as_bytes(), &Import::new()).unwrap();
    assert_eq!(again.key().map(Key::as_str), Some("a\nb"));
}
