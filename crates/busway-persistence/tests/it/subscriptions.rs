//! Durable subscriptions: where they stand outlives everything.

use busway_persistence::{Attempt, Cursor, DeadLetter, Parked, RequestError, Settlement, Store};

use crate::world::{Waiting, at, dir, entry, one, open};

fn filled(store: &Store, count: u64) {
    store.put_all((0..count).map(|number| entry(store, "a", number)).collect()).unwrap();
}

fn parked(offset: u64) -> Parked {
    let attempts = vec![Attempt { at: at(1), error: "no connection".to_owned() }].into();
    Parked { offset, due: at(60), lane: 7, attempts, attempt_count: 1 }
}

#[test]
fn a_subscription_resumes_where_it_stood() {
    let dir = dir();
    let store = open(dir.path(), one());
    filled(&store, 20);
    let made = store.join("stock", "a.#", vec![(0, 3)]).unwrap();
    assert_eq!((made.known, made.places[0].cursor.clone()), (false, Cursor::at(3)));
    let settlement =
        Settlement { settled: vec![(3, 5), (9, 12)], parked: vec![parked(7)], ..Default::default() };
    store.decide(made.number, settlement).unwrap();
    store.close();

    let store = open(dir.path(), one());
    let found = store.join("stock", "a.#", vec![(0, 0)]).unwrap();
    assert_eq!((found.known, found.number), (true, made.number));
    let place = &found.places[0];
    assert_eq!(place.cursor.low(), 5);
    assert!(place.cursor.runs().eq([(7, 8), (9, 12)]), "a parked event does not hold the cursor up");
    assert_eq!(place.parked, [parked(7)]);

    let released = Settlement { released: vec![7], settled: vec![(5, 9)], ..Default::default() };
    store.decide(found.number, released).unwrap();
    let again = store.join("stock", "a.#", vec![(0, 0)]).unwrap();
    assert_eq!(again.places[0].cursor, Cursor::at(12));
    assert!(again.places[0].parked.is_empty());
}

#[test]
fn two_subscriptions_stand_where_each_of_them_stands() {
    let dir = dir();
    let store = open(dir.path(), one());
    filled(&store, 10);
    let first = store.join("first", "#", vec![(0, 0)]).unwrap().number;
    let second = store.join("second", "#", vec![(0, 10)]).unwrap().number;
    assert_ne!(first, second);
    store.decide(first, Settlement { settled: vec![(0, 4)], ..Default::default() }).unwrap();
    store.close();
    let store = open(dir.path(), one());
    assert_eq!(store.join("first", "#", vec![(0, 0)]).unwrap().places[0].cursor, Cursor::at(4));
    assert_eq!(store.join("second", "#", vec![(0, 0)]).unwrap().places[0].cursor, Cursor::at(10));
}

#[test]
fn a_name_with_another_filter_is_an_error_that_names_both() {
    let dir = dir();
    let store = open(dir.path(), one());
    store.join("stock", "a.#", vec![(0, 0)]).unwrap();
    let error = store.join("stock", "b.#", vec![(0, 0)]).unwrap_err();
    assert!(matches!(error, RequestError::OtherFilter { .. }));
    assert_eq!(
        error.to_string(),
        "subscription stock was made with the filter a.#, not b.#; give the new one another name, or remove the old one"
    );
}

#[test]
fn a_seek_stands_within_the_log_and_parked_events_behind_it_are_given_again() {
    let dir = dir();
    let store = open(dir.path(), one());
    filled(&store, 10);
    let number = store.join("stock", "#", vec![(0, 0)]).unwrap().number;
    let settlement =
        Settlement { settled: vec![(0, 10)], parked: vec![parked(2), parked(8)], ..Default::default() };
    store.decide(number, settlement).unwrap();
    let error = store.go_to(number, 11).unwrap_err();
    assert_eq!(error, RequestError::OutsideOfLog { partition: 0, offset: 11, first: 0, next: 10 });
    store.go_to(number, 5).unwrap();
    store.close();
    let store = open(dir.path(), one());
    let place = store.join("stock", "#", vec![(0, 0)]).unwrap().places.remove(0);
    assert_eq!((place.cursor, place.parked), (Cursor::at(5), vec![parked(2)]));
}

#[test]
fn a_dead_letter_and_its_settlement_are_one() {
    let dir = dir();
    let store = open(dir.path(), one());
    filled(&store, 5);
    let number = store.join("stock", "#", vec![(0, 0)]).unwrap().number;
    store.decide(number, Settlement { parked: vec![parked(0)], ..Default::default() }).unwrap();
    let letter = DeadLetter {
        offset: 0,
        at: at(9),
        reason: "no such order".to_owned(),
        handler: "reserve".to_owned(),
        attempts: parked(0).attempts,
        attempt_count: 16,
    };
    store.decide(number, Settlement { dead: vec![letter], ..Default::default() }).unwrap();
    store.close();
    let store = open(dir.path(), one());
    let place = store.join("stock", "#", vec![(0, 0)]).unwrap().places.remove(0);
    assert_eq!((place.cursor, place.parked.len()), (Cursor::at(1), 0));
}

#[test]
fn a_subscription_that_is_removed_holds_nothing_and_its_name_is_free() {
    let dir = dir();
    let store = open(dir.path(), one());
    filled(&store, 5);
    let number = store.join("stock", "a.#", vec![(0, 0)]).unwrap().number;
    store.decide(number, Settlement { parked: vec![parked(1)], ..Default::default() }).unwrap();
    store.leave("stock").unwrap();
    assert_eq!(store.leave("stock"), Err(RequestError::UnknownName { name: "stock".to_owned() }));
    let late = store.decide(number, Settlement { settled: vec![(0, 1)], ..Default::default() });
    assert_eq!(late, Err(RequestError::UnknownSubscription { number }));
    store.close();
    let store = open(dir.path(), one());
    let made = store.join("stock", "other", vec![(0, 2)]).unwrap();
    assert_eq!(
        (made.known, made.places[0].cursor.clone(), made.places[0].parked.len()),
        (false, Cursor::at(2), 0)
    );
}

#[test]
fn one_of_a_name_is_found_as_it_stands_among_all_and_no_other() {
    let dir = dir();
    let store = open(dir.path(), one());
    filled(&store, 5);
    for name in ["first", "second"] {
        let number = store.join(name, "a.#", vec![(0, 0)]).unwrap().number;
        let settlement = Settlement { settled: vec![(2, 4)], parked: vec![parked(1)], ..Default::default() };
        store.decide(number, settlement).unwrap();
    }
    let all = store.subscriptions().unwrap();
    assert_eq!(all.len(), 2);
    for stored in all {
        assert_eq!((stored.standings[0].1.low(), stored.standings[0].2), (0, 1));
        assert_eq!(store.subscription(&stored.name).unwrap(), Some(stored));
    }
    for name in [String::new(), "f".to_owned(), "firsts".to_owned(), "x".repeat(600)] {
        assert_eq!(store.subscription(&name).unwrap(), None, "{name}");
    }
    store.leave("first").unwrap();
    assert_eq!(store.subscription("first").unwrap(), None);
    assert!(store.fault().is_none());
}

#[test]
fn names_that_cannot_be_are_refused_and_cost_nobody_anything() {
    let dir = dir();
    let store = open(dir.path(), one());
    for name in [String::new(), "x".repeat(256)] {
        assert_eq!(store.join(&name, "#", vec![(0, 0)]), Err(RequestError::Name { name }));
    }
    assert!(store.join(&"x".repeat(255), "#", vec![(0, 0)]).is_ok());
    assert!(store.fault().is_none());
}

#[test]
fn more_than_is_kept_of_errors_is_cut_and_the_store_opens_again() {
    let dir = dir();
    let store = open(dir.path(), one());
    filled(&store, 5);
    let number = store.join("stock", "#", vec![(0, 0)]).unwrap().number;
    let attempts =
        (0..100).map(|second| Attempt { at: at(second), error: "\u{fc}".repeat(100_000) }).collect();
    let parked = Parked { attempts, ..parked(1) };
    store.decide(number, Settlement { parked: vec![parked], ..Default::default() }).unwrap();
    store.close();
    let store = open(dir.path(), one());
    let found = store.join("stock", "#", vec![(0, 0)]).unwrap().places.remove(0).parked.remove(0);
    assert_eq!((found.attempts.len(), found.attempts[15].at), (16, at(99)));
    assert!(found.attempts.iter().all(|attempt| attempt.error.len() == 4_096));
}
