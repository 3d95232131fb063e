//! Records to events and back.

use busway_event::EventId;

use super::*;
use crate::builder::KafkaBuilder;
use rdkafka::message::Headers as _;

fn record(headers: &[(&str, &str)], value: &str) -> Record {
    let all = headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (name, value)| with(headers, name, value.as_bytes()));
    Record {
        topic: Arc::from("orders"),
        partition: 3,
        offset: 7,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Arc::new(Headers::of(all.as_borrowed())),
        timestamp: Some(1_769_853_600_000),
    }
}

fn settings(payload: usize) -> Settings {
    KafkaBuilder::new("b:9092").message_bytes_max((16 << 10) + payload).settings
}

const EVENT: [(&str, &str); 7] = [
    ("ce_specversion", "1.0"),
    ("ce_id", "A-1"),
    ("ce_source", "/shop"),
    ("ce_type", "order-created"),
    ("ce_subject", "orders.created"),
    ("ce_time", "2026-01-31T10:00:00Z"),
    ("content-type", "application/json"),
];

#[test]
fn an_event_of_somebody_else_is_read_and_written_as_it_was() {
    let event = record(&EVENT, "{\"n\":1}").event().unwrap();
    assert_eq!(event.id(), EventId::foreign("/shop", "A-1"));
    assert_eq!(event.topic().as_str(), "orders.created");
    let out = Outgoing::of(&event, &settings(100)).unwrap();
    assert_eq!((out.body.as_ref(), out.timestamp), (&b"{\"n\":1}"[..], 1_769_853_600_000));
    let again = Record {
        headers: Arc::new(Headers::of(out.headers.as_borrowed())),
        value: Some(out.body),
        ..record(&[], "")
    };
    let again = again.event().unwrap();
    assert_eq!((again.id(), again.origin_id()), (event.id(), Some("A-1")));
    assert!(matches!(Outgoing::of(&event, &settings(6)), Err(TransportError::TooLarge { len: 7, limit: 6 })));
}

#[test]
fn the_structured_mode_is_read_and_what_is_missing_is_taken_from_the_record() {
    let json = r#"{"specversion":"1.0","id":"A-2","source":"/shop","type":"t","data":{"n":1}}"#;
    let event =
        record(&[("content-type", "application/cloudevents+json; charset=UTF-8")], json).event().unwrap();
    assert_eq!((event.topic().as_str(), event.time().as_millis()), ("orders", 1_769_853_600_000));
    let batch = record(&[("content-type", "application/cloudevents+avro")], "x").event().unwrap_err();
    assert!(batch.reason.contains("avro"), "{}", batch.reason);
}

#[test]
fn what_is_no_event_keeps_its_bytes_and_its_headers_and_says_why() {
    let foreign = record(&[("colour", "red")], "hello").event().unwrap_err();
    assert!(foreign.reason.contains("ce_"), "{}", foreign.reason);
    assert_eq!((foreign.bytes.as_ref(), foreign.place.as_str()), (&b"hello"[..], "orders[3]@7"));
    assert_eq!(foreign.headers, [("colour".to_owned(), "red".to_owned())]);
    let broken = record(&EVENT[1..], "").event().unwrap_err();
    assert!(broken.reason.contains("specversion"), "{}", broken.reason);
}

#[test]
fn headers_of_this_crate_are_read_and_left_out_of_what_is_written_elsewhere() {
    let record = record(&[("a", "1"), (ATTEMPTS, "3"), (ATTEMPTS, "4")], "");
    assert_eq!(record.header(ATTEMPTS), Some("4"));
    assert_eq!(record.own_headers().iter().map(|header| header.key.to_owned()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn what_lies_in_a_topic_of_retries_keeps_the_time_that_its_record_had() {
    let read = |headers: &[(&str, &str)]| record(headers, "{}").event().unwrap().time().as_millis();
    let without_time: Vec<_> = EVENT.into_iter().filter(|(name, _)| *name != "ce_time").collect();
    assert_eq!(read(&without_time), 1_769_853_600_000);
    assert_eq!(read(&[&without_time[..], &[(TIME, "1000")]].concat()), 1_000);
}

#[test]
fn headers_count_in_the_limit_of_what_is_sent() {
    let long = "x".repeat(4_050);
    let of = |count: usize| {
        let notes = ["ce_note1", "ce_note2", "ce_note3", "ce_note4"].map(|name| (name, long.as_str()));
        let headers = [&EVENT[..], &notes[..count]].concat();
        Outgoing::of(&record(&headers, &"y".repeat(7)).event().unwrap(), &settings(7))
    };
    let len = of(3).unwrap().len;
    assert!(len > 12_000, "{len}");
    let error = of(4).unwrap_err();
    assert!(
        matches!(error, TransportError::TooLarge { len, limit } if len > limit && limit > 16 << 10),
        "{error}"
    );
}
