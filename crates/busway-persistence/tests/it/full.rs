//! A store that is full to its last page: what takes away still works, and then there is room again.

use std::ops::Range;
use std::sync::mpsc;
use std::time::Duration;

use busway_persistence::{
    AppendError, Attempts, Parked, Refusal, Retention, Settlement, Store, StoreOptions, Stream,
};

use crate::letters::letter;
use crate::world::{Waiting, at, dir, event, open, options};

const LIMIT: u64 = 4 << 20;
/// The limit, and the reserve above it.
const END: u64 = LIMIT + (1 << 20);

fn limited() -> StoreOptions {
    let stream = Stream::new("all").capture("#").retention(Retention::forever().count(1_500));
    options().stream(stream).tail(1, 1 << 20).bytes_max(LIMIT)
}

/// Publishes until nothing has room, not the smallest event either: the next number.
fn fill(store: &Store, mut number: u64) -> u64 {
    for (at_a_time, len) in [(100, 700), (1, 700), (1, 8)] {
        let refused = loop {
            match put(store, number..number + at_a_time, len) {
                Ok(()) => number += at_a_time,
                Err(error) => break error,
            }
        };
        let AppendError::Refused { reason, .. } = refused else { panic!("{refused}") };
        assert_eq!(reason, Refusal::StoreFull { limit: LIMIT });
    }
    number
}

fn put(store: &Store, numbers: Range<u64>, len: usize) -> Result<(), AppendError> {
    let entries = numbers.map(|number| store.entry(event("a", number, len), true, at(0)).unwrap());
    store.put_all(entries.collect()).map(drop)
}

/// Lets what has expired go, and waits for it.
fn retain(store: &Store) {
    store.retain(at(1));
    let (answer, answered) = mpsc::channel();
    store.flush(Box::new(move |result| answer.send(result).unwrap()));
    answered.recv().unwrap().unwrap();
}

#[test]
fn a_store_that_is_full_settles_lets_go_and_takes_events_again() {
    let dir = dir();
    let mut number = 0;
    for round in 0..4 {
        let store = open(dir.path(), limited());
        let subscription = store.join("slow", "#", vec![(0, 0)]).unwrap().number;
        let begun = number;
        number = fill(&store, number);
        assert!(number > begun + 500, "round {round}: {begun} to {number}");
        let (first, next) = store.bounds(0).unwrap();
        // One at a time, each in a commit of its own, then all.
        for offset in first..first + 50 {
            let settled = vec![(offset, offset + 1)];
            store.decide(subscription, Settlement { settled, ..Default::default() }).unwrap();
        }
        store.decide(subscription, Settlement { settled: vec![(0, next)], ..Default::default() }).unwrap();
        put(&store, number..number + 1, 700).unwrap();
        assert!(store.bounds(0).unwrap().0 > first, "nothing was let go: {first}..{next}");
        number += 1;
        let bytes = std::fs::metadata(dir.path().join("data.mdb")).unwrap().len();
        assert!(bytes <= END, "{bytes}");
        assert!(store.fault().is_none());
    }
}

#[test]
fn dead_letters_do_not_use_up_what_retention_needs() {
    let dir = dir();
    let store = open(dir.path(), limited());
    let subscription = store.join("failing", "#", vec![(0, 0)]).unwrap().number;
    store.join("slow", "#", vec![(0, 0)]).unwrap();
    let number = fill(&store, 0);
    let (first, next) = store.bounds(0).unwrap();
    // Each letter is a copy of its event. Some have room, until nothing has.
    let mut refused = None;
    for offset in first..next {
        let dead = vec![letter(offset)];
        if let Err(error) = store.decide(subscription, Settlement { dead, ..Default::default() }) {
            refused = Some(error);
            break;
        }
    }
    assert!(refused.is_some(), "the reserve has no end");
    assert_eq!(store.bounds(0), Some((first, next)), "the slow one needs them all");
    // Who gives its place up lets the events go, and there is room.
    store.leave("failing").unwrap();
    store.leave("slow").unwrap();
    retain(&store);
    assert!(store.bounds(0).unwrap().0 > first, "nothing was let go: {first}..{next}");
    put(&store, number..number + 1, 700).unwrap();
}

#[test]
fn time_that_passes_makes_room() {
    let dir = dir();
    let stream =
        Stream::new("all").capture("#").retention(Retention::forever().age(Duration::from_secs(140)));
    let store = open(dir.path(), options().stream(stream).tail(1, 1 << 20).bytes_max(LIMIT));
    let put = |number: u64, second: u64, len: usize| {
        let time = at(i64::try_from(second).unwrap());
        store.put(store.entry(event("a", number, len), true, time).unwrap())
    };
    let mut number = 0;
    for len in [20_000, 700, 8] {
        while put(number, number.min(120), len).is_ok() {
            number += 1;
        }
    }
    // Later: it is the publish itself that lets the others go.
    assert_eq!(put(number, 400, 20_000).unwrap().offset, number);
    assert!(store.bounds(0).unwrap().0 > 20);
}

#[test]
fn what_settlements_leave_free_is_not_for_who_adds() {
    let dir = dir();
    let store = open(dir.path(), limited());
    let subscription = store.join("parking", "#", vec![(0, 0)]).unwrap().number;
    let number = fill(&store, 0);
    for offset in 0..200 {
        let parked = Parked { offset, due: at(1), lane: 1, attempts: Attempts::NONE, attempt_count: 1 };
        store.decide(subscription, Settlement { parked: vec![parked], ..Default::default() }).unwrap();
        let error = put(&store, number..number + 20, 700).unwrap_err();
        assert!(matches!(error, AppendError::Refused { reason: Refusal::StoreFull { .. }, .. }), "{error}");
    }
    assert!(store.fault().is_none());
}
