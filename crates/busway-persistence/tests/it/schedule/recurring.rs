//! Schedules by name: a tick and the time of the next one are one commit.

use busway_persistence::{Recurring, Refusal, RequestError};

use super::{Scheduling, published};
use crate::world::{at, dir, event_with_id, id, one, open};

fn rule(text: &str, next: i64) -> Recurring {
    Recurring { rule: text.to_owned(), next: at(next), changed: at(0) }
}

#[test]
fn a_tick_is_stored_with_the_next_one_and_a_caller_who_is_late_changes_nothing() {
    let dir = dir();
    let store = open(dir.path(), one());
    let tick = |number| vec![store.entry(event_with_id("a", number, id(number)), true, at(10)).unwrap()];
    assert_eq!(store.recurring("nightly").unwrap(), None);
    assert_eq!(store.change("nightly", None, Some(rule("daily", 10)), Vec::new()).unwrap(), 0);
    assert_eq!(store.recurring("nightly").unwrap(), Some(rule("daily", 10)));
    assert_eq!(
        store.change("nightly", Some(rule("daily", 10)), Some(rule("daily", 20)), tick(1)).unwrap(),
        1
    );
    // A second timer, or one that was not told: the tick at 10 is over.
    let late =
        store.change("nightly", Some(rule("daily", 10)), Some(rule("daily", 20)), tick(2)).unwrap_err();
    assert_eq!(late, RequestError::ScheduleMoved { name: "nightly".to_owned() });
    let twice = store.change("nightly", None, Some(rule("weekly", 20)), Vec::new()).unwrap_err();
    assert!(matches!(twice, RequestError::ScheduleMoved { .. }));
    store.close();

    let store = open(dir.path(), one());
    assert_eq!(
        (store.recurring("nightly").unwrap(), published(&store, 0)),
        (Some(rule("daily", 20)), vec![1])
    );
    assert_eq!(store.recurring_names(9).unwrap(), ["nightly"]);
    assert_eq!(store.change("nightly", Some(rule("daily", 20)), None, Vec::new()).unwrap(), 0);
    assert_eq!((store.recurring("nightly").unwrap(), store.recurring_names(9).unwrap().len()), (None, 0));
}

#[test]
fn a_tick_that_is_refused_leaves_the_schedule_as_it_was() {
    let dir = dir();
    let store = open(dir.path(), one());
    store.change("a", None, Some(rule("daily", 10)), Vec::new()).unwrap();
    store.close();
    let store = open(dir.path(), one().reserve_bytes(u64::MAX));
    let entry = store.entry(event_with_id("a", 1, id(1)), true, at(10)).unwrap();
    let refused =
        store.change("a", Some(rule("daily", 10)), Some(rule("daily", 20)), vec![entry]).unwrap_err();
    assert!(matches!(refused, RequestError::Refused(Refusal::StorageFull { .. })), "{refused}");
    assert_eq!((store.recurring("a").unwrap(), published(&store, 0)), (Some(rule("daily", 10)), vec![]));
}

#[test]
fn names_of_schedules_are_bounded() {
    let dir = dir();
    let store = open(dir.path(), one());
    for len in [0, 256] {
        let refused = store.change(&"x".repeat(len), None, Some(rule("daily", 1)), Vec::new()).unwrap_err();
        assert_eq!(refused, RequestError::ScheduleName { len });
    }
    store.change(&"x".repeat(255), None, Some(rule("daily", 1)), Vec::new()).unwrap();
}
