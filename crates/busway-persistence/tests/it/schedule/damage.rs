//! Damaged rows of the schedule: named, set aside, and in nobody's way.

use std::fs;
use std::path::Path;

use super::{Scheduling, later, published};
use crate::world::{Waiting, at, dir, entry, event_with_id, id, one, open};

/// Flips a bit wherever these bytes are in the store's file.
fn flip(dir: &Path, found: &[u8], at: usize) -> usize {
    let file = dir.join("data.mdb");
    let mut bytes = fs::read(&file).unwrap();
    let places: Vec<_> =
        bytes.windows(found.len()).enumerate().filter(|(_, here)| *here == found).map(|(at, _)| at).collect();
    for &place in &places {
        bytes[place + at] ^= 1;
    }
    fs::write(&file, bytes).unwrap();
    places.len()
}

#[test]
fn a_damaged_event_is_set_aside_with_a_reason_and_the_others_are_published() {
    let dir = dir();
    let store = open(dir.path(), one());
    store.schedule((0..5).map(|number| later(&store, number, 10)).collect()).unwrap();
    store.close();
    // The payload of event 2: eight digits.
    assert!(flip(dir.path(), b"00000002", 0) > 0);
    let store = open(dir.path(), one());
    let listed = store.scheduled(10).unwrap();
    assert_eq!((listed.events.len(), listed.damaged.len()), (4, 1));
    let fired = store.fire_from(10, 10, None).unwrap();
    assert_eq!((fired.events, fired.damaged, fired.rest), (4, 1, None));
    assert_eq!(published(&store, 0), [0, 1, 3, 4]);
    let listed = store.scheduled(10).unwrap();
    assert_eq!(listed.events, []);
    let reason = listed.damaged[0].to_string();
    assert!(
        reason.starts_with("scheduled event 2, due 2023-11-14T22:13:30Z is damaged: its checksum is"),
        "{reason}"
    );
    assert_eq!(store.fire_from(10, 10, None).unwrap().damaged, 0, "it was set aside once");
    assert_eq!((store.due(id(2)).unwrap(), store.take_back(id(2)).unwrap()), (None, None));
    store.close();
    // It takes nothing of what may wait, and its number is not given again.
    let store = open(dir.path(), one().scheduled_max(1, 1 << 20));
    store.schedule(vec![later(&store, 7, 10)]).unwrap();
    assert_eq!(store.fire_all(10), 1);
}

#[test]
fn an_event_whose_due_time_was_changed_is_not_published_at_a_wrong_time() {
    let dir = dir();
    let store = open(dir.path(), one());
    store.schedule(vec![later(&store, 2, 500), later(&store, 1, 600)]).unwrap();
    store.close();
    // The key of event 2's row and record: kind, due, number. A bit of the due time, so that it comes earlier.
    let due = (at(500).as_nanos().cast_unsigned() ^ (1 << 63)).to_be_bytes();
    let key = [&[0], &due[..], &0_u64.to_be_bytes()].concat();
    let mut bytes = fs::read(dir.path().join("data.mdb")).unwrap();
    let places: Vec<_> = bytes
        .windows(key.len())
        .enumerate()
        .filter(|(_, here)| **here == key[..])
        .map(|(at, _)| at)
        .collect();
    assert!(places.len() >= 2, "row and record");
    for place in places {
        bytes[place + 1] &= 0x7f;
    }
    fs::write(dir.path().join("data.mdb"), bytes).unwrap();
    let store = open(dir.path(), one());
    let fired = store.fire_from(10, 10, None).unwrap();
    assert_eq!((fired.events, fired.damaged, fired.next), (0, 1, Some(at(600))));
    assert_eq!((store.fire_all(600), published(&store, 0)), (1, vec![1]));
}

#[test]
fn an_id_whose_row_is_damaged_says_so_and_its_event_is_published() {
    let dir = dir();
    let store = open(dir.path(), one());
    let given = store.entry(event_with_id("a", 7, id(7)), true, at(0)).unwrap().wait_until(at(10), None);
    store.schedule(vec![given]).unwrap();
    store.close();
    // The key that leads from the id to its row; the row is right behind it.
    let key = [&[1], &id(7).as_uuid().as_bytes()[..], &[0; 4]].concat();
    assert!(flip(dir.path(), &key, key.len() + 8) > 0);
    let store = open(dir.path(), one());
    assert!(store.due(id(7)).is_err() && store.take_back(id(7)).is_err());
    assert_eq!(store.scheduled(9).unwrap().events.len(), 1);
    // Its number is known from its place: another one does not take it.
    store.schedule(vec![later(&store, 8, 10)]).unwrap();
    assert_eq!((store.fire_all(10), published(&store, 0)), (2, vec![7, 8]));
    assert_eq!(store.due(id(7)).unwrap(), None);
    assert_eq!(store.put(entry(&store, "a", 9)).unwrap().offset, 2);
}
