//! What other programs see, and what is made of what they send.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use busway_engine::transport::{Transport, Verdict};
use busway_event::{AnyEvent, CodecId, Encoded, Metadata, Parts, Priority, Timestamp, Topic, TraceContext};
use bytes::Bytes;

use crate::server::{join, nothing_comes, orders, receive, reception, send, settle};

/// An event with everything that an event can have.
fn full() -> AnyEvent {
    let mut metadata = Metadata::draft("https://shop.example/eu 1", 7);
    metadata.set("bizid", "A-1 \"100%\" ä 😀");
    metadata.set("tenant_name", "x\r\ny");
    metadata.set_trace(TraceContext::new([7; 16], [9; 8], 1).unwrap().with_state("a=1,b=2"));
    let topic = Topic::new("orders.created.eu-1").unwrap();
    let id = "0198c7a0-0000-7000-8000-00000000000a".parse().unwrap();
    let mut parts = Parts::new(id, Timestamp::from_nanos(1_700_000_000_123_456_789), topic, metadata);
    parts.origin_id = Some("foreign/7 ß".to_owned());
    parts.id = busway_event::EventId::foreign("https://shop.example/eu 1", "foreign/7 ß");
    parts.key = Some("Kunde 7 ß".into());
    parts.priority = Priority::P0;
    parts.ttl = Some(Duration::from_secs(86_400));
    let bytes = Bytes::from_static(&[0, 159, 146, 150, 13, 10, 255]);
    let encoded = Encoded { type_name: "order-created".into(), version: 7, codec: CodecId::Raw, bytes };
    AnyEvent::receive(parts, encoded).unwrap()
}

fn pairs(event: &AnyEvent) -> Vec<(String, String)> {
    let mut all: Vec<_> =
        event.metadata().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    all.sort();
    all
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_an_event_arrives_as_it_was_sent_in_every_field() {
    let (_server, transport) = orders().await;
    send(&*transport.sender().await.unwrap(), vec![full()]).await;
    let receiver = join(&transport, &reception("stock", "orders.#")).await;
    let came = receive(&*receiver, 1).await;
    let (after, before) = (came[0].event.as_ref().unwrap(), &full());
    assert_eq!(
        (after.id(), after.origin_id(), after.time()),
        (before.id(), before.origin_id(), before.time())
    );
    assert_eq!(
        (after.topic(), after.key(), after.priority()),
        (before.topic(), before.key(), before.priority())
    );
    assert_eq!((after.ttl(), pairs(after)), (before.ttl(), pairs(before)));
    assert_eq!(after.metadata().producer(), before.metadata().producer());
    let trace = |event: &AnyEvent| {
        event.metadata().trace().map(|trace| (trace.to_string(), trace.state().map(str::to_owned)))
    };
    assert_eq!(trace(after), trace(before));
    let (one, other) = (after.encoded(1 << 20).unwrap(), before.encoded(1 << 20).unwrap());
    assert_eq!((one.bytes, one.version, one.codec), (other.bytes, other.version, other.codec));
    assert_eq!((one.type_name, came[0].offset), (other.type_name, Some(1)));
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_program_without_busway_reads_our_events() {
    let (server, transport) = orders().await;
    send(&*transport.sender().await.unwrap(), vec![full()]).await;
    let stream = server.plain().await.get_stream("orders").await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    let header = |name: &str| message.headers.get(name).map_or("", |value| value.as_str()).to_owned();
    assert_eq!(message.subject.as_str(), "orders.created.eu-1");
    assert_eq!(message.payload, full().encoded(1 << 20).unwrap().bytes);
    assert_eq!((header("ce-specversion"), header("ce-type")), ("1.0".into(), "order-created".into()));
    assert_eq!(
        (header("ce-subject"), header("ce-id")),
        ("orders.created.eu-1".into(), "foreign/7%20%C3%9F".into())
    );
    assert_eq!(header("ce-bizid"), "A-1%20%22100%25%22%20%C3%A4%20%F0%9F%98%80");
    assert_eq!(header("Nats-Msg-Id"), full().id().to_string());
    assert_eq!(header("traceparent"), "00-07070707070707070707070707070707-0909090909090909-01");
    assert_eq!(
        (header("tracestate"), header("ce-datacontenttype")),
        ("a=1,b=2".into(), "application/octet-stream".into())
    );
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_events_and_other_things_of_programs_without_busway_are_delivered() {
    let (server, transport) = orders().await;
    let plain = server.plain().await;
    let json = r#"{"specversion":"1.0","id":"A-1","source":"/shop","type":"order-created","subject":"orders.made","data":{"a":1}}"#;
    let structured = PublishMessage::build().header("Content-Type", "application/cloudevents+json");
    plain.send_publish("orders.made", structured.payload(json.into())).await.unwrap().await.unwrap();
    plain.publish("orders.raw", Bytes::from_static(b"hello")).await.unwrap().await.unwrap();
    let mut headers = HeaderMap::new();
    headers.append("ce-id", "1");
    headers.append("X-Note", "kept");
    plain
        .publish_with_headers("orders.half", headers, Bytes::from_static(b"x"))
        .await
        .unwrap()
        .await
        .unwrap();
    let receiver = join(&transport, &reception("stock", "orders.#")).await;
    let came = receive(&*receiver, 3).await;
    let event = came[0].event.as_ref().unwrap();
    assert_eq!((event.topic().as_str(), event.origin_id()), ("orders.made", Some("A-1")));
    assert!(event.time().as_nanos() > 1_700_000_000_000_000_000, "the time at which the stream took it");
    let raw = came[1].event.as_ref().unwrap_err();
    assert_eq!((raw.place.as_str(), &*raw.bytes, raw.headers.len()), ("orders.raw", &b"hello"[..], 0));
    assert!(raw.reason.contains("no CloudEvent"), "{}", raw.reason);
    let half = came[2].event.as_ref().unwrap_err();
    assert_eq!(half.headers, [("X-Note".into(), "kept".into()), ("ce-id".into(), "1".into())]);
    assert!(half.reason.contains("specversion"), "{}", half.reason);
    // Unreadable ones are settled as all others.
    settle(&*receiver, &came, &Verdict::Done).await;
    nothing_comes(&*receiver).await;
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_the_topic_is_the_subject_that_it_was_published_on_whatever_the_event_is_about() {
    let (server, transport) = orders().await;
    let receiver = join(&transport, &reception("stock", "orders.#")).await;
    let plain = server.plain().await;
    for about in ["invoice-4711", "payments.approved"] {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", about),
            ("ce-source", "/billing"),
            ("ce-type", "paid"),
            ("ce-subject", about),
        ] {
            headers.insert(name, value);
        }
        plain.publish_with_headers("orders.paid", headers, "{}".into()).await.unwrap().await.unwrap();
        let json = format!(
            r#"{{"specversion":"1.0","id":"{about}/2","source":"/billing","type":"paid","subject":"{about}","data":{{}}}}"#
        );
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", "application/cloudevents+json");
        plain.publish_with_headers("orders.paid", headers, json.into()).await.unwrap().await.unwrap();
        let came = receive(&*receiver, 2).await;
        for one in &came {
            let event = one.event.as_ref().unwrap();
            assert_eq!(event.topic().as_str(), "orders.paid");
            assert_eq!(event.metadata().get("ce-subject"), Some(about));
        }
        settle(&*receiver, &came, &Verdict::Done).await;
    }
}
