//! Each kind of damage is found, and said in words that tell it from the others.

use super::super::head::HEAD_LEN_MAX;
use super::*;
use crate::error::EntryError;

fn reason(values: &Values, names: &[Name]) -> String {
    let error = values.decode(PLACE, names).unwrap_err();
    assert_eq!(error.place, "record 17 of partition 3");
    error.reason
}

/// What is said of the value with other bytes at a place, and a checksum that is right again.
fn said_of(case: &Case, at: usize, bytes: &[u8]) -> String {
    let mut value = case.values().value;
    value[at..at + bytes.len()].copy_from_slice(bytes);
    reason(&Values::resealed(&value), &case.names())
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_golden_record_is_found() {
    for case in [minimal(), full(), chunked(), chunked_head()] {
        let (names, intact) = (case.names(), case.values());
        let mut values = intact.clone();
        for value in 0..=intact.chunks.len() {
            let len = values.each().nth(value).unwrap().len();
            for bit in 0..len * 8 {
                values.each().nth(value).unwrap()[bit / 8] ^= 1 << (bit % 8);
                assert!(values.decode(PLACE, &names).is_err(), "bit {bit} of value {value}");
                values.each().nth(value).unwrap()[bit / 8] ^= 1 << (bit % 8);
            }
            for cut in 0..len {
                let mut values = intact.clone();
                values.each().nth(value).unwrap().truncate(cut);
                assert!(values.decode(PLACE, &names).is_err(), "value {value} cut at {cut}");
            }
        }
        assert!(values.decode(PLACE, &names).is_ok(), "undamaged again");
    }
}

#[test]
fn a_record_that_lies_in_another_place_is_found() {
    for case in [minimal(), chunked()] {
        let (names, values) = (case.names(), case.values());
        for elsewhere in [Place { offset: 18, ..PLACE }, Place { partition: 4, ..PLACE }] {
            let error = values.decode(elsewhere, &names).unwrap_err();
            assert!(error.reason.contains("its bytes and place make"), "{error}");
        }
    }
}

#[test]
fn chunks_of_another_record_or_in_another_order_are_found() {
    let case = chunked();
    let mut values = case.values();
    values.chunks.swap(0, 1);
    assert!(reason(&values, &case.names()).contains("checksum of its chunk 0"));
    let mut values = case.values();
    values.chunks = Values::of(&case.recorded(Place { offset: 18, ..PLACE })).chunks;
    assert!(reason(&values, &case.names()).contains("checksum of its chunk 0"));
    values.chunks[0].truncate(3);
    assert!(reason(&values, &case.names()).contains("and should have"));
}

#[test]
fn a_record_that_is_sealed_again_holds_for_its_new_place_only() {
    for case in [minimal(), chunked()] {
        let mut recorded = case.recorded(Place { offset: 18, ..PLACE });
        assert!(Values::of(&recorded).decode(PLACE, &case.names()).is_err());
        recorded.seal(PLACE);
        assert_eq!(Values::of(&recorded), case.values());
    }
}

#[test]
fn a_record_that_was_never_sealed_is_never_taken_for_one() {
    let Case { event, ids, appended, given_id, inline_max } = minimal();
    let recorded = encode(&event, 64, ids, appended, given_id, inline_max).unwrap();
    assert!(Record::check(PLACE, recorded.value()).is_err());
}

#[test]
fn a_newer_format_version_is_told_from_damage() {
    let newer = said_of(&minimal(), 0, &[2]);
    assert!(
        newer.contains("format version 2, and this program knows up to 1: open the store with"),
        "{newer}"
    );
    let unheard_of = said_of(&minimal(), 0, &[0]);
    assert!(unheard_of.contains("format version 0, which there never was"), "{unheard_of}");
    let mut flipped = minimal().values();
    flipped.value[0] = 3;
    assert!(reason(&flipped, &[]).starts_with("its checksum is "));
}

#[test]
fn each_field_of_the_fixed_part_that_is_wrong_has_its_words() {
    let at = |at: usize| PREFIX_LEN + at;
    let cases: [(usize, &[u8], &str); 12] = [
        (1, &[0b1000], "its flags 00001000 have no meaning"),
        (1, &[CHUNKED], "says that it has 0 chunks"),
        (6, &[53, 0], "its head has 53 bytes, of"),
        (6, &[255, 0], "and should have 263"),
        (6, &[54, 0], "have 78 bytes, and should have 62"),
        (at(32), &[9], "its topic is the name 9, which the store does not know"),
        (at(32), &[0], "the name of its topic is missing"),
        (at(36), &[0], "the name of its type is missing"),
        (at(40), &[4], "its producer is the name 4"),
        (at(50), &[0, 0], "what it holds is no event: the schema version is missing"),
        (at(52), &[77], "the codec 77, which this program does not know"),
        (at(53), &[4], "its priority is 4"),
    ];
    for (at, bytes, expected) in cases {
        let said = said_of(&minimal(), at, bytes);
        assert!(said.contains(expected), "{said} should say {expected}");
    }
    assert!(said_of(&full(), at(32), &[1]).contains("its topic is named twice"));
    let short = reason(&Values::resealed(&minimal().values().value[..PREFIX_LEN + 53]), &[]);
    assert!(short.contains("its head has 70 bytes, of 53 in all: it needs 54"), "{short}");
    assert_eq!(
        reason(&Values { value: vec![1; 7], chunks: Vec::new() }, &[]),
        "it has 7 bytes, fewer than 8"
    );
    let said = said_of(&chunked(), at(44), &[0, 0]);
    assert_eq!(said, "its head and payload have 70 bytes, and leave none for chunks");
}

#[test]
fn a_text_of_a_record_that_breaks_a_rule_has_its_words() {
    let value = full().values().value;
    let replace = |old: &str, new: &str| {
        let at = value.windows(old.len()).position(|bytes| bytes == old.as_bytes()).unwrap();
        said_of(&full(), at, new.as_bytes())
    };
    let cases = [
        ("orders.created", "orders..reated", "what it holds is no event: topic \"orders..reated"),
        ("order\u{1}\u{4}", "or\0er\u{1}\u{4}", "what it holds is no event: the type name"),
        ("shop", "sh\0p", "what it holds is no event: the producer"),
        ("00-4bf92f35", "01-4bf92f35", "is not of version 00"),
        ("0707-03", "0707-07", "is not of version 00"),
        ("0707-03", "0707-13", "is not of version 00"),
        ("00-4bf92f35", "00-4Bf92f35", "is no traceparent"),
        ("a=1,b=2", "a=1,b 2", "its tracestate breaks the rules"),
        ("biz-id", "biz id", "what it holds is no event: "),
    ];
    for (old, new, expected) in cases {
        let said = replace(old, new);
        assert!(said.contains(expected), "{said} should say {expected}");
    }
    let at = value.windows(2).position(|bytes| bytes == "ä".as_bytes()).unwrap();
    let said = said_of(&full(), at, &[0xff]);
    assert!(said.starts_with("its head cannot be read: "), "{said}");
}

#[test]
fn metadata_that_names_a_field_twice_is_damage() {
    for (name, value) in [("twin", "a"), ("producer", "bank"), ("traceparent", "x"), ("tracestate", "a=1")] {
        let mut parts = parts("orders.created");
        parts.metadata.set("twin", "b");
        let placeholder = "x".repeat(name.len());
        parts.metadata.set(&placeholder, value);
        let event = AnyEvent::receive(parts, encoded(CodecId::Raw, 1, "")).unwrap();
        let case = case(event);
        let bytes = case.values().value;
        let at = bytes.windows(name.len()).position(|bytes| bytes == placeholder.as_bytes()).unwrap();
        let said = said_of(&case, at, name.as_bytes());
        assert_eq!(said, format!("its metadata holds \"{name}\" twice"));
    }
}

#[test]
fn what_is_too_large_for_a_record_is_refused_with_the_numbers() {
    let Case { event, ids, appended, given_id, .. } = chunked();
    let encode = |event: &AnyEvent, inline_max| encode(event, LIMIT, ids, appended, given_id, inline_max);
    // A head of 70 bytes, and 600 of payload.
    assert_eq!(encode(&event, 61).unwrap_err(), EntryError::TooLarge { len: 670, limit: 53 });
    assert!(encode(&event, 62).is_ok());
    let with_payload = |len: usize| {
        let mut parts = parts("orders.created");
        parts.payload_bytes_max = LIMIT;
        AnyEvent::receive(parts, encoded(CodecId::Raw, 1, vec![0_u8; len])).unwrap()
    };
    let refused = encode(&with_payload(54 + 65_535 * 58), 62).unwrap_err();
    assert_eq!(refused, EntryError::TooLarge { len: 54 + 65_535 * 58 + 70, limit: 54 + 65_535 * 58 });
    assert_eq!(encode(&with_payload(54 + 65_535 * 58 - 70), 62).unwrap().chunks().count(), 65_535);
    let refused = encode(&with_payload(LIMIT), 62).unwrap_err();
    assert!(
        refused.to_string().contains("more than the 3801084 of a record; keep large payloads elsewhere"),
        "{refused}"
    );
}

/// Above everything that a record takes here.
const LIMIT: usize = 5 << 20;

#[test]
fn a_time_to_live_beyond_what_is_stored_becomes_the_longest_that_is() {
    let mut parts = parts("orders.created");
    parts.ttl = Some(Duration::MAX);
    let case = case(AnyEvent::receive(parts, encoded(CodecId::Raw, 1, "")).unwrap());
    let stored = case.values().decode(PLACE, &case.names()).unwrap();
    assert_eq!(stored.event.ttl(), Some(Duration::from_nanos(u64::MAX)));
}

#[test]
fn the_largest_head_of_a_valid_event_fits_a_record() {
    let mut parts = parts(&["abcdefghijklmno"; 15].join("."));
    parts.key = Some("k".repeat(255).into());
    parts.origin_id = Some("o".repeat(1_024));
    parts.metadata = Metadata::draft(&"p".repeat(255), 1);
    let state = (0..32).map(|n| format!("a{n:02}={}", "x".repeat(11))).collect::<Vec<_>>().join(",");
    let trace = TraceContext::new([1; 16], [1; 8], 1).unwrap().with_state(&state);
    assert!(trace.state().is_some());
    parts.metadata.set_trace(trace);
    (0..64).for_each(|n| parts.metadata.set(&format!("n{n:02}"), &"v".repeat(248)));
    let type_name = "t".repeat(255).into();
    let encoded = Encoded { type_name, version: 1, codec: CodecId::Raw, bytes: Bytes::new() };
    let event = AnyEvent::receive(parts, encoded).unwrap();
    let case = Case { ids: NameIds::default(), ..case(event) };
    let values = case.values();
    assert!(case.is(&values.decode(PLACE, &[]).unwrap()));
    let [h0, h1] = values.value[6..8] else { unreachable!() };
    assert!(usize::from(u16::from_le_bytes([h0, h1])) < 21 * 1024 && 21 * 1024 < HEAD_LEN_MAX);
}
