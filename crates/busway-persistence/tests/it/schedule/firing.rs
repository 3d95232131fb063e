//! What is due goes into the log: in order, once, across restarts.

use busway_event::{EventId, Timestamp};
use busway_persistence::{ReadLimits, Store, Stream};

use super::{Scheduling, id_of, later, minutes, published, waiting};
use crate::world::{Waiting, at, dir, entry, event, event_with_id, id, one, open, options};

#[test]
fn what_is_due_is_published_in_the_order_of_the_due_times_and_once() {
    let dir = dir();
    let store = open(dir.path(), one());
    let answered =
        store.schedule(vec![later(&store, 3, 30), later(&store, 1, 10), later(&store, 2, 10)]).unwrap();
    assert_eq!(answered, [Some(at(30)), Some(at(10)), Some(at(10))]);
    assert_eq!((published(&store, 0), waiting(&store)), (vec![], vec![10, 10, 30]));
    let fired = store.fire_from(9, 100, None).unwrap();
    assert_eq!((fired.events, fired.next), (0, Some(at(10))));
    let fired = store.fire_from(10, 100, None).unwrap();
    assert_eq!((fired.events, fired.held, fired.rest, fired.next), (2, 0, None, Some(at(30))));
    assert_eq!(published(&store, 0), [1, 2], "of the same due time the first that was scheduled comes first");
    assert_eq!(store.fire_all(10), 0);
    assert_eq!((store.fire_all(1_000), published(&store, 0)), (1, vec![1, 2, 3]));
    assert_eq!(store.fire_from(2_000, 100, None).unwrap().next, None);
}

#[test]
fn it_has_the_offset_and_the_time_of_when_it_fired_and_is_the_event_that_was_scheduled() {
    let dir = dir();
    let store = open(dir.path(), one());
    // In chunks: the payload is larger than a page.
    let large = event("a.b", 7, 20_000);
    let entry_of_large = store.entry(large.clone(), false, at(0)).unwrap().wait_until(at(60), None);
    store.schedule(vec![entry_of_large]).unwrap();
    store.put(entry(&store, "a", 1)).unwrap();
    store.close();
    let store = open(dir.path(), one().tail(0, 0));
    assert_eq!(store.fire_all(61), 1);
    let page = store.read(0, 1, None, ReadLimits::default()).unwrap();
    let stored = &page.events[0];
    assert_eq!((stored.offset, stored.appended, stored.given_id), (1, at(61), false));
    assert_eq!((id_of(&stored.event), stored.event.time()), (large.id(), at(0)));
    assert_eq!(stored.event.encoded(1 << 20).unwrap(), large.encoded(1 << 20).unwrap());
    assert_eq!(store.due(large.id()).unwrap(), None);
    assert!(store.verify().unwrap().is_sound());
}

#[test]
fn however_long_it_waited_it_is_found_by_the_id_that_busway_made() {
    let dir = dir();
    let store = open(dir.path(), one());
    let made = |second: u64| {
        let time = uuid::Timestamp::from_unix_time(1_700_000_000 + second, 0, 0, 0);
        EventId::new(uuid::Uuid::new_v7(time))
    };
    let late = event_with_id("a.b", 1, made(0));
    let entry_of_late = store.entry(late.clone(), false, at(0)).unwrap().wait_until(at(86_400), None);
    store.schedule(vec![entry_of_late]).unwrap();
    // More than are looked at before it is clear that all of them came later than an event of that id could.
    let others = (0..20_000).map(|number| store.entry(event("a.b", number, 8), false, at(3_600)).unwrap());
    store.put_all(others.collect()).unwrap();
    assert_eq!(store.fire_all(86_400), 1);
    let offset = |store: &Store, id| store.lookup(id).unwrap().map(|place| place.offset);
    assert_eq!((offset(&store, late.id()), offset(&store, made(0))), (Some(20_000), None));
    store.close();
    let store = open(dir.path(), one());
    assert_eq!(offset(&store, late.id()), Some(20_000));
    let page = store.read(0, 20_000, None, ReadLimits::default()).unwrap();
    assert!(!page.events[0].given_id, "nobody gave it");
    // Who gives it all the same, to the same event, is told its place.
    let given = |number| store.entry(event_with_id("a.b", number, late.id()), true, at(86_401)).unwrap();
    assert_eq!(store.put(given(1)).unwrap().offset, 20_000);
    assert!(store.put(given(2)).is_err());
    assert!(store.verify().unwrap().is_sound());
}

#[test]
fn at_whatever_point_the_store_is_closed_each_event_is_published_once() {
    let dir = dir();
    for number in 0..12 {
        let store = open(dir.path(), one());
        store.schedule(vec![later(&store, number, 10)]).unwrap();
        store.close();
    }
    let store = open(dir.path(), one());
    assert_eq!(waiting(&store).len(), 12);
    store.close();
    // A little at a time, and asked twice.
    for round in 1..=12 {
        let store = open(dir.path(), one());
        let fired = store.fire_from(10, 1, None).unwrap();
        assert_eq!((fired.events, fired.rest.is_some()), (1, round < 12));
        store.close();
    }
    let store = open(dir.path(), one());
    assert_eq!((store.fire_all(1_000), published(&store, 0)), (0, (0..12).collect()));
    assert!(waiting(&store).is_empty());
}

#[test]
fn a_request_moves_a_bounded_number_and_says_where_the_next_goes_on() {
    let dir = dir();
    let store = open(dir.path(), one());
    store.schedule((0..250).map(|number| later(&store, number, 10)).collect()).unwrap();
    let fired = store.fire_from(10, 100, None).unwrap();
    assert_eq!(fired.events, 100);
    let fired = store.fire_from(10, 200, fired.rest).unwrap();
    assert_eq!((fired.events, fired.rest), (150, None));
    assert_eq!(published(&store, 0), (0..250).collect::<Vec<_>>());
}

#[test]
fn of_large_events_a_request_moves_few_and_none_is_passed_over() {
    let dir = dir();
    let store = open(dir.path(), one());
    let large = |number| {
        let entry = store.entry(event("a.b", number, 60_000), false, at(0)).unwrap();
        entry.wait_until(at(10), None)
    };
    store.schedule((0..150).map(large).collect()).unwrap();
    let (mut moved, mut rest) = (Vec::new(), None);
    loop {
        let fired = store.fire_from(10, 1_000, rest).unwrap();
        moved.push(fired.events);
        let Some(more) = fired.rest else { break };
        rest = Some(more);
    }
    assert_eq!((moved.len(), moved.iter().sum()), (3, 150), "{moved:?}");
    assert_eq!(published(&store, 0), (0..150).collect::<Vec<_>>());
}

#[test]
fn events_beside_each_other_in_a_batch_go_into_the_log_or_wait() {
    let dir = dir();
    let store = open(dir.path(), one());
    let answered =
        store.schedule(vec![entry(&store, "a", 0), later(&store, 1, 5), entry(&store, "a", 2)]).unwrap();
    assert_eq!(answered, [None, Some(at(5)), None]);
    assert_eq!((published(&store, 0), waiting(&store)), (vec![0, 2], vec![5]));
}

#[test]
fn an_event_is_taken_back_or_published_and_never_both() {
    let dir = dir();
    let store = open(dir.path(), one());
    store.schedule((0..4).map(|number| later(&store, number, 10)).collect()).unwrap();
    assert_eq!(store.take_back(id(1)).unwrap(), Some(at(10)));
    assert_eq!(store.take_back(id(1)).unwrap(), None, "it is gone");
    assert_eq!(store.take_back(id(99)).unwrap(), None);
    assert_eq!(store.due(id(2)).unwrap(), Some(at(10)));
    assert_eq!(store.fire_from(10, 1, None).unwrap().events, 1);
    assert_eq!(store.take_back(id(0)).unwrap(), None, "it is in the log");
    store.close();
    let store = open(dir.path(), one());
    assert_eq!((store.fire_all(10), published(&store, 0)), (2, vec![0, 2, 3]));
}

#[test]
fn what_no_stream_captures_any_more_waits_and_holds_up_nobody() {
    let dir = dir();
    let both = || options().stream(Stream::new("a").capture("a.#")).stream(Stream::new("b").capture("b.#"));
    let store = open(dir.path(), both());
    let first = store.entry(event("a.b", 1, 8), false, at(0)).unwrap().wait_until(at(1), None);
    let second = store.entry(event("b.b", 2, 8), false, at(0)).unwrap().wait_until(at(2), None);
    store.schedule(vec![first, second]).unwrap();
    store.close();
    let store = open(dir.path(), options().stream(Stream::new("b").capture("b.#")));
    let fired = store.fire_from(9, 10, None).unwrap();
    assert_eq!((fired.events, fired.uncaptured, fired.next), (1, 1, None));
    assert_eq!(published(&store, 1), [2]);
    store.close();
    let store = open(dir.path(), both());
    assert_eq!((store.fire_all(9), published(&store, 0)), (1, vec![1]));
}

#[test]
fn a_delay_that_was_begun_by_a_clock_far_ahead_begins_anew_and_a_time_that_was_named_stays() {
    let dir = dir();
    let store = open(dir.path(), one());
    let day = 86_400;
    let scheduled = |number, by_clock: i64, due, delay| {
        store.entry(event("a.b", number, 8), false, at(by_clock)).unwrap().wait_until(at(due), delay)
    };
    let entries = vec![
        scheduled(1, day, day + 60, Some(minutes(1))),
        scheduled(2, day, day + 60, None),
        // Within what clocks are apart.
        scheduled(3, 3_000, 3_060, Some(minutes(1))),
        // By a schedule that did not go back with the wall clock.
        scheduled(4, 0, day + 120, Some(minutes(2))),
    ];
    store.schedule(entries).unwrap();
    store.close();
    let store = open(dir.path(), one());
    store.clock_is(0).unwrap();
    assert_eq!(waiting(&store), [60, 120, 3_060, day + 60]);
    assert_eq!((store.due(id(1)).unwrap(), store.due(id(2)).unwrap()), (Some(at(60)), Some(at(day + 60))));
    assert_eq!((store.fire_all(60), published(&store, 0)), (1, vec![1]));
    store.clock_is(0).unwrap();
    store.close();
    let store = open(dir.path(), one());
    assert_eq!((store.fire_all(2 * day), published(&store, 0)), (3, vec![1, 4, 3, 2]));
}

#[test]
fn due_times_before_the_epoch_and_at_the_end_of_time_keep_their_order() {
    let dir = dir();
    let store = open(dir.path(), one());
    for (number, nanos) in [(4, i64::MAX), (2, 0), (1, -1), (0, i64::MIN), (3, 1)] {
        let due = Timestamp::from_nanos(nanos);
        let entry = store.entry(event("a.b", number, 8), false, at(0)).unwrap().wait_until(due, None);
        store.schedule(vec![entry]).unwrap();
    }
    assert_eq!((store.fire_all(0), published(&store, 0)), (4, vec![0, 1, 2, 3]));
    assert_eq!(store.scheduled(9).unwrap().events[0].due, Timestamp::from_nanos(i64::MAX));
}
