//! Events as messages, and back.

use std::time::Duration;

use busway_event::{CodecId, Encoded, EventId, Metadata, Parts, Priority, Topic, TraceContext};

use super::*;

fn sample() -> AnyEvent {
    let mut metadata = Metadata::draft("shop/ö", 3);
    metadata.set("bizid", "A-1 \"100%\" ä");
    metadata.set("tenant_name", "x\r\ny");
    metadata.set_trace(TraceContext::new([7; 16], [9; 8], 1).unwrap().with_state("a=1,b=2"));
    let topic = Topic::new("orders.created").unwrap();
    let id: EventId = "0198c7a0-0000-7000-8000-000000000001".parse().unwrap();
    let mut parts = Parts::new(id, Timestamp::from_nanos(1_700_000_000_123_456_789), topic, metadata);
    parts.key = Some("Kunde 7 ß".into());
    parts.priority = Priority::P1;
    parts.ttl = Some(Duration::from_secs(60));
    let encoded = Encoded {
        type_name: "order-created".into(),
        version: 3,
        codec: CodecId::Json,
        bytes: Bytes::from_static(b"{\"total\":1}"),
    };
    AnyEvent::receive(parts, encoded).unwrap()
}

fn arrived(outgoing: Outgoing) -> Message {
    Message {
        subject: outgoing.subject.into(),
        reply: None,
        payload: outgoing.body,
        headers: Some(outgoing.headers),
        status: None,
        description: None,
        length: 0,
    }
}

fn plain(headers: &[(&str, &str)], body: &'static str) -> Message {
    let mut map = HeaderMap::new();
    headers.iter().for_each(|(name, value)| map.append(*name, *value));
    arrived(Outgoing { subject: "orders.created".to_owned(), headers: map, body: body.into(), len: 0 })
}

fn read(message: &Message) -> Result<AnyEvent, String> {
    event(message, &Subjects::default(), Some(Timestamp::from_nanos(5)))
}

#[test]
fn an_event_comes_out_of_its_message_as_it_went_in() {
    let (before, subjects) = (sample(), Subjects::new("p").unwrap());
    let outgoing = Outgoing::new(&before, &subjects).unwrap();
    assert_eq!(outgoing.subject, "p.orders.created");
    let get = |name: &str| outgoing.headers.get(name).map(|value| value.as_str().to_owned());
    for name in ["specversion", "subject", "time", "schemaversion", "priority"] {
        assert!(matches!(usual(name), Some((_, Form::Plain))));
        let value = get(&format!("ce-{name}")).unwrap();
        assert_eq!(encoded_whole(value.clone()), value, "{name} is written as it is");
    }
    assert_eq!(get("Nats-Msg-Id"), Some(before.id().to_string()));
    assert_eq!(get("traceparent"), get("ce-traceparent"));
    assert_eq!(get("ce-datacontenttype").as_deref(), Some("application/json"));
    assert!(get("traceparent").unwrap().starts_with("00-07070707"), "for programs without CloudEvents");
    assert_eq!(get("ce-partitionkey").as_deref(), Some("Kunde%207%20%C3%9F"));
    let after = event(&arrived(outgoing), &subjects, None).unwrap();
    assert_eq!((after.id(), after.time(), after.topic()), (before.id(), before.time(), before.topic()));
    assert_eq!((after.key(), after.priority(), after.ttl()), (before.key(), before.priority(), before.ttl()));
    let pairs = |event: &AnyEvent| {
        let mut all: Vec<_> =
            event.metadata().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        all.sort();
        (all, event.metadata().producer().to_owned(), event.metadata().trace().cloned())
    };
    assert_eq!(pairs(&after), pairs(&before));
    let (one, other) = (after.encoded(1 << 20).unwrap(), before.encoded(1 << 20).unwrap());
    assert_eq!((one.bytes, one.version, one.codec), (other.bytes, other.version, other.codec));
}

#[test]
fn each_header_of_an_event_has_one_value() {
    let parts = Parts::new(
        EventId::foreign("shop", "1"),
        Timestamp::from_nanos(5),
        Topic::new("a.b").unwrap(),
        Metadata::draft("shop", 1),
    );
    let encoded = Encoded { type_name: "t".into(), version: 1, codec: CodecId::Raw, bytes: Bytes::new() };
    for event in [AnyEvent::receive(parts, encoded).unwrap(), sample()] {
        let headers = Outgoing::new(&event, &Subjects::default()).unwrap().headers;
        assert!(headers.len() >= 10);
        for (name, values) in headers.iter() {
            assert_eq!(values.len(), 1, "{name}");
        }
    }
}

#[test]
fn the_length_is_the_one_that_the_server_counts() {
    let outgoing = Outgoing::new(&sample(), &Subjects::default()).unwrap();
    let lines: usize = headers(&arrived(Outgoing {
        len: 0,
        body: Bytes::new(),
        subject: "a".into(),
        headers: outgoing.headers.clone(),
    }))
    .iter()
    .map(|(name, value)| format!("{name}: {value}\r\n").len())
    .sum();
    assert_eq!(outgoing.len, "NATS/1.0\r\n".len() + lines + "\r\n".len() + outgoing.body.len());
}

#[test]
fn structured_mode_and_headers_in_any_case_are_read() {
    let json = r#"{"specversion":"1.0","id":"A-1","source":"/shop","type":"order-created","subject":"orders.created","time":"2026-01-31T10:00:00Z","data":{"a":1}}"#;
    for content_type in ["application/cloudevents+json", "Application/CloudEvents+JSON; charset=utf-8"] {
        let event = read(&plain(&[("content-type", content_type)], json)).unwrap();
        assert_eq!((event.topic().as_str(), event.origin_id()), ("orders.created", Some("A-1")));
    }
    let refused = read(&plain(&[("Content-Type", "application/cloudevents-batch+json")], "[]")).unwrap_err();
    assert!(refused.contains("are not read"), "{refused}");
}

#[test]
fn what_a_foreign_event_leaves_out_is_known_from_its_message() {
    let headers = [
        ("Ce-Specversion", "1.0"),
        ("CE-ID", "A-1"),
        ("ce-source", "/shop"),
        ("ce-type", "order-created"),
        ("Content-Type", "text/plain"),
    ];
    let event = read(&plain(&headers, "hello")).unwrap();
    assert_eq!((event.topic().as_str(), event.time()), ("orders.created", Timestamp::from_nanos(5)));
    let json = r#"{"specversion":"1.0","id":"A-1","source":"/shop","type":"t"}"#;
    let event = read(&plain(&[("Content-Type", "application/cloudevents+json")], json)).unwrap();
    assert_eq!(event.topic().as_str(), "orders.created");
}

#[test]
fn what_is_no_event_says_why() {
    for (headers, reason) in [
        (&[][..], "no ce- headers"),
        (&[("X", "y")], "no ce- headers"),
        (&[("ce-id", "1")], "specversion"),
        (&[("ce-id", "%ff")], "no text"),
        (&[("ce-id", "1"), ("Ce-Id", "2")], "twice"),
    ] {
        let said = read(&plain(headers, "x")).unwrap_err();
        assert!(said.contains(reason), "{said}");
    }
}
