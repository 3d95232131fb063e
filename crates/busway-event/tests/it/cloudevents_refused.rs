//! `CloudEvents` of strangers: what is refused, and with which words.

use busway_event::cloudevents::{
    CloudEventError, Import, TopicFrom, from_json, from_json_batch, from_json_items,
};
use busway_event::{Invalid, KeyError, MetadataError, Raw, Timestamp, Topic};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::cloudevents_import::{payload, with};

#[test]
fn what_is_missing_or_wrong_is_named_with_its_attribute() {
    let long = "x".repeat(2000);
    let table = [
        (json!({ "specversion": null }), "\"specversion\" is missing"),
        (json!({ "id": null }), "\"id\" is missing"),
        (json!({ "id": "" }), "\"id\" is missing or empty"),
        (json!({ "source": null }), "\"source\" is missing"),
        (json!({ "type": null }), "\"type\" is missing"),
        (json!({ "subject": null }), "\"subject\" is missing or empty: name a topic"),
        (json!({ "time": null }), "\"time\" is missing or empty: say when it came"),
        (json!({ "specversion": "0.3" }), "specversion is \"0.3\""),
        (json!({ "specversion": 1.0 }), "\"specversion\" is no string"),
        (json!({ "id": 7 }), "\"id\" is no string"),
        (json!({ "time": ["x"] }), "\"time\" is no string"),
        (json!({ "data_base64": 7 }), "\"data_base64\" is no string"),
        (json!({ "time": "yesterday" }), "\"time\" is no time"),
        (json!({ "expirytime": "9999-01-01T00:00:00Z" }), "\"expirytime\" is no time"),
        (json!({ "expirytime": "2026-01-31T10:00:00Z" }), "\"expirytime\" says that the event expired"),
        (json!({ "expirytime": "2025-01-31T10:00:00Z" }), "expired at 2025-01-31T10:00:00Z, and it is 2026-"),
        (json!({ "time": "2026-01-31 10:00:00Z" }), "\"time\" is no time"),
        (json!({ "priority": "urgent" }), "\"priority\" is refused"),
        (json!({ "schemaversion": "0" }), "schemaversion is \"0\""),
        (json!({ "schemaversion": "65536" }), "schemaversion is \"65536\""),
        (json!({ "schemaversion": "+7" }), "schemaversion is \"+7\""),
        (json!({ "schemaversion": 1.5 }), "schemaversion is \"1.5\""),
        (json!({ "subject": "orders..created" }), "\"subject\" breaks a rule"),
        (json!({ "subject": "orders.#" }), "\"subject\" breaks a rule"),
        (json!({ "partitionkey": "" }), "\"partitionkey\" breaks a rule"),
        (json!({ "partitionkey": long }), "\"partitionkey\" breaks a rule"),
        (json!({ "id": long }), "\"id\" breaks a rule"),
        (json!({ "source": long }), "\"source\" breaks a rule"),
        (json!({ "type": long }), "\"type\" breaks a rule"),
        (json!({ "tenant": "x".repeat(8193) }), "\"tenant\" breaks a rule"),
        (json!({ "bad name": "x" }), "\"bad name\" breaks a rule"),
        (json!({ "type": "a\u{0}b" }), "\"type\" holds a forbidden character at byte 1"),
        (json!({ "partitionkey": "ä\u{85}" }), "\"partitionkey\" holds a forbidden character at byte 2"),
        (json!({ "tenant": "\u{fffe}" }), "\"tenant\" holds a forbidden character at byte 0"),
        (json!({ "buswaymeta": "[]" }), "\"buswaymeta\" is no JSON object of strings"),
        (json!({ "buswaymeta": "{\"a\":1}" }), "\"buswaymeta\" is no JSON object of strings: \"a\" is none"),
        (json!({ "buswaymeta": "{\"producer\":\"x\"}" }), "\"producer\" breaks a rule"),
        (json!({ "buswaymeta": "{\"traceparent\":\"x\"}" }), "\"traceparent\" breaks a rule"),
        (json!({ "buswaymeta": "{\"@partitionkey\":\"\"}" }), "\"partitionkey\" breaks a rule"),
        (json!({ "buswaymeta": "{\"@producer\":\"bank\"}" }), "\"@producer\" is not what source was made of"),
        (json!({ "data": 1, "data_base64": "" }), "both data and data_base64"),
        (json!({ "data_base64": "=" }), "data_base64 is no base64"),
        (json!({ "data_base64": "QQ" }), "data_base64 is no base64"),
        (
            json!({ "datacontenttype": "text/xml", "data": { "a": 1 } }),
            "data is no string, which it must be for",
        ),
        (json!({ "datacontenttype": "text/xml", "data": null }), "data is no string, which it must be for"),
    ];
    for (changes, expected) in table {
        let message = from_json(&with(changes.clone()), &Import::new()).unwrap_err().to_string();
        assert!(message.contains(expected), "{changes}: {message} should say {expected}");
    }
}

/// All that an error and its causes say.
fn said(error: &CloudEventError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn the_place_and_the_length_of_what_is_wrong_reach_the_one_who_asks() {
    let table = [
        (json!({ "subject": "orders..created" }), "refused at byte 7"),
        (json!({ "source": "x".repeat(256) }), "256 bytes, more than 255"),
        (json!({ "partitionkey": "x".repeat(256) }), "256 bytes, more than 255"),
        (json!({ "type": "x".repeat(256) }), "256 bytes, more than 255"),
        (json!({ "tenant": "x".repeat(8193) }), "8193 bytes, more than 8192"),
        (json!({ "tenant-\u{e4}": "x" }), "at position 7"),
        (json!({ "data": "x".repeat(1 << 20) }), "1048578 bytes, more than 1048576"),
    ];
    for (changes, expected) in table {
        let error = from_json(&with(changes), &Import::new()).unwrap_err();
        assert!(said(&error).contains(expected), "{} should say {expected}", said(&error));
    }
}

#[test]
fn two_values_that_come_to_one_name_are_refused_and_none_is_lost() {
    let meta = |members: &str| json!(format!("{{{members}}}"));
    let table = [
        (json!({ "tenant": "a", "buswaymeta": meta(r#""tenant":"b""#) }), "tenant"),
        (json!({ "buswaymeta": meta(r#""tenant":"a","tenant":"b""#) }), "tenant"),
        (json!({ "version": "1", "ce-version": "2" }), "ce-version"),
        (json!({ "version": "1", "buswaymeta": meta(r#""ce-version":"2""#) }), "ce-version"),
        (json!({ "producer": "a", "ce-producer": "b" }), "ce-producer"),
        (json!({ "dataschema": "a", "ce-dataschema": "b" }), "ce-dataschema"),
        (json!({ "datacontenttype": "text/xml", "ce-datacontenttype": "b" }), "ce-datacontenttype"),
        (json!({ "partitionkey": "a", "buswaymeta": meta(r#""@partitionkey":"b""#) }), "partitionkey"),
        (json!({ "buswaymeta": meta(r#""@partitionkey":"a","@partitionkey":"b""#) }), "@partitionkey"),
        (json!({ "buswaymeta": meta(r#""@producer":"/shop","@producer":"/shop""#) }), "@producer"),
    ];
    for (changes, attribute) in table {
        let error = from_json(&with(changes.clone()), &Import::new()).unwrap_err();
        assert_eq!(error, CloudEventError::Duplicate { attribute: attribute.to_owned() }, "{changes}");
    }
    let fixed = Import::new().topic(TopicFrom::Fixed(Topic::new("a").unwrap()));
    let error = from_json(&with(json!({ "subject": "x", "ce-subject": "y" })), &fixed).unwrap_err();
    assert_eq!(error, CloudEventError::Duplicate { attribute: "ce-subject".to_owned() });
    assert!(from_json(&with(json!({ "subject": "x", "ce-subject": "y" })), &Import::new()).is_ok());
}

#[test]
fn an_event_that_expired_before_it_came_is_refused() {
    let changes = || with(json!({ "expirytime": "2026-01-31T10:00:30Z" }));
    let at = |time: &str| time.parse::<Timestamp>().unwrap();
    let import = |time: &str| from_json(&changes(), &Import::new().received_at(at(time)));
    for late in ["2026-01-31T10:00:30Z", "2026-02-01T00:00:00Z"] {
        let expected = CloudEventError::Expired { expiry: at("2026-01-31T10:00:30Z"), at: at(late) };
        assert_eq!(import(late).unwrap_err(), expected);
    }
    // What is left counts from the receipt; a clock that is behind the sender's adds nothing.
    for (time, seconds) in
        [("2026-01-31T10:00:10Z", 20), ("2026-01-31T10:00:00Z", 30), ("2026-01-31T09:00:00Z", 30)]
    {
        assert_eq!(import(time).unwrap().ttl().map(|ttl| ttl.as_secs()), Some(seconds), "{time}");
    }
}

#[test]
fn an_error_carries_the_rule_that_was_broken() {
    let refused = |changes| from_json(&with(changes), &Import::new()).unwrap_err();
    let source = Invalid::Key(KeyError::Empty);
    let expected = CloudEventError::Invalid { attribute: "partitionkey".to_owned(), source };
    assert_eq!(refused(json!({ "partitionkey": "" })), expected);
    let many: Map<_, _> = (0..65).map(|i| (format!("k{i}"), json!("x"))).collect();
    let error = MetadataError::TooManyPairs { count: 65, limit: 64 };
    assert_eq!(refused(Value::Object(many)), CloudEventError::Extensions(error));
    let crowd: Map<_, _> = (0..125).map(|i| (format!("k{i}"), json!("x"))).collect();
    assert_eq!(refused(Value::Object(crowd)), CloudEventError::TooManyAttributes { limit: 128 });
    let hostile: Map<_, _> = (0..10_000).map(|i| (format!("k{i}"), json!(i))).collect();
    assert_eq!(refused(Value::Object(hostile.clone())), CloudEventError::TooManyAttributes { limit: 128 });
    let meta = Value::Object(hostile).to_string();
    assert!(matches!(refused(json!({ "buswaymeta": meta })), CloudEventError::Meta { .. }));
}

#[test]
fn a_payload_above_the_limit_is_refused_in_each_form() {
    let import = Import::new().payload_bytes_max(4);
    let forms = [
        json!({ "data": "abcde" }),
        json!({ "datacontenttype": "text/plain", "data": "abcde" }),
        json!({ "data_base64": "YWJjZGU=" }),
    ];
    for form in forms {
        let error = from_json(&with(form), &import).unwrap_err();
        assert!(
            matches!(&error, CloudEventError::Invalid { attribute, source: Invalid::PayloadTooLarge { limit: 4, .. } }
            if attribute == "data"),
            "{error:?}"
        );
    }
    let fits = from_json(&with(json!({ "data_base64": "YWJjZA==" })), &import).unwrap();
    assert_eq!(payload(&fits).1, Bytes::from_static(b"abcd"));
}

#[test]
fn a_text_that_is_no_event_is_refused() {
    let whole = with(json!({}));
    let cut = &whole[..whole.len() - 1];
    for json in [&b""[..], b" ", b"7", b"[]", b"\"x\"", b"null", cut, b"{\"id\": \xff}", b"{'a': 1}"] {
        let error = from_json(json, &Import::new()).unwrap_err();
        assert!(matches!(error, CloudEventError::Json { .. }), "{error:?}");
    }
    let lone = br#"{"specversion": "1.0", "id": "\ud800"}"#;
    assert!(matches!(from_json(lone, &Import::new()), Err(CloudEventError::Json { .. })));
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(from_json(deep.as_bytes(), &Import::new()).is_err());
}

#[test]
fn bytes_after_the_event_and_members_that_are_there_twice_are_refused() {
    let mut trailing = with(json!({}));
    let at = trailing.len();
    trailing.extend(b"\n ");
    assert!(from_json(&trailing, &Import::new()).is_ok());
    trailing.extend(b"{}");
    let error = from_json(&trailing, &Import::new()).unwrap_err();
    assert_eq!(error, CloudEventError::TrailingBytes { at, extra: 4 });
    for (member, name) in
        [("\"id\":\"x\"", "id"), ("\"data\":1,\"data\":2", "data"), ("\"\\u0069d\":\"x\"", "id")]
    {
        let mut json = String::from_utf8(with(json!({}))).unwrap();
        json.truncate(json.len() - 1);
        let error = from_json(format!("{json},{member}}}").as_bytes(), &Import::new()).unwrap_err();
        assert_eq!(error, CloudEventError::Duplicate { attribute: name.to_owned() });
    }
}

#[test]
fn one_bad_event_refuses_its_batch_by_index_and_only_itself_where_items_are_asked_for() {
    let batch = |items: &[Vec<u8>]| [b"[", items.join(&b","[..]).as_slice(), b"]"].concat();
    let good = || with(json!({ "data": 1 }));
    let events = from_json_batch(&batch(&[good(), good()]), &Import::new()).unwrap();
    assert_eq!(events[1].typed::<Raw>().unwrap().payload().0, Bytes::from_static(b"1"));
    assert_eq!(from_json_batch(b"[]", &Import::new()).unwrap().len(), 0);
    let error = from_json_batch(&batch(&[good(), with(json!({ "id": null }))]), &Import::new()).unwrap_err();
    let source = Box::new(CloudEventError::Missing { attribute: "id" });
    assert_eq!(error, CloudEventError::Item { index: 1, source });
    let items = from_json_items(
        &batch(&[good(), with(json!({ "id": null })), b"7".to_vec(), good()]),
        &Import::new(),
    );
    let items: Vec<_> = items.unwrap().into_iter().map(|item| item.map(|event| payload(&event).1)).collect();
    assert_eq!((&items[0], &items[3]), (&Ok(Bytes::from_static(b"1")), &items[0]));
    assert_eq!(items[1], Err(CloudEventError::Missing { attribute: "id" }));
    assert!(matches!(items[2], Err(CloudEventError::Json { .. })), "{:?}", items[2]);
    for json in [&b"{}"[..], b"", b"[1", b"[] []"] {
        assert!(from_json_items(json, &Import::new()).is_err());
        let error = from_json_batch(json, &Import::new()).unwrap_err();
        assert!(!matches!(error, CloudEventError::Item { .. }), "{error:?}");
    }
}
