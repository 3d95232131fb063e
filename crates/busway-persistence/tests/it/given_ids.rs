//! Ids that publishers give: the same event is stored once.

use std::time::Duration;

use busway_event::{AnyEvent, EventId};
use busway_persistence::{AppendError, Entry, Refusal, Store};

use crate::world::{Waiting, at, dir, event, id, one, open};

fn given(store: &Store, event: AnyEvent, seconds: i64) -> Entry {
    store.entry(event, true, at(seconds)).unwrap()
}

#[test]
fn an_id_given_twice_has_its_first_place_also_after_a_restart() {
    let dir = dir();
    let store = open(dir.path(), one());
    let first = store.put(given(&store, event("a", 1, 8), 0)).unwrap();
    store.put(given(&store, event("a", 2, 8), 0)).unwrap();
    assert_eq!(store.put(given(&store, event("a", 1, 8), 60)).unwrap(), first);
    store.close();
    let store = open(dir.path(), one());
    assert_eq!(store.put(given(&store, event("a", 1, 8), 119)).unwrap(), first);
    assert_eq!(store.all(0, 0).unwrap().len(), 2);
    // Behind its window it is another event.
    assert_eq!(store.put(given(&store, event("a", 1, 8), 121)).unwrap().offset, 2);
}

#[test]
fn an_id_given_to_another_event_is_refused_and_nothing_of_its_batch_is_stored() {
    let dir = dir();
    let store = open(dir.path(), one());
    let first = store.put(given(&store, event("a", 1, 8), 0)).unwrap();
    let batch = vec![given(&store, event("a", 5, 8), 1), given(&store, event("a", 1, 9), 1)];
    let error = store.put_all(batch).unwrap_err();
    let AppendError::Refused { entries, reason } = error else { panic!("{error}") };
    assert_eq!(reason, Refusal::Conflict { id: id(1), first });
    assert_eq!(entries.len(), 2);
    assert_eq!(store.all(0, 0).unwrap().len(), 1);
}

#[test]
fn a_batch_with_an_id_that_is_there_gives_its_first_place() {
    let dir = dir();
    let store = open(dir.path(), one());
    let first = store.put(given(&store, event("a", 1, 8), 0)).unwrap();
    let batch = vec![given(&store, event("a", 2, 8), 1), given(&store, event("a", 1, 8), 1)];
    let places = store.put_all(batch).unwrap();
    assert_eq!((places[0].offset, places[1]), (1, first));
    let twice = vec![given(&store, event("a", 7, 8), 1), given(&store, event("a", 7, 8), 1)];
    let error = store.put_all(twice).unwrap_err();
    assert!(matches!(error, AppendError::Refused { reason: Refusal::TwiceInBatch { .. }, .. }), "{error}");
}

#[test]
fn ids_that_were_not_given_are_not_looked_for() {
    let dir = dir();
    let store = open(dir.path(), one().id_window(Duration::MAX));
    for offset in 0..3 {
        let entry = store.entry(event("a", 1, 8), false, at(0)).unwrap();
        assert_eq!(store.put(entry).unwrap().offset, offset);
    }
    assert_eq!(store.all(0, 0).unwrap().len(), 3);
    assert_ne!(id(1), EventId::foreign("test", "2"));
}
