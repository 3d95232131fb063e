//! Deaths of processes, and what is held against whom. A death is a copy of the directory of a store that is open: what a process that
//! dies then leaves.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use busway_persistence::{
    Attempts, DeadLetter, OnSettled, Position, Quarantine, Registered, RequestError, Settlement, Store,
};
use tempfile::TempDir;

use crate::world::{Waiting, at, dir, entry, one, open};

/// What is left when the process dies now.
fn death(of: &Path) -> TempDir {
    let left = dir();
    for name in ["manifest", "data.mdb", "busway.open"] {
        fs::copy(of.join(name), left.path().join(name)).unwrap();
    }
    left
}

fn reader(store: &Store) -> Registered {
    store.join("reader", "#", vec![(0, 0)]).unwrap()
}

fn marked(store: &Store, reader: u32, offset: u64) -> Result<(), RequestError> {
    let (answer, answered) = mpsc::channel();
    let done: OnSettled = Box::new(move |result| answer.send(result).unwrap());
    store.mark(reader, Position { partition: 0, offset }, (1, at(5)), done);
    answered.recv().unwrap()
}

fn quarantined(store: &Store, reader: u32, offset: u64) {
    let letter = DeadLetter {
        offset,
        at: at(9),
        reason: "quarantined".to_owned(),
        handler: "reserve".to_owned(),
        attempts: Attempts::NONE,
        attempt_count: 1,
    };
    let (answer, answered) = mpsc::channel();
    let done: OnSettled = Box::new(move |result| answer.send(result).unwrap());
    store.quarantine(reader, 0, (letter, REASON), done);
    answered.recv().unwrap().unwrap();
}

/// The subscription has handled events of these offsets, the end excluded.
fn settled(store: &Store, reader: u32, run: (u64, u64)) {
    store.decide(reader, Settlement { settled: vec![run], ..Settlement::default() }).unwrap();
}

const REASON: Quarantine = Quarantine {
    deaths: 3,
    attempt: 1,
    begun: busway_event::Timestamp::from_nanos(1_700_000_005_000_000_000),
};

/// A store with three events of which none is handled, and what is left of it behind so many deaths.
fn behind(deaths: u32) -> TempDir {
    let first = dir();
    let store = open(first.path(), one());
    store.put_all((0..3).map(|number| entry(&store, "a", number)).collect()).unwrap();
    reader(&store);
    let mut left = death(first.path());
    for count in 1..deaths {
        let store = open(left.path(), one());
        assert_eq!(reader(&store).deaths, count);
        left = death(left.path());
    }
    left
}

#[test]
fn deaths_without_progress_are_counted_and_one_with_progress_takes_the_count_back() {
    let left = behind(2);
    let store = open(left.path(), one());
    let two = reader(&store);
    assert_eq!((two.deaths, two.mark), (2, None));
    settled(&store, two.number, (0, 1));
    let left = death(left.path());
    let store = open(left.path(), one());
    assert_eq!(reader(&store).deaths, 0);
    // Nothing is left of it to do.
    settled(&store, two.number, (1, 3));
    let left = death(left.path());
    let store = open(left.path(), one());
    reader(&store);
    let left = death(left.path());
    assert_eq!(reader(&open(left.path(), one())).deaths, 0, "it had nothing to do");
}

#[test]
fn what_a_subscription_only_passes_over_is_no_progress() {
    let left = behind(2);
    let store = open(left.path(), one());
    let number = reader(&store).number;
    let passed = Settlement { settled: vec![(1, 3)], passes_only: true, ..Settlement::default() };
    store.decide(number, passed).unwrap();
    let left = death(left.path());
    assert_eq!(reader(&open(left.path(), one())).deaths, 3);
}

#[test]
fn a_death_under_a_mark_counts_whatever_was_settled_before_it() {
    let left = behind(2);
    let store = open(left.path(), one());
    let number = reader(&store).number;
    settled(&store, number, (0, 1));
    marked(&store, number, 1).unwrap();
    let left = death(left.path());
    let found = reader(&open(left.path(), one()));
    assert_eq!((found.deaths, found.mark.map(|mark| mark.offset)), (3, Some(1)));
}

#[test]
fn a_mark_is_no_evidence_while_its_process_lives_nor_when_its_subscription_has_left() {
    let left = behind(3);
    let store = open(left.path(), one());
    let number = reader(&store).number;
    marked(&store, number, 0).unwrap();
    assert_eq!(reader(&store).mark, None, "nobody has died of it");
    store.detach(number, at(60));
    store.decide(store.join("other", "#", vec![(0, 0)]).unwrap().number, Settlement::default()).unwrap();
    let left = death(left.path());
    assert_eq!(reader(&open(left.path(), one())).mark, None);
}

#[test]
fn a_death_concerns_whom_it_found_attended_and_nobody_else() {
    let left = behind(2);
    let store = open(left.path(), one());
    let other = store.join("other", "#", vec![(0, 0)]).unwrap();
    assert_eq!(other.deaths, 0);
    let left = death(left.path());
    let store = open(left.path(), one());
    assert_eq!(reader(&store).deaths, 2, "it was not attended in that life, and its count stays");
    assert_eq!(store.join("other", "#", vec![(0, 0)]).unwrap().deaths, 1);
    // One that gets on hides nothing of the other.
    settled(&store, other.number, (0, 1));
    let left = death(left.path());
    let store = open(left.path(), one());
    assert_eq!(reader(&store).deaths, 3);
    assert_eq!(store.join("other", "#", vec![(0, 0)]).unwrap().deaths, 0);
}

#[test]
fn an_opening_that_ends_by_itself_takes_the_counts_back() {
    let left = behind(2);
    open(left.path(), one()).close();
    let store = open(left.path(), one());
    assert_eq!(reader(&store).deaths, 0);
    let left = death(left.path());
    assert_eq!(reader(&open(left.path(), one())).deaths, 1, "counted anew");
}

#[test]
fn a_mark_outlives_its_process_and_falls_with_the_decision_about_its_event() {
    let left = behind(2);
    let store = open(left.path(), one());
    let number = reader(&store).number;
    settled(&store, number, (0, 1));
    marked(&store, number, 1).unwrap();
    let left = death(left.path());
    let store = open(left.path(), one());
    let found = reader(&store);
    let mark = found.mark.unwrap();
    assert_eq!((mark.partition, mark.offset, mark.attempt, mark.at), (0, 1, 1, at(5)));
    assert_eq!(found.deaths, 3, "it had got on, and died all the same with an event under its mark");
    settled(&store, number, (0, 2));
    assert_eq!(reader(&store).mark, None);
    let left = death(left.path());
    let store = open(left.path(), one());
    let found = reader(&store);
    assert_eq!((found.deaths, found.mark), (0, None));
    // A mark of a life that ended by itself means nothing later.
    marked(&store, number, 2).unwrap();
    store.close();
    assert_eq!(reader(&open(left.path(), one())).mark, None);
    let store = open(dir().path(), one());
    assert_eq!(marked(&store, 9, 0), Err(RequestError::UnknownSubscription { number: 9 }));
}

#[test]
fn what_is_set_aside_its_settlement_its_mark_and_the_count_are_one() {
    let left = behind(2);
    let store = open(left.path(), one());
    let number = reader(&store).number;
    marked(&store, number, 0).unwrap();
    let left = death(left.path());
    let store = open(left.path(), one());
    assert_eq!(reader(&store).deaths, 3);
    quarantined(&store, number, 0);
    let found = reader(&store);
    assert_eq!((found.deaths, found.mark, found.places[0].cursor.low()), (0, None, 1));
    settled(&store, number, (1, 2));
    // Finished already: it is no dead letter.
    quarantined(&store, number, 1);
    let left = death(left.path());
    let store = open(left.path(), one());
    let found = reader(&store);
    assert_eq!((found.deaths, found.mark, found.places[0].cursor.low()), (0, None, 2));
    let [letter] = &store.dead_letters(number, 10).unwrap()[..] else { panic!("another count") };
    assert_eq!((letter.partition, letter.letter.offset, letter.quarantine), (0, 0, Some(REASON)));
    assert!(store.dead_letters(number, 0).unwrap().is_empty());
}

#[test]
fn nothing_of_it_is_a_commit_of_its_own_while_nobody_dies() {
    let dir = dir();
    let store = open(dir.path(), one());
    store.put_all((0..3).map(|number| entry(&store, "a", number)).collect()).unwrap();
    let number = reader(&store).number;
    settled(&store, number, (0, 1));
    store.close();
    let bytes = || fs::read(dir.path().join("data.mdb")).unwrap();
    let before = bytes();
    assert!(!dir.path().join("busway.open").exists());
    let store = open(dir.path(), one());
    assert!(dir.path().join("busway.open").exists());
    reader(&store);
    assert!(bytes() == before, "opened and taken up without a commit");
    store.close();
    assert!(bytes() == before, "closed without one");
    // The control: a commit is seen.
    let store = open(dir.path(), one());
    settled(&store, number, (1, 2));
    store.close();
    assert!(bytes() != before);
}

#[test]
fn a_subscription_that_is_removed_leaves_no_count_to_who_gets_its_number() {
    let left = behind(2);
    let store = open(left.path(), one());
    let number = reader(&store).number;
    marked(&store, number, 0).unwrap();
    store.leave("reader").unwrap();
    let again = reader(&store);
    assert_eq!((again.number, again.deaths, again.mark), (number, 0, None));
}

#[test]
fn when_a_subscription_was_last_attended_outlives_its_process_to_the_hour() {
    let dir = dir();
    let attended = |store: &Store| store.subscriptions().unwrap()[0].attended;
    let store = open(dir.path(), one());
    store.retain(at(0));
    let number = reader(&store).number;
    assert_eq!(attended(&store), Some(at(0)));
    store.put_all((0..3).map(|number| entry(&store, "a", number)).collect()).unwrap();
    store.retain(at(3_000));
    settled(&store, number, (0, 1));
    assert_eq!(attended(&store), Some(at(3_000)), "with the first settlement");
    store.retain(at(6_599));
    settled(&store, number, (1, 2));
    assert_eq!(attended(&store), Some(at(3_000)), "within an hour nothing is written");
    store.retain(at(6_600));
    settled(&store, number, (2, 3));
    assert_eq!(attended(&store), Some(at(6_600)));
    // Taken up until the end, though nothing of it was stored.
    store.retain(at(100_000));
    store.close();
    let store = open(dir.path(), one());
    assert_eq!(attended(&store), Some(at(100_000)));
    reader(&store);
    store.retain(at(200_000));
    store.detach(number, at(200_000));
    store.retain(at(900_000));
    store.close();
    let store = open(dir.path(), one());
    assert_eq!(attended(&store), Some(at(200_000)), "not attended since");
    // Nobody attends it; others go on.
    store.retain(at(1_000_000));
    store.put(entry(&store, "a", 9)).unwrap();
    assert_eq!(attended(&store), Some(at(200_000)));
}
