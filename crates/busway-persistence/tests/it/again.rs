//! Batches that are applied more than once, or refused after they were applied: nothing of an attempt is left behind.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use busway_persistence::{
    AppendError, Attempts, Cursor, Parked, Refusal, Settlement, Store, WriteTables as _,
};

use crate::world::{Waiting, at, dir, entry, event, one, open};

fn parked(offset: u64) -> Parked {
    Parked { offset, due: at(60), lane: 7, attempts: Attempts::NONE, attempt_count: 1 }
}

/// Holds the writer, so that what is asked for until the sender is dropped is one batch.
fn hold(store: &Store) -> mpsc::Sender<()> {
    let (go_on, waiting) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    store.flush(Box::new(move |_| {
        begun.send(()).unwrap();
        _ = waiting.recv();
    }));
    has_begun.recv().unwrap();
    go_on
}

/// Asks for more than the map has room for.
fn too_much(store: &Store) -> Receiver<Result<(), AppendError>> {
    let (answer, answered) = mpsc::channel();
    let entries = (100..130).map(|number| store.entry(event("big", number, 60_000), false, at(0)).unwrap());
    let done = Box::new(move |result: Result<_, _>| answer.send(result.map(drop)).unwrap());
    store.append_batch(entries.collect(), done).unwrap();
    answered
}

#[test]
fn what_was_released_in_a_batch_that_is_applied_again_stays_released() {
    let dir = dir();
    let store = open(dir.path(), one());
    store.put_all((0..9).map(|number| entry(&store, "a", number)).collect()).unwrap();
    let number = store.join("stock", "#", vec![(0, 0)]).unwrap().number;
    store.decide(number, Settlement { parked: vec![parked(3), parked(7)], ..Default::default() }).unwrap();
    let go_on = hold(&store);
    let (answer, released) = mpsc::channel();
    let settlement = Settlement { released: vec![7], settled: vec![(0, 3)], ..Default::default() };
    store.settle(number, 0, settlement, Some(Box::new(move |result| answer.send(result).unwrap()))).unwrap();
    let grown = too_much(&store);
    drop(go_on);
    released.recv().unwrap().unwrap();
    grown.recv().unwrap().unwrap();
    store.close();
    let place = open(dir.path(), one()).join("stock", "#", vec![(0, 0)]).unwrap().places.remove(0);
    assert_eq!((place.cursor.low(), place.parked), (4, vec![parked(3)]));
}

#[test]
fn what_is_refused_for_want_of_room_leaves_nothing_behind() {
    let dir = dir();
    let limited = || one().table("effects").bytes_max(1 << 20);
    let store = open(dir.path(), limited());
    store.put_all((0..9).map(|number| entry(&store, "a", number)).collect()).unwrap();
    let number = store.join("stock", "#", vec![(0, 0)]).unwrap().number;
    let effects = store.table("effects").unwrap();
    let go_on = hold(&store);
    let (answer, transacted) = mpsc::channel();
    let asked = store.transact(
        Box::new(move |tx| {
            tx.settle(number, 0, Settlement { settled: vec![(0, 5)], ..Default::default() });
            tx.put_bytes(effects, b"done", &vec![1; 900_000])
        }),
        Box::new(move |result| answer.send(result.map(drop).map_err(|error| error.to_string())).unwrap()),
    );
    asked.unwrap();
    let appended = too_much(&store);
    drop(go_on);
    assert!(transacted.recv().unwrap().unwrap_err().contains("grown to its limit"));
    let error = appended.recv().unwrap().unwrap_err();
    assert!(matches!(error, AppendError::Refused { reason: Refusal::StoreFull { .. }, .. }), "{error}");
    // The effect is not there, so neither is the settlement; and the store goes on.
    assert_eq!(store.put(entry(&store, "a", 9)).unwrap().offset, 9);
    assert!(store.fault().is_none());
    store.close();
    let store = open(dir.path(), limited());
    let place = store.join("stock", "#", vec![(0, 9)]).unwrap().places.remove(0);
    assert_eq!((place.cursor, store.get(effects, b"done").unwrap()), (Cursor::at(0), None));
}

#[test]
fn entries_of_another_opening_are_refused() {
    let dir = dir();
    let store = open(dir.path(), one());
    let old = entry(&store, "a.new.topic", 1);
    store.close();
    let store = open(dir.path(), one());
    let error = store.put(old).unwrap_err();
    let AppendError::Refused { mut entries, reason: Refusal::OtherOpening } = error else {
        panic!("{error}")
    };
    let again = store.entry(entries.remove(0).into_event(), false, at(0)).unwrap();
    assert_eq!(store.put(again).unwrap().offset, 0);
    assert_eq!(store.all(0, 0).unwrap(), [(0, 1)]);
}

#[test]
fn a_callback_that_panics_costs_the_others_nothing() {
    let dir = dir();
    let store = open(dir.path(), one().on_commit(|| panic!("a bug")));
    let (answer, answered) = mpsc::channel();
    store.append(entry(&store, "a", 0), Box::new(|_| panic!("another"))).unwrap();
    store
        .append(entry(&store, "a", 1), Box::new(move |result| answer.send(result.is_ok()).unwrap()))
        .unwrap();
    assert!(answered.recv().unwrap());
    assert_eq!(store.put(entry(&store, "a", 2)).unwrap().offset, 2);
}

#[test]
fn a_store_whose_last_handle_is_dropped_by_a_callback_ends() {
    let dir = dir();
    let store = Arc::new(open(dir.path(), one()));
    let entry = entry(&store, "a", 0);
    let (ended, end) = mpsc::channel::<()>();
    let (last, held) = (Arc::clone(&store), Arc::new(Mutex::new(Some(ended))));
    let go_on = hold(&store);
    let ended = Arc::clone(&held);
    store
        .append(
            entry,
            Box::new(move |_| {
                drop(last);
                drop(ended);
            }),
        )
        .unwrap();
    drop((store, held));
    drop(go_on);
    assert!(end.recv().is_err(), "the callback ran to its end");
}
