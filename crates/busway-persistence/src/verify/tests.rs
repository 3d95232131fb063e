//! A row that lists segments is damaged while the store is open.

use std::io;
use std::sync::mpsc;

use busway_event::{AnyEvent, Event, EventId, Filter, Metadata, Raw, Stamp, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::append::Position;
use crate::export::{Damaged, Export, ExportError};
use crate::layout::slot_key;
use crate::{Audit, StoreOptions, Stream};

fn event(number: u64) -> AnyEvent {
    let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
    let metadata = Metadata::draft("test", 1).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("test", &number.to_string()), now, &metadata);
    let topic = if number.is_multiple_of(2) { "a" } else { "b" };
    Event::new(topic, Raw::from(vec![7; 600])).finish(&stamp).unwrap().into()
}

/// Two streams of a partition each, with 200 events each, of which the first is audited, and one bit of the row of its only segment is
/// flipped.
fn damaged() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let streams = [Stream::new("one").capture("a").audit(Audit::forever()), Stream::new("two").capture("b")];
    let options = StoreOptions::new().map_bytes(1 << 20).reserve_bytes(0).tail(10, 1 << 20);
    let store = Store::open(dir.path(), streams.into_iter().fold(options, StoreOptions::stream)).unwrap();
    let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
    let entries = (0..400).map(|number| store.entry(event(number), false, now).unwrap()).collect();
    let (answer, answered) = mpsc::channel();
    store.append_batch(entries, Box::new(move |result| answer.send(result.map(drop)).unwrap())).unwrap();
    answered.recv().unwrap().unwrap();
    assert!(store.verify().unwrap().is_sound());
    let shared = store.shared();
    // Nobody asks the writer for anything meanwhile.
    let flipped = shared.gate.write(|mut txn| {
        let (segments, key) = (shared.databases.segments, slot_key(0, 0));
        let mut row = segments.get(&txn, &key)?.unwrap().to_vec();
        row[9] ^= 4;
        segments.put(&mut txn, &key, &row)?;
        txn.commit()
    });
    flipped.unwrap().unwrap();
    (dir, store)
}

fn refuses<T: std::fmt::Debug>(read: Result<T, ReadError>) {
    let error = read.unwrap_err();
    assert!(matches!(&error, ReadError::Storage { .. }) && error.to_string().contains("segment"), "{error}");
}

#[test]
fn behind_a_damaged_list_of_segments_nothing_is_said_of_its_records() {
    let (_dir, store) = damaged();
    let shared = store.shared();
    for from in [0, 100] {
        refuses(shared.read_stored(0, from, ReadLimits::default()));
        assert_eq!(
            shared.read_stored(1, from, ReadLimits { events: 100, bytes: 1 << 20 }).unwrap().next,
            from + 100
        );
    }
    // As subscriptions read, that are behind.
    refuses(store.read(0, 0, Some(&Filter::new("a").unwrap()), ReadLimits::default()));
    let places = [0, 7, 100].map(|offset| Position { partition: 0, offset });
    store.read_each(&places).into_iter().for_each(refuses);
    let skipping = Export::stream("one").damaged(Damaged::Skip);
    let error = store.export(skipping, &mut io::sink()).unwrap_err();
    assert!(matches!(&error, ExportError::Read { source: ReadError::Storage { .. }, .. }), "{error}");
}

#[test]
fn a_damaged_list_of_segments_is_told_of_once_and_all_else_is_verified() {
    let (_dir, store) = damaged();
    let verified = store.verify().unwrap();
    assert_eq!((verified.events, verified.damaged_count), (200, 1), "{verified:?}");
    assert!(verified.damaged[0].place.starts_with("segment under "), "{verified:?}");
}
