//! CloudEvents of others: what is accepted, what each malformed one is told.

use std::error::Error;

use busway_event::cloudevents::{self, CloudEventError, Import, TopicFrom};
use busway_event::{AnyEvent, Timestamp, Topic};
use serde_json::{Value, json};

fn base() -> Value {
    json!({"specversion": "1.0", "id": "A-1", "source": "/shop", "type": "com.example.order", "subject": "orders",
        "time": "2026-01-01T00:00:00Z", "datacontenttype": "application/json", "data": {"id": 7}})
}

fn with(name: &str, value: Value) -> Value {
    let mut event = base();
    event[name] = value;
    event
}

fn without(name: &str) -> Value {
    let mut event = base();
    event.as_object_mut().unwrap().remove(name);
    event
}

fn import(event: &Value) -> Result<AnyEvent, CloudEventError> {
    cloudevents::from_json(event.to_string().as_bytes(), &Import::new())
}

/// The message with all its causes.
fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[test]
fn a_plain_event_is_accepted_with_defaults() {
    let event = import(&base()).unwrap();
    assert_eq!((event.metadata().producer(), event.metadata().version()), ("/shop", 1));
    assert_eq!((event.type_name(), event.key(), event.ttl()), ("com.example.order", None, None));
    assert_eq!(event.priority(), busway_event::Priority::P2);
}

#[test]
fn unknown_attributes_are_kept_as_metadata() {
    let mut event = with("tenant", json!("acme"));
    event["level"] = json!(7);
    event["dataschema"] = json!("https://example.com/order");
    let event = import(&event).unwrap();
    let get = |name: &str| event.metadata().get(name).map(str::to_owned);
    assert_eq!((get("tenant").as_deref(), get("level").as_deref()), (Some("acme"), Some("7")));
    let exported: Value = serde_json::from_slice(&cloudevents::to_json(&event).unwrap()).unwrap();
    assert_eq!(exported["dataschema"], "https://example.com/order");
}

#[test]
fn a_bad_trace_context_is_ignored() {
    let event = import(&with("traceparent", json!("00-0"))).unwrap();
    assert_eq!(event.metadata().trace(), None);
}

#[test]
fn text_of_another_content_type_is_its_bytes() {
    let mut event = with("datacontenttype", json!("text/plain"));
    event["data"] = json!("hello");
    assert_eq!(import(&event).unwrap().encoded(64).unwrap().bytes, &b"hello"[..]);
    event["data"] = json!({"not": "text"});
    assert!(matches!(import(&event), Err(CloudEventError::DataNotText { .. })));
}

#[test]
fn a_fixed_topic_and_a_time_of_receipt_stand_in_for_what_is_missing() {
    let mut event = without("time");
    event["subject"] = json!("an order, with spaces");
    let import = Import::new()
        .topic(TopicFrom::Fixed(Topic::new("foreign.orders").unwrap()))
        .received_at(Timestamp::from_nanos(7));
    let event = cloudevents::from_json(event.to_string().as_bytes(), &import).unwrap();
    assert_eq!((event.topic().as_str(), event.time().as_nanos()), ("foreign.orders", 7));
    assert_eq!(event.metadata().get("ce-subject"), Some("an order, with spaces"));
}

#[test]
fn each_malformed_event_is_told_what_and_where() {
    let mut two = base();
    two["data_base64"] = json!("AA==");
    let long = "x".repeat(9_000);
    let cases = [
        (without("id"), "\"id\" is missing"),
        (without("source"), "\"source\" is missing"),
        (without("type"), "\"type\" is missing"),
        (without("specversion"), "\"specversion\" is missing"),
        (without("subject"), "\"subject\" is missing"),
        (without("time"), "\"time\" is missing"),
        (with("id", json!("")), "\"id\" is missing or empty"),
        (with("id", json!(7)), "\"id\" is no string"),
        (with("specversion", json!("0.3")), "specversion is \"0.3\""),
        (with("subject", json!("orders..x")), "at byte 7"),
        (with("time", json!("yesterday")), "\"time\" is no time"),
        (with("expirytime", json!("soon")), "\"expirytime\" is no time"),
        (with("priority", json!("p9")), "\"priority\" is refused"),
        (with("schemaversion", json!("0")), "schemaversion is \"0\""),
        (with("schemaversion", json!("x")), "schemaversion is \"x\""),
        (with("partitionkey", json!("k".repeat(256))), "256 bytes, more than 255"),
        (with("buswaymeta", json!("[]")), "\"buswaymeta\" is no JSON object of strings"),
        (with("tenant", json!("a\u{0}b")), "forbidden character at byte 1"),
        (with("tenant", json!(long)), "9000 bytes, more than 8192"),
        (two, "both data and data_base64"),
    ];
    for (event, expected) in cases {
        let message = text(&import(&event).unwrap_err());
        assert!(message.contains(expected), "{message} should say {expected}");
    }
    let mut base64 = without("data");
    base64["data_base64"] = json!("A*==");
    assert!(text(&import(&base64).unwrap_err()).contains("no base64"));
}

#[test]
fn what_is_no_event_at_all_is_told_so() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "no CloudEvent in JSON"),
        (b"[]", "no CloudEvent in JSON"),
        (b"{\"id\": 1", "no CloudEvent in JSON"),
        (b"\xff", "no CloudEvent in JSON"),
        (b"{\"id\":\"1\",\"id\":\"2\"}", "\"id\" is there twice"),
        (b"{} x", "follow the JSON"),
    ];
    for (bytes, expected) in cases {
        let message = text(&cloudevents::from_json(bytes, &Import::new()).unwrap_err());
        assert!(message.contains(expected), "{message} should say {expected}");
    }
}

#[test]
fn limits_hold_for_payloads_and_attributes_and_a_batch_names_the_item() {
    let small = Import::new().payload_bytes_max(4);
    let error = cloudevents::from_json(base().to_string().as_bytes(), &small).unwrap_err();
    assert!(text(&error).contains("more than 4"), "{}", text(&error));
    let mut crowded = base();
    for n in 0..200 {
        crowded[format!("x{n}")] = json!("v");
    }
    assert!(import(&crowded).is_err());
    let batch = json!([base(), without("id"), base()]);
    let error = cloudevents::from_json_batch(batch.to_string().as_bytes(), &Import::new()).unwrap_err();
    assert!(matches!(error, CloudEventError::Item { index: 1, .. }), "{}", text(&error));
}
