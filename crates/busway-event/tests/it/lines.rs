//! Lines: what goes out of a log as JSON Lines comes back without loss.

use std::time::Duration;

use busway_event::cloudevents::{CloudEventError, Import, Origin, from_json, from_json_line, to_json_line};
use busway_event::{AnyEvent, CodecId, Encoded, EventId, Metadata, Parts, Timestamp, Topic};
use bytes::Bytes;
use proptest::prelude::*;

use crate::cloudevents_round_trip::{essence, events};

fn origin() -> Origin {
    Origin { stream: "orders".into(), partition: 3, offset: u64::MAX, appended: Timestamp::from_nanos(7) }
}

fn event(
    id: EventId,
    origin_id: Option<String>,
    ttl: Option<Duration>,
    nanos: i64,
    encoded: Encoded,
) -> AnyEvent {
    let metadata = Metadata::draft("shop", 1);
    let mut parts = Parts::new(id, Timestamp::from_nanos(nanos), Topic::new("a.b").unwrap(), metadata);
    (parts.origin_id, parts.ttl) = (origin_id, ttl);
    AnyEvent::receive(parts, encoded).unwrap()
}

fn there_and_back(event: &AnyEvent) -> AnyEvent {
    let line = to_json_line(event, &origin()).unwrap();
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "{}", String::from_utf8_lossy(&line));
    let (back, from) = from_json_line(&line, &Import::new()).unwrap();
    assert_eq!(from, Some(origin()));
    // Any reader of CloudEvents takes it.
    from_json(&line, &Import::new()).unwrap();
    back
}

proptest! {
    #[test]
    fn an_event_comes_back_from_its_line(event in events()) {
        let back = there_and_back(&event);
        prop_assert_eq!(essence(&back), essence(&event));
        let again = to_json_line(&back, &origin()).unwrap();
        prop_assert_eq!(essence(&from_json_line(&again, &Import::new()).unwrap().0), essence(&event));
    }

    #[test]
    fn what_attributes_cannot_say_comes_back_too(
        id in any::<u128>(),
        origin_id in prop::option::of("(?s).{1,30}"),
        type_name in "[^\\p{Cc}]{1,30}",
        nanos in any::<i64>(),
        ttl in prop::option::of(1_u64..),
        json in "[ \\n\\r\\t]{0,2}\\{[ \\n\\r]{0,2}\\}[ \\n]{0,2}",
    ) {
        let encoded =
            Encoded { type_name: type_name.into(), version: 1, codec: CodecId::Json, bytes: Bytes::from(json) };
        let id = EventId::new(uuid::Uuid::from_u128(id));
        let event = event(id, origin_id, ttl.map(Duration::from_nanos), nanos, encoded);
        prop_assert_eq!(essence(&there_and_back(&event)), essence(&event));
    }
}

#[test]
fn a_foreign_id_that_is_the_uuid_itself_stays_one_and_the_longest_life_too() {
    let id = EventId::foreign("shop", "7");
    let encoded =
        Encoded { type_name: "\u{fffe}".into(), version: 1, codec: CodecId::Raw, bytes: Bytes::new() };
    let event = event(id, Some(id.to_string()), Some(Duration::MAX), 0, encoded);
    assert_eq!(essence(&there_and_back(&event)), essence(&event));
}

#[test]
fn a_line_of_anybody_has_no_origin_and_a_bad_origin_is_named() {
    let line = |more: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"A-1","source":"/shop","type":"t","subject":"a","time":"2026-01-31T10:00:00Z"{more}}}"#
        )
    };
    let (event, origin) = from_json_line(line("").as_bytes(), &Import::new()).unwrap();
    assert_eq!((event.origin_id(), origin), (Some("A-1"), None));
    let bad = line(r#","buswaystream":"s","buswaypartition":"70000","buswayoffset":"1""#);
    let error = from_json_line(bad.as_bytes(), &Import::new()).unwrap_err();
    assert!(matches!(error, CloudEventError::Number { attribute: "buswaypartition", .. }), "{error}");
}
