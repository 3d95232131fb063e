//! Export and import: what goes out as lines comes back, in order, once.

use std::fs;
use std::time::Duration;

use busway_event::{
    AnyEvent, CodecId, Encoded, EventId, Filter, Metadata, Parts, Priority, Timestamp, Topic,
};
use busway_persistence::{
    BadLines, Damaged, Export, ExportError, Import, ImportCause, LINE_BYTES_MAX, LineError, ReadError,
    Refusal, Retention, Store, Stream,
};
use bytes::Bytes;
use proptest::prelude::*;

use crate::world::{Waiting, at, dir, entry, event_with_id, id, one, open, options};

fn exported(store: &Store, export: Export) -> String {
    let mut lines = Vec::new();
    store.export(export, &mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}

fn all() -> Export {
    Export::stream("all")
}

/// A line without where it lay.
fn content(line: &str) -> String {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
    let kept = object
        .into_iter()
        .filter(|(name, _)| !matches!(&**name, "buswayoffset" | "buswayappended" | "buswaystream"));
    serde_json::to_string(&kept.collect::<serde_json::Map<_, _>>()).unwrap()
}

prop_compose! {
    fn any_event()(
        number in 0..1_000_u64,
        topic in "[a-c](\\.[a-c]){0,2}",
        key in prop::option::of("(?s).{1,9}"),
        pairs in prop::collection::vec(("[a-z.]{1,9}", "(?s).{0,9}"), 0..4),
        priority in 0..4_usize,
        ttl in prop::option::of(1_u64..),
        codec in prop::sample::select(vec![CodecId::Raw, CodecId::Json, CodecId::Protobuf]),
        payload in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..9_000),
            "\\{\"a\": ?[0-9]{1,30}\\}\n?".prop_map(String::into_bytes),
        ],
    ) -> AnyEvent {
        let mut metadata = Metadata::draft("test", 1);
        pairs.iter().for_each(|(name, value)| metadata.set(name, value));
        let mut parts = Parts::new(id(number), at(-7), Topic::new(topic).unwrap(), metadata);
        (parts.key, parts.ttl) = (key.map(Into::into), ttl.map(Duration::from_nanos));
        parts.priority = Priority::from_index(priority).unwrap();
        let encoded = Encoded { type_name: "t".into(), version: 3, codec, bytes: Bytes::from(payload) };
        AnyEvent::receive(parts, encoded).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn export_import_export_is_the_same_but_for_places_and_the_time_of_taking(
        events in prop::collection::vec(any_event(), 0..40),
    ) {
        let mut known = std::collections::HashSet::new();
        let events: Vec<_> = events.into_iter().filter(|event| known.insert(event.id())).collect();
        let (here, there) = (dir(), dir());
        let streams = || options().stream(Stream::new("all").capture("#").partitions(2));
        let (from, to) = (open(here.path(), streams()), open(there.path(), streams()));
        for event in &events {
            from.put(from.entry(event.clone(), false, at(0)).unwrap()).unwrap();
        }
        let first = exported(&from, all());
        prop_assert_eq!(first.lines().count(), events.len());
        let imported = to.import(Import::stream("all"), &mut first.as_bytes(), || at(9)).unwrap();
        prop_assert_eq!((imported.stored, imported.repeated), (events.len() as u64, 0));
        let second = exported(&to, all());
        prop_assert!(first.lines().map(content).eq(second.lines().map(content)), "{}\n{}", first, second);
        // And once more, within the window of ids: nothing is stored twice.
        let again = to.import(Import::stream("all"), &mut second.as_bytes(), || at(10)).unwrap();
        prop_assert_eq!((again.stored, again.repeated), (0, events.len() as u64));
        prop_assert_eq!(exported(&to, all()), second);
    }
}

#[test]
fn the_lines_of_an_export_are_what_they_were_in_every_version_before() {
    let dir = dir();
    let store = open(dir.path(), one());
    let metadata = Metadata::draft("shop", 2);
    let id = EventId::foreign("shop", "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1");
    let mut parts = Parts::new(
        id,
        Timestamp::from_nanos(1_760_000_000_000_000_000),
        Topic::new("orders.created").unwrap(),
        metadata,
    );
    (parts.key, parts.ttl) = (Some("A-1".into()), Some(Duration::from_secs(60)));
    parts.metadata.set("tenant", "eu");
    let json = |bytes: &'static str| Encoded {
        type_name: "order".into(),
        version: 2,
        codec: CodecId::Json,
        bytes: Bytes::from(bytes),
    };
    let raw = Encoded { codec: CodecId::Raw, ..json("raw") };
    for (id, encoded) in
        [(id, json("{\"id\": 7}")), (crate::world::id(1), json("{\n}")), (crate::world::id(2), raw)]
    {
        let mut parts = parts.clone();
        parts.id = id;
        let event = AnyEvent::receive(parts, encoded).unwrap();
        store.put(store.entry(event, false, at(0)).unwrap()).unwrap();
    }
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/export-v1.jsonl");
    assert_eq!(exported(&store, all()), fs::read_to_string(golden).unwrap());
}

#[test]
fn a_part_of_a_stream_is_exported_by_partition_offsets_and_filter() {
    let dir = dir();
    let streams = || options().stream(Stream::new("all").capture("#").partitions(2));
    let store = open(dir.path(), streams());
    for number in 0..100 {
        store.put(entry(&store, if number % 2 == 0 { "even" } else { "odd" }, number)).unwrap();
    }
    let count = |export: Export| exported(&store, export).lines().count() as u64;
    let (_, first) = store.bounds(0).unwrap();
    let (_, second) = store.bounds(1).unwrap();
    assert_eq!((count(all()), first + second), (100, 100));
    assert_eq!((count(all().partition(0)), count(all().partition(1))), (first, second));
    assert_eq!(count(all().partition(1).offsets(3..7)), 4);
    assert_eq!(count(all().filter(Filter::new("odd").unwrap())), 50);
    let mut sink = Vec::new();
    let result = store.export(all().partition(0).offsets(0..5), &mut sink).unwrap();
    assert_eq!((result.events, result.ends), (5, vec![(0, 5)]));
    let error = store.export(all().partition(2), &mut sink).unwrap_err();
    assert!(matches!(&error, ExportError::UnknownPartition { partition: 2, .. }), "{error}");
    let error = store.export(Export::stream("none"), &mut sink).unwrap_err();
    assert!(matches!(&error, ExportError::UnknownStream { .. }), "{error}");
}

#[test]
fn an_export_ends_where_the_stream_ended_when_it_began_and_names_what_is_gone() {
    let dir = dir();
    let store = open(
        dir.path(),
        options().stream(Stream::new("all").capture("#").retention(Retention::forever().count(20))),
    );
    store.put(entry(&store, "a", 0)).unwrap();
    let mut exporting = busway_persistence::Exporting::begin(&store, all()).unwrap();
    for number in 1..200 {
        store.put(entry(&store, "a", number)).unwrap();
    }
    let mut lines = Vec::new();
    while exporting.page(&store, &mut lines).unwrap() {}
    // Its only event has gone meanwhile.
    assert_eq!((lines.len(), exporting.exported().ends[..].to_vec()), (0, vec![(0, 1)]));
    let error = store.export(all().offsets(1..9), &mut lines).unwrap_err();
    assert!(
        matches!(&error, ExportError::Read { source: ReadError::BeforeStart { from: 1, .. }, .. }),
        "{error}"
    );
}

#[test]
fn a_damaged_record_ends_an_export_or_is_left_out_and_counted() {
    let dir = dir();
    let store = open(dir.path(), one());
    store.put_all((0..9).map(|number| entry(&store, "a", number)).collect()).unwrap();
    store.close();
    let file = dir.path().join("data.mdb");
    let mut bytes = fs::read(&file).unwrap();
    let places: Vec<_> =
        bytes.windows(8).enumerate().filter(|(_, found)| *found == b"00000004").map(|(at, _)| at).collect();
    places.into_iter().for_each(|place| bytes[place] ^= 1);
    fs::write(&file, bytes).unwrap();
    let store = open(dir.path(), one());
    let mut lines = Vec::new();
    let error = store.export(all(), &mut lines).unwrap_err();
    assert!(matches!(&error, ExportError::Read { source: ReadError::Corrupt(_), .. }), "{error}");
    assert_eq!(String::from_utf8_lossy(&lines).lines().count(), 4, "what lies before it is written");
    lines.clear();
    let result = store.export(all().damaged(Damaged::Skip), &mut lines).unwrap();
    assert_eq!((result.events, result.damaged), (8, 1));
}

#[test]
fn a_bad_line_ends_an_import_behind_all_before_it_or_is_skipped_and_told_of() {
    let (here, there) = (dir(), dir());
    let from = open(here.path(), one());
    for number in 0..6 {
        from.put(entry(&from, if number == 3 { "other.topic" } else { "a" }, number)).unwrap();
    }
    let lines: Vec<String> = exported(&from, all()).lines().map(str::to_owned).collect();
    // Another event under the id of event 0.
    let conflict = lines[1].replace(&id(1).to_string(), &id(0).to_string());
    let long = "x".repeat(LINE_BYTES_MAX + 1);
    let text = [&lines[0], "{", &lines[1], "", &conflict, &lines[3], &long, &lines[5], &lines[5]].join("\n");

    let streams = || options().stream(Stream::new("all").capture("a"));
    let to = open(there.path(), streams());
    let error = to.import(Import::stream("all"), &mut text.as_bytes(), || at(0)).unwrap_err();
    assert!(matches!(&error.source, ImportCause::Line(LineError::NoEvent(_))), "{error}");
    assert_eq!((error.line, error.imported.stored, to.bounds(0)), (2, 1, Some((0, 1))));

    let skipping = Import::stream("all").bad_lines(BadLines::Skip);
    let imported = to.import(skipping, &mut text.as_bytes(), || at(0)).unwrap();
    assert_eq!((imported.stored, imported.repeated, imported.skipped), (2, 2, 4));
    let mut bad: Vec<_> = imported.bad.iter().map(|bad| bad.line).collect();
    bad.sort_unstable();
    assert_eq!(bad, [2, 5, 6, 7]);
    let reason = |line| &imported.bad.iter().find(|bad| bad.line == line).unwrap().reason;
    assert!(matches!(reason(5), LineError::Conflict { .. }));
    assert!(matches!(reason(6), LineError::NotCaptured { .. }));
    assert!(matches!(reason(7), LineError::TooLong { .. }));
    let numbers: Vec<_> = to.all(0, 0).unwrap().into_iter().map(|(_, number)| number).collect();
    assert_eq!(numbers, [0, 1, 5]);
    let error = to.import(Import::stream("none"), &mut text.as_bytes(), || at(0)).unwrap_err();
    assert!(matches!(&error.source, ImportCause::UnknownStream { .. }), "{error}");
}

#[test]
fn a_conflict_in_the_middle_of_a_batch_ends_an_import_behind_all_before_it() {
    let (here, there) = (dir(), dir());
    let (from, to) = (open(here.path(), one()), open(there.path(), one()));
    for number in 0..6 {
        from.put(entry(&from, "a", number)).unwrap();
    }
    to.put(to.entry(event_with_id("a", 77, id(3)), true, at(0)).unwrap()).unwrap();
    let error =
        to.import(Import::stream("all"), &mut exported(&from, all()).as_bytes(), || at(0)).unwrap_err();
    assert!(matches!(&error.source, ImportCause::Line(LineError::Conflict { .. })), "{error}");
    assert_eq!((error.line, error.imported.stored, to.bounds(0)), (4, 3, Some((0, 4))));
}

#[test]
fn a_line_whose_id_waits_to_be_due_is_a_conflict_like_any_other() {
    let (here, there) = (dir(), dir());
    let (from, to) = (open(here.path(), one()), open(there.path(), one()));
    for number in 0..10 {
        from.put(entry(&from, "a", number)).unwrap();
    }
    let waiting = to.entry(event_with_id("a", 77, id(4)), true, at(0)).unwrap();
    to.put(waiting.wait_until(at(100), None)).unwrap();
    let text = exported(&from, all());
    let error = to.import(Import::stream("all"), &mut text.as_bytes(), || at(0)).unwrap_err();
    let due =
        |reason: &LineError| matches!(reason, LineError::ConflictScheduled { due, .. } if *due == at(100));
    assert!(matches!(&error.source, ImportCause::Line(reason) if due(reason)), "{error}");
    assert_eq!((error.line, error.imported.stored), (5, 4));
    let skipping = Import::stream("all").bad_lines(BadLines::Skip);
    let imported = to.import(skipping, &mut text.as_bytes(), || at(0)).unwrap();
    assert_eq!((imported.stored, imported.repeated, imported.skipped), (5, 4, 1));
    assert!(due(&imported.bad[0].reason), "{:?}", imported.bad);
}

#[test]
fn a_store_that_refuses_ends_an_import_with_the_line_and_what_was_done() {
    let (here, there) = (dir(), dir());
    let from = open(here.path(), one());
    from.put(entry(&from, "a", 0)).unwrap();
    let lines = exported(&from, all());
    let to = open(there.path(), one().reserve_bytes(0));
    to.close();
    let to = open(there.path(), one().reserve_bytes(u64::MAX));
    let error = to.import(Import::stream("all"), &mut lines.as_bytes(), || at(0)).unwrap_err();
    assert!(matches!(&error.source, ImportCause::Refused(Refusal::StorageFull { .. })), "{error}");
    assert_eq!((error.line, error.imported.stored), (1, 0));
}

#[test]
fn each_line_is_taken_when_it_is_stored_so_that_a_long_import_is_repeated_like_a_short_one() {
    let (here, there) = (dir(), dir());
    let from = open(here.path(), one());
    from.put_all((0..1_000).map(|number| entry(&from, "a", number)).collect()).unwrap();
    let text = exported(&from, all());
    let to = open(there.path(), one());
    // A minute a commit, of 256 lines: longer than ids are remembered, all in all.
    let mut minute = 0;
    let clock = || {
        minute += 1;
        at(60 * minute)
    };
    assert_eq!(to.import(Import::stream("all"), &mut text.as_bytes(), clock).unwrap().stored, 1_000);
    assert_eq!(minute, 5, "four with lines, and the end");
    let imported = to.import(Import::stream("all"), &mut text.as_bytes(), || at(60 * 4 + 1)).unwrap();
    // Those of the last two minutes, the third and the fourth, are remembered.
    assert_eq!((imported.stored, imported.repeated), (512, 488));
}
