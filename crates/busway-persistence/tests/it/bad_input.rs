//! What cannot be opened, and what is damaged: a typed error with the path and the remedy; nothing made, nothing deleted.

use std::fs;

use busway_persistence::{OpenError, ReadError, Store, StoreOptions, Stream, StreamProblem};

use crate::world::{Waiting, dir, entry, one, open, options};

fn refusal(path: &std::path::Path, options: StoreOptions) -> OpenError {
    Store::open(path, options).unwrap_err()
}

#[test]
fn streams_that_cannot_be_are_listed_before_anything_is_made() {
    let dir = dir();
    let path = dir.path().join("store");
    let streams = options()
        .stream(Stream::new("a").capture("x.#").partitions(0))
        .stream(Stream::new("b").capture("x.y"));
    let error = refusal(&path, streams);
    let OpenError::Streams { problems, .. } = &error else { panic!("{error}") };
    assert_eq!(problems.len(), 2, "{error}");
    assert!(error.to_string().contains("stream \"a\": it has 0 partitions, of 1 to 64"), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_stream_with_other_partitions_is_an_error_and_the_store_is_as_it_was() {
    let dir = dir();
    let store = open(dir.path(), one());
    store.put(entry(&store, "a", 7)).unwrap();
    store.close();
    let error = refusal(dir.path(), options().stream(Stream::new("all").capture("#").partitions(2)));
    let OpenError::Streams { problems, .. } = &error else { panic!("{error}") };
    assert_eq!(problems[..], [("all".to_owned(), StreamProblem::OtherPartitions { stored: 1, asked: 2 })]);
    assert_eq!(open(dir.path(), one()).all(0, 0).unwrap(), [(0, 7)]);
}

#[test]
fn a_stream_that_is_no_longer_declared_can_be_read_and_takes_nothing() {
    let dir = dir();
    let store = open(dir.path(), one());
    store.put(entry(&store, "a", 7)).unwrap();
    store.close();
    let store = open(dir.path(), options().stream(Stream::new("other").capture("a")));
    assert_eq!(store.all(0, 0).unwrap(), [(0, 7)]);
    assert_eq!(store.put(entry(&store, "a", 8)).unwrap().partition, 1);
}

#[test]
fn a_second_open_names_the_owner() {
    let dir = dir();
    let store = open(dir.path(), one());
    let error = refusal(dir.path(), one());
    let OpenError::Locked { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, Some(std::process::id()));
    store.close();
    open(dir.path(), one());
}

#[test]
fn a_directory_that_is_no_store_is_left_as_it_is() {
    let dir = dir();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    assert!(matches!(refusal(dir.path(), one()), OpenError::NotAStore { .. }));
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["notes.txt"]);
}

#[test]
fn a_pack_whose_head_is_damaged_costs_its_own_records_and_no_place() {
    let dir = dir();
    let store = open(dir.path(), one());
    for numbers in [0..9, 9..13] {
        store.put_all(numbers.map(|number| entry(&store, "a", number)).collect()).unwrap();
    }
    store.close();
    // The heads of the two packs: version, flags, checksum, and how many records they hold.
    let file = dir.path().join("data.mdb");
    let mut bytes = fs::read(&file).unwrap();
    for at in 0..bytes.len().saturating_sub(8) {
        if bytes[at..].starts_with(&[0x81, 0]) && bytes[at + 6..].starts_with(&[4, 0]) {
            bytes[at + 3] ^= 1;
        }
    }
    fs::write(&file, bytes).unwrap();

    let store = open(dir.path(), one());
    assert_eq!(store.bounds(0), Some((0, 13)), "the key of the last pack says where the log ends");
    assert_eq!(store.put(entry(&store, "a", 13)).unwrap().offset, 13);
    assert_eq!(store.page(0, 0, None).unwrap().next, 9);
    for offset in 9..13 {
        let ReadError::Corrupt(corrupt) = store.page(0, offset, None).unwrap_err() else {
            panic!("{offset}")
        };
        assert_eq!(corrupt.place, format!("record {offset} of partition 0"));
        assert!(
            corrupt.reason.starts_with("the pack that holds it cannot be read: its checksum is"),
            "{corrupt}"
        );
    }
    assert_eq!(store.all(0, 13).unwrap(), [(13, 13)]);
    let verified = store.verify().unwrap();
    assert_eq!((verified.events, verified.damaged_count), (10, 4));
}

#[test]
fn a_damaged_record_is_named_and_its_neighbours_are_served() {
    let dir = dir();
    let store = open(dir.path(), one());
    let batch = (0..9).map(|number| entry(&store, "a", number)).collect();
    store.put_all(batch).unwrap();
    store.close();
    // The payload of event 4: eight digits that are found once in the file.
    let file = dir.path().join("data.mdb");
    let mut bytes = fs::read(&file).unwrap();
    let places: Vec<_> =
        bytes.windows(8).enumerate().filter(|(_, found)| *found == b"00000004").map(|(at, _)| at).collect();
    for place in places {
        bytes[place] ^= 1;
    }
    fs::write(&file, bytes).unwrap();

    let store = open(dir.path(), one());
    let before = store.page(0, 0, None).unwrap();
    assert_eq!((before.events.len(), before.next), (4, 4));
    let error = store.page(0, 4, None).unwrap_err();
    let ReadError::Corrupt(corrupt) = error else { panic!("{error}") };
    assert_eq!(corrupt.place, "record 4 of partition 0");
    assert_eq!(store.all(0, 5).unwrap().len(), 4);
    let verified = store.verify().unwrap();
    assert_eq!((verified.events, verified.damaged_count, verified.damaged), (8, 1, vec![corrupt]));
    assert_eq!(store.put(entry(&store, "a", 9)).unwrap().offset, 9);
}
