//! Out to CloudEvents and in again: the same event, in JSON and in binary mode.

use std::time::Duration;

use busway_event::cloudevents::{self, Import};
use busway_event::{AnyEvent, Event, EventId, EventType, Priority, Raw};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::publish;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    note: String,
}

impl EventType for Order {
    const NAME: &'static str = "order";
    const VERSION: u16 = 2;
}

fn order() -> Order {
    Order { id: 18_446_744_073_709_551_615, note: "a \"note\"\n".into() }
}

fn full() -> AnyEvent {
    let draft =
        Event::new("orders.created", order()).key("k").priority(Priority::P0).ttl(Duration::from_secs(30));
    let draft = draft.meta("tenant", "acme").meta("Trace-Level", "7").meta("correlation_id", "c");
    publish(
        draft
            .meta("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .meta("tracestate", "a=1"),
    )
}

/// The headers and payload bytes are the same; pairs may be in another order.
#[track_caller]
fn assert_same(one: &AnyEvent, other: &AnyEvent) {
    assert_eq!((one.id(), one.time(), one.topic()), (other.id(), other.time(), other.topic()));
    assert_eq!((one.key(), one.priority(), one.ttl()), (other.key(), other.priority(), other.ttl()));
    assert_eq!((one.origin_id(), one.type_name()), (other.origin_id(), other.type_name()));
    let pairs = |event: &AnyEvent| {
        let mut pairs: Vec<_> =
            event.metadata().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        pairs.sort();
        pairs
    };
    assert_eq!(pairs(one), pairs(other));
    let fixed = |event: &AnyEvent| {
        let metadata = event.metadata();
        (metadata.producer().to_owned(), metadata.version(), metadata.trace().cloned())
    };
    assert_eq!(fixed(one), fixed(other));
    let (one, other) = (one.encoded(1 << 20).unwrap(), other.encoded(1 << 20).unwrap());
    assert_eq!((one.bytes, one.codec), (other.bytes, other.codec));
}

#[test]
fn an_event_is_written_with_the_attributes_that_the_table_says() {
    let json: Value = serde_json::from_slice(&cloudevents::to_json(&full()).unwrap()).unwrap();
    let expected = json!({
        "specversion": "1.0",
        "id": "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1",
        "source": "shop",
        "type": "order",
        "subject": "orders.created",
        "time": "2026-01-01T00:00:00Z",
        "expirytime": "2026-01-01T00:00:30Z",
        "datacontenttype": "application/json",
        "schemaversion": "2",
        "partitionkey": "k",
        "priority": "p0",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate": "a=1",
        "tenant": "acme",
        "buswaymeta": "{\"Trace-Level\":\"7\",\"correlation_id\":\"c\"}",
        "data": { "id": 18_446_744_073_709_551_615_u64, "note": "a \"note\"\n" },
    });
    assert_eq!(json, expected);
}

#[test]
fn json_and_binary_give_the_same_event_again() {
    let event = full();
    let json = cloudevents::from_json(&cloudevents::to_json(&event).unwrap(), &Import::new()).unwrap();
    assert_same(&event, &json);
    assert_eq!(json.typed::<Order>().unwrap().payload(), &order());
    let binary = cloudevents::to_binary(&event).unwrap();
    assert_eq!(binary.content_type, "application/json");
    let content_type = ("datacontenttype".to_owned(), binary.content_type);
    let attributes = binary.attributes.into_iter().chain([content_type]);
    assert_same(&event, &cloudevents::from_binary(attributes, binary.body, &Import::new()).unwrap());
}

#[test]
fn bytes_go_as_base64_and_a_batch_is_an_array() {
    let raw = publish(Event::new("files", Raw::from(&b"\x00\xff"[..])));
    let json: Value = serde_json::from_slice(&cloudevents::to_json(&raw).unwrap()).unwrap();
    assert_eq!((json["data_base64"].as_str(), json.get("data")), (Some("AP8="), None));
    let batch = cloudevents::to_json_batch(&[full(), raw.clone()]).unwrap();
    let again = cloudevents::from_json_batch(&batch, &Import::new()).unwrap();
    assert_eq!(again.len(), 2);
    assert_same(&again[0], &full());
    assert_same(&again[1], &raw);
}

#[test]
fn a_foreign_id_is_kept_and_exported_again() {
    let json = br#"{"specversion":"1.0","id":"A-1","source":"/shop","type":"order","subject":"orders",
        "time":"2026-01-01T00:00:00Z","schemaversion":"2","data":{"id":7,"note":""}}"#;
    let event = cloudevents::from_json(json, &Import::new()).unwrap();
    assert_eq!((event.id(), event.origin_id()), (EventId::foreign("/shop", "A-1"), Some("A-1")));
    let exported: Value = serde_json::from_slice(&cloudevents::to_json(&event).unwrap()).unwrap();
    assert_eq!(exported["id"], "A-1");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_comes_back_the_same(
        topic in "[a-z0-9_-]{1,8}(\\.[A-Z0-9]{1,8}){0,5}",
        key in prop::option::of("\\PC{1,40}"),
        priority in 0..4_usize,
        ttl in prop::option::of(1..1_000_000_000_000_u64),
        pairs in prop::collection::btree_map("[A-Za-z0-9._-]{1,20}", "\\PC{0,30}", 0..6),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        note in "\\PC{0,30}",
    ) {
        let fill = |mut draft: busway_event::DraftHead| {
            draft.set_priority(Priority::from_index(priority).unwrap());
            if let Some(key) = &key {
                draft.set_key(key.as_str());
            }
            if let Some(ttl) = ttl {
                draft.set_ttl(Duration::from_nanos(ttl));
            }
            for (name, value) in &pairs {
                draft.metadata_mut().set(name, value);
            }
            draft
        };
        let reserved = ["version", "trace_id", "traceparent", "tracestate", "producer"];
        prop_assume!(pairs.keys().all(|name| !reserved.contains(&name.as_str())));
        let mut raw = Event::new(topic.as_str(), Raw::from(bytes));
        *raw.head_mut() = fill(raw.head().clone());
        let mut typed = Event::new(topic.as_str(), Order { id: 7, note });
        *typed.head_mut() = fill(typed.head().clone());
        for event in [publish(raw), publish(typed)] {
            let json = cloudevents::to_json(&event).unwrap();
            assert_same(&event, &cloudevents::from_json(&json, &Import::new()).unwrap());
        }
    }

    #[test]
    fn no_input_makes_an_import_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        _ = cloudevents::from_json(&bytes, &Import::new());
        _ = cloudevents::from_json_batch(&bytes, &Import::new());
        _ = cloudevents::from_binary([("id", String::from_utf8_lossy(&bytes).into_owned())], bytes.into(), &Import::new());
    }

    #[test]
    fn no_attribute_makes_an_import_panic(
        name in "(id|source|type|subject|time|expirytime|priority|schemaversion|buswaymeta|data|data_base64|partitionkey|traceparent|[a-z]{1,5})",
        value in prop_oneof![
            Just(json!(null)), any::<i64>().prop_map(|n| json!(n)), "\\PC{0,30}".prop_map(|text| json!(text)),
            Just(json!({"a": [1, {"b": null}]})), Just(json!("9999-12-31T23:59:59Z")),
        ],
    ) {
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "a",
            "time": "2026-01-01T00:00:00Z", "data": 1});
        event[name] = value;
        if let Ok(event) = cloudevents::from_json(event.to_string().as_bytes(), &Import::new()) {
            cloudevents::to_json(&event).unwrap();
        }
    }
}
