//! `CloudEvents` of strangers: what is taken. What is refused is in `cloudevents_refused`.

use busway_event::cloudevents::{
    CloudEventError, Import, TopicFrom, from_binary, from_json, from_json_batch, to_json,
};
use busway_event::{AnyEvent, CodecId, EventId, Invalid, Key, Priority, Timestamp, Topic};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The smallest event that this bus takes, with `changes`; a change to null takes a member away.
pub(crate) fn with(changes: Value) -> Vec<u8> {
    let mut event = json!({
        "specversion": "1.0", "id": "A-1", "source": "/shop", "type": "order", "subject": "orders.created",
        "time": "2026-01-31T10:00:00Z",
    });
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    event.as_object_mut().unwrap().extend(changes);
    event.to_string().into_bytes()
}

fn taken(changes: Value) -> AnyEvent {
    from_json(&with(changes), &Import::new()).unwrap()
}

pub(crate) fn payload(event: &AnyEvent) -> (CodecId, Bytes) {
    let encoded = event.encoded(usize::MAX).unwrap();
    (encoded.codec, encoded.bytes)
}

fn parent() -> &'static str {
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
}

#[test]
fn the_smallest_event_gets_the_defaults() {
    let event = taken(json!({}));
    assert_eq!(event.id(), EventId::foreign("/shop", "A-1"));
    assert_eq!((event.origin_id(), event.type_name()), (Some("A-1"), "order"));
    assert_eq!((event.topic().as_str(), event.metadata().producer()), ("orders.created", "/shop"));
    assert_eq!((event.metadata().version(), event.priority()), (1, Priority::P2));
    assert_eq!((event.key(), event.ttl(), event.metadata().trace()), (None, None, None));
    assert_eq!(payload(&event), (CodecId::Raw, Bytes::new()));
    assert_eq!(event.time(), "2026-01-31T10:00:00Z".parse::<Timestamp>().unwrap());
}

#[test]
fn a_uuid_is_the_id_and_another_spelling_of_it_is_kept_too() {
    let canonical = "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1";
    let event = taken(json!({ "id": canonical }));
    assert_eq!((event.id().to_string().as_str(), event.origin_id()), (canonical, None));
    let upper = canonical.to_uppercase();
    let event = taken(json!({ "id": upper }));
    assert_eq!((event.id().to_string().as_str(), event.origin_id()), (canonical, Some(upper.as_str())));
}

#[test]
fn data_is_read_by_the_rules_of_the_json_format() {
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    let table = [
        (json!({ "data": { "a": 1 } }), CodecId::Json, text("{\"a\":1}")),
        (json!({ "data": "I'm just a string" }), CodecId::Json, text("\"I'm just a string\"")),
        (json!({ "datacontenttype": "text/json", "data": 1.5 }), CodecId::Json, text("1.5")),
        (
            json!({ "datacontenttype": "application/vnd.x+json; charset=utf-8", "data": null }),
            CodecId::Json,
            text("null"),
        ),
        (
            json!({ "datacontenttype": "application/xml", "data": "<much wow=\"xml\"/>" }),
            CodecId::Raw,
            text("<much wow=\"xml\"/>"),
        ),
        (json!({ "data_base64": "eyAieHl6IjogMTIzIH0=" }), CodecId::Raw, text("{ \"xyz\": 123 }")),
        (json!({ "datacontenttype": "application/json", "data_base64": "MQ==" }), CodecId::Json, text("1")),
        (
            json!({ "datacontenttype": "application/protobuf", "data_base64": "" }),
            CodecId::Protobuf,
            text(""),
        ),
        (json!({ "datacontenttype": "application/json", "data_base64": null }), CodecId::Json, text("")),
        (json!({ "datacontenttype": "", "data": [] }), CodecId::Json, text("[]")),
    ];
    for (changes, codec, bytes) in table {
        assert_eq!(payload(&taken(changes.clone())), (codec, bytes), "{changes}");
    }
}

#[test]
fn a_json_payload_passes_through_as_it_was_written() {
    let written = r#"{"b": 1.10, "a": 123456789012345678901234567890, "b":[ ],"z":"\u00e4\/"}"#;
    let mut json = String::from_utf8(with(json!({}))).unwrap();
    json.truncate(json.len() - 1);
    let event = from_json(format!("{json}, \"data\": {written} }} \n").as_bytes(), &Import::new()).unwrap();
    assert_eq!(payload(&event).1, written.as_bytes());
    let exported = String::from_utf8(to_json(&event).unwrap()).unwrap();
    assert!(exported.contains(written), "{exported}");
}

#[test]
fn the_fields_that_busway_exports_are_read_back() {
    let event = taken(json!({
        "schemaversion": "7", "partitionkey": "k", "priority": "p0", "expirytime": "2026-01-31T10:00:30.5Z",
        "traceparent": parent(), "tracestate": "a=1",
    }));
    assert_eq!((event.metadata().version(), event.priority()), (7, Priority::P0));
    assert_eq!(event.key().map(Key::as_str), Some("k"));
    assert_eq!(event.ttl().map(|ttl| ttl.as_millis()), Some(30_500));
    let trace = event.metadata().trace().unwrap();
    assert_eq!((trace.to_string().as_str(), trace.state()), (parent(), Some("a=1")));
    assert_eq!(taken(json!({ "schemaversion": 7 })).metadata().version(), 7);
}

#[test]
fn a_bad_trace_context_is_ignored_and_a_bad_tracestate_spoils_nothing() {
    for bad in [json!("00-0-0-0"), json!(7), json!("\u{0}"), json!(null)] {
        let event = taken(json!({ "traceparent": bad, "tracestate": "a=1" }));
        assert_eq!((event.metadata().trace(), event.metadata().iter().count()), (None, 0));
    }
    for bad in [json!("a=\n"), json!({ "a": 1 }), json!("x".repeat(513)), json!("x")] {
        let event = taken(json!({ "traceparent": parent(), "tracestate": bad }));
        let trace = event.metadata().trace().unwrap();
        assert_eq!((trace.to_string().as_str(), trace.state()), (parent(), None));
    }
    assert_eq!(taken(json!({ "tracestate": "a=1" })).metadata().trace(), None);
}

#[test]
fn attributes_that_busway_does_not_know_become_metadata_and_leave_again_as_text() {
    let changes = json!({
        "tenant": "acme", "count": 5, "flag": true, "nested": { "a": [1] }, "unset": null, "Loud_Name": "x",
        "dataschema": "https://example.com/s", "version": "9", "producer": "someone",
        "datacontenttype": "text/plain; charset=utf-8", "data": "hello",
        "buswaymeta": "{\"user_agent\":\"curl\"}",
    });
    let event = taken(changes);
    let metadata = event.metadata();
    let expected = [
        ("tenant", "acme"),
        ("count", "5"),
        ("flag", "true"),
        ("nested", "{\"a\":[1]}"),
        ("Loud_Name", "x"),
        ("ce-dataschema", "https://example.com/s"),
        ("ce-version", "9"),
        ("ce-producer", "someone"),
        ("ce-datacontenttype", "text/plain; charset=utf-8"),
        ("user_agent", "curl"),
    ];
    for (name, value) in expected {
        assert_eq!(metadata.get(name), Some(value), "{name}");
    }
    assert_eq!((metadata.iter().count(), metadata.producer(), metadata.version()), (10, "/shop", 1));
    let json: Value = serde_json::from_slice(&to_json(&event).unwrap()).unwrap();
    assert_eq!((&json["id"], &json["source"]), (&json!("A-1"), &json!("/shop")));
    assert_eq!((&json["dataschema"], &json["version"]), (&json!("https://example.com/s"), &json!("9")));
    assert_eq!((&json["producer"], &json["count"]), (&json!("someone"), &json!("5")));
    assert_eq!(json["datacontenttype"], "text/plain; charset=utf-8");
    assert_eq!(json["data_base64"], "aGVsbG8=");
    let meta: Value = serde_json::from_str(json["buswaymeta"].as_str().unwrap()).unwrap();
    assert_eq!(meta, json!({ "Loud_Name": "x", "user_agent": "curl" }));
}

#[test]
fn a_fixed_topic_takes_any_subject_and_keeps_it() {
    let import = Import::new().topic(TopicFrom::Fixed(Topic::new("files.new").unwrap()));
    let event = from_json(&with(json!({ "subject": "my file.jpg" })), &import).unwrap();
    assert_eq!(
        (event.topic().as_str(), event.metadata().get("ce-subject")),
        ("files.new", Some("my file.jpg"))
    );
    for subject in [json!(null), json!("files.new")] {
        let event = from_json(&with(json!({ "subject": subject })), &import).unwrap();
        assert_eq!(event.metadata().iter().count(), 0);
    }
}

#[test]
fn an_event_without_a_time_takes_that_of_its_receipt() {
    let at = Timestamp::from_nanos(7);
    let event = from_json(&with(json!({ "time": null })), &Import::new().received_at(at)).unwrap();
    assert_eq!(event.time(), at);
    let event = from_json(&with(json!({})), &Import::new().received_at(at)).unwrap();
    assert_ne!(event.time(), at);
}

#[test]
fn in_binary_mode_names_may_have_any_case_and_the_body_is_the_payload() {
    let headers = [
        ("SpecVersion", "1.0"),
        ("ID", "A-1"),
        ("Source", "/shop"),
        ("type", "order"),
        ("subject", "orders"),
        ("time", "2026-01-31T10:00:00Z"),
        ("Tenant", "acme"),
    ];
    let body = Bytes::from_static(b"{ }");
    let event = from_binary(headers, body.clone(), &Import::new()).unwrap();
    assert_eq!(
        (payload(&event), event.metadata().get("tenant")),
        ((CodecId::Raw, body.clone()), Some("acme"))
    );
    let json = headers.into_iter().chain([("datacontenttype", "application/json")]);
    assert_eq!(
        payload(&from_binary(json, body.clone(), &Import::new()).unwrap()),
        (CodecId::Json, body.clone())
    );
    let twice = headers.into_iter().chain([("tenant", "other")]);
    let error = from_binary(twice, body.clone(), &Import::new()).unwrap_err();
    assert_eq!(error, CloudEventError::Duplicate { attribute: "tenant".to_owned() });
    let error = from_binary(headers, body, &Import::new().payload_bytes_max(2)).unwrap_err();
    let source = Invalid::PayloadTooLarge { len: 3, limit: 2 };
    assert_eq!(error, CloudEventError::Invalid { attribute: "data".to_owned(), source });
}

/// Names that mean something, and some that do not.
fn names() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "data",
        "data_base64",
        "schemaversion",
        "partitionkey",
        "priority",
        "expirytime",
        "traceparent",
        "tracestate",
        "buswaymeta",
        "version",
        "producer",
        "trace_id",
        "ce-version",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => "[a-z0-9]{0,24}", 1 => any::<String>()]
}

fn values() -> impl Strategy<Value = Value> {
    let texts = prop::sample::select(vec![
        "1.0",
        "1",
        "p1",
        "orders.created",
        "2026-01-31T10:00:00Z",
        "text/xml",
        "application/json",
        "QQ==",
        "{}",
        "{\"a\":\"b\"}",
        "{\"@partitionkey\":\"k\"}",
        "",
    ]);
    prop_oneof![
        4 => texts.prop_map(Value::from), 1 => any::<String>().prop_map(Value::from), 1 => Just(Value::Null),
        1 => any::<i32>().prop_map(Value::from), 1 => Just(json!([{ "a": 1.5 }])),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_an_import_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(from_json(&bytes, &Import::new()).is_err());
        if let Ok(events) = from_json_batch(&bytes, &Import::new()) {
            prop_assert!(events.is_empty());
        }
    }

    #[test]
    fn no_object_makes_an_import_panic_and_what_is_taken_comes_back_from_an_export(
        members in prop::collection::vec((names(), values()), 0..12),
        fixed in any::<bool>(),
    ) {
        let mut import = Import::new().received_at(Timestamp::from_nanos(1));
        if fixed {
            import = import.topic(TopicFrom::Fixed(Topic::new("a.b").unwrap()));
        }
        let json = with(Value::Object(members.clone().into_iter().collect()));
        match from_json(&json, &import) {
            Ok(event) => {
                let again = from_json(&to_json(&event).unwrap(), &Import::new()).unwrap();
                prop_assert_eq!(again.id(), event.id());
                prop_assert_eq!(again.metadata().iter().count(), event.metadata().iter().count());
                prop_assert_eq!(payload(&again), payload(&event));
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
        let headers = members.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
        if let Err(error) = from_binary(headers, Bytes::from_static(b"x"), &import) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
