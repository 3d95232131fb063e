//! Ids that are given twice, and what finds no room.

use std::time::Duration;

use busway_persistence::{
    AppendError, Appended, AtCap, CAP_BYTES_MIN, Entry, Refusal, RequestError, Retention, Store, Stream,
    TransactError, TxError, WriteTables as _,
};

use super::{Scheduling, later, published, waiting};
use crate::world::{at, dir, entry, event, event_with_id, id, one, open, options};

fn refusal<T: std::fmt::Debug>(result: Result<T, AppendError>) -> Refusal {
    match result.unwrap_err() {
        AppendError::Refused { reason, .. } => reason,
        unknown @ AppendError::Unknown { .. } => panic!("{unknown}"),
        other => panic!("{other}"),
    }
}

#[test]
fn an_id_given_twice_waits_once_and_is_remembered_when_it_has_fired() {
    let dir = dir();
    let mut store = open(dir.path(), one());
    let given = |store: &Store, seconds, due: Option<i64>| {
        let entry = store.entry(event_with_id("a", 7, id(7)), true, at(seconds)).unwrap();
        match due {
            Some(due) => entry.wait_until(at(due), Some(Duration::from_secs(1))),
            None => entry,
        }
    };
    assert_eq!(store.schedule(vec![given(&store, 0, Some(500))]).unwrap(), [Some(at(500))]);
    store.close();
    store = open(dir.path(), one());
    // Whatever is asked for now, and for as long as it waits: the first receipt holds.
    assert_eq!(store.schedule(vec![given(&store, 400, Some(900))]).unwrap(), [Some(at(500))]);
    assert_eq!(store.schedule(vec![given(&store, 401, None)]).unwrap(), [Some(at(500))]);
    let other = store.entry(event_with_id("a", 8, id(7)), true, at(402)).unwrap();
    assert_eq!(refusal(store.schedule(vec![other])), Refusal::ConflictScheduled { id: id(7), due: at(500) });
    assert_eq!(waiting(&store), [500]);

    assert_eq!(store.fire_all(500), 1);
    for (seconds, due) in [(501, None), (502, Some(900)), (619, None)] {
        assert_eq!(store.schedule(vec![given(&store, seconds, due)]).unwrap(), [None], "it is in the log");
    }
    assert_eq!((published(&store, 0), waiting(&store)), (vec![7], vec![]));
    // Behind the window, which began when it fired, it is an event like any other.
    assert_eq!(store.schedule(vec![given(&store, 621, Some(700))]).unwrap(), [Some(at(700))]);
    assert_eq!((store.fire_all(700), published(&store, 0)), (1, vec![7, 7]));
}

#[test]
fn more_than_may_wait_is_refused_and_what_leaves_makes_room() {
    let dir = dir();
    let limited = || one().scheduled_max(3, 1 << 20);
    let store = open(dir.path(), limited());
    store.schedule((0..2).map(|number| later(&store, number, 10)).collect()).unwrap();
    let reason = refusal(store.schedule((2..4).map(|number| later(&store, number, 10)).collect()));
    let Refusal::ScheduleFull { events: 2, events_max: 3, .. } = reason else { panic!("{reason}") };
    assert_eq!(waiting(&store).len(), 2, "a batch is all or nothing");
    store.schedule(vec![later(&store, 2, 10)]).unwrap();
    store.close();
    let store = open(dir.path(), limited());
    refusal(store.schedule(vec![later(&store, 3, 10)]));
    store.schedule(vec![entry(&store, "a", 9)]).unwrap();
    store.take_back(id(0)).unwrap();
    store.schedule(vec![later(&store, 3, 10)]).unwrap();
    assert_eq!(store.fire_all(10), 3);
    store.schedule((4..7).map(|number| later(&store, number, 10)).collect()).unwrap();
    store.close();

    let store = open(dir.path(), one().scheduled_max(100, 1_000));
    let large = store.entry(event("a.b", 7, 900), false, at(0)).unwrap().wait_until(at(10), None);
    let reason = refusal(store.schedule(vec![large]));
    let Refusal::ScheduleFull { bytes, bytes_max: 1_000, .. } = reason else { panic!("{reason}") };
    assert!((100..1_000).contains(&bytes), "{bytes}");
}

#[test]
fn what_is_larger_than_its_partition_may_grow_to_is_refused_and_holds_up_no_other() {
    let dir = dir();
    let open = |cap| {
        let capped = Retention::forever().cap(cap, AtCap::DropOldest);
        open(dir.path(), options().stream(Stream::new("all").capture("#").retention(capped)))
    };
    let (small, large) = (CAP_BYTES_MIN, 4 * CAP_BYTES_MIN);
    let length = usize::try_from(small).unwrap() + 1_000;
    let entry = |store: &Store, number, length, due| {
        store.entry(event("a", number, length), false, at(0)).unwrap().wait_until(at(due), None)
    };
    let store = open(small);
    let reason = refusal(store.schedule(vec![entry(&store, 0, length, 1)]));
    let Refusal::Capped { cap, .. } = reason else { panic!("{reason}") };
    assert_eq!((cap, waiting(&store)), (small, vec![]));
    store.close();
    // Taken in under a cap that it fits, due under one that it does not.
    let store = open(large);
    store.schedule(vec![entry(&store, 1, length, 1), entry(&store, 2, 8, 2)]).unwrap();
    store.close();
    let store = open(small);
    let fired = store.fire_from(9, 9, None).unwrap();
    assert_eq!((fired.events, fired.held, published(&store, 0), waiting(&store)), (1, 1, vec![2], vec![1]));
    store.close();
    let store = open(large);
    assert_eq!((store.fire_all(9), published(&store, 0), waiting(&store)), (1, vec![2, 1], vec![]));
}

#[test]
fn what_is_due_for_a_full_partition_waits_in_order_and_others_go() {
    let dir = dir();
    let capped = Retention::forever().cap(256 << 10, AtCap::RefusePublish);
    let streams = || {
        options()
            .stream(Stream::new("full").capture("full.#").retention(capped))
            .stream(Stream::new("free").capture("free.#"))
    };
    let store = open(dir.path(), streams());
    let reader = crate::world::Waiting::join(&store, "reader", "full.#", vec![(0, 0)]).unwrap().number;
    let entry = |topic: &str, number, len, due| {
        store.entry(event(topic, number, len), false, at(0)).unwrap().wait_until(at(due), None)
    };
    store.schedule((0..5).map(|number| entry("full.a", number, 60_000, 1)).collect()).unwrap();
    // Small enough to fit, and behind the one that does not: it must not overtake.
    store.schedule(vec![entry("full.a", 5, 8, 3), entry("free.a", 6, 8, 4)]).unwrap();
    let (mut fired, mut events) = (store.fire_from(9, 1, None).unwrap(), 0);
    while fired.rest.is_some() {
        events += fired.events;
        fired = store.fire_from(9, 1, fired.rest).unwrap();
    }
    assert_eq!(
        (events + fired.events, published(&store, 0), published(&store, 1)),
        (5, vec![0, 1, 2, 3], vec![6])
    );
    let fired = store.fire_from(9, 9, None).unwrap();
    assert_eq!((fired.events, fired.held, fired.next), (0, 2, None));

    let settled = busway_persistence::Settlement { settled: vec![(0, 1)], ..Default::default() };
    crate::world::Waiting::decide(&store, reader, settled).unwrap();
    store.close();
    let wider = Retention::forever().cap(1 << 20, AtCap::RefusePublish);
    let store = open(dir.path(), options().stream(Stream::new("full").capture("full.#").retention(wider)));
    assert_eq!((store.fire_all(9), published(&store, 0)), (2, vec![0, 1, 2, 3, 4, 5]));
}

#[test]
fn with_less_than_the_reserve_nothing_is_scheduled_or_fired_and_all_of_it_waits() {
    let dir = dir();
    let store = open(dir.path(), one());
    store.schedule(vec![later(&store, 1, 10), later(&store, 2, 10)]).unwrap();
    store.close();
    let store = open(dir.path(), one().reserve_bytes(u64::MAX));
    assert!(matches!(refusal(store.schedule(vec![later(&store, 3, 10)])), Refusal::StorageFull { .. }));
    let error = store.fire_from(10, 9, None).unwrap_err();
    assert!(matches!(error, RequestError::Refused(Refusal::StorageFull { .. })), "{error}");
    // What frees space is done all the same.
    assert_eq!(store.take_back(id(2)).unwrap(), Some(at(10)));
    assert_eq!((published(&store, 0), waiting(&store)), (vec![], vec![10]));
    store.close();
    let store = open(dir.path(), one());
    assert_eq!((store.fire_all(10), published(&store, 0)), (1, vec![1]));
}

#[test]
fn the_map_grows_under_a_schedule_and_nothing_is_lost_or_doubled() {
    let dir = dir();
    let store = open(dir.path(), one());
    let large =
        |number| store.entry(event("a.b", number, 30_000), false, at(0)).unwrap().wait_until(at(10), None);
    // Thirty times the map that the store begins with.
    for first in (0..1_000).step_by(50) {
        store.schedule((first..first + 50).map(large).collect()).unwrap();
    }
    assert_eq!(store.fire_all(10), 1_000);
    assert_eq!(published(&store, 0), (0..1_000).collect::<Vec<_>>());
    assert!(waiting(&store).is_empty());
}

#[test]
fn a_transaction_schedules_with_the_rest_or_not_at_all() {
    let dir = dir();
    let store = open(dir.path(), one().table("counts").scheduled_max(2, 1 << 20));
    let counts = store.table("counts").unwrap();
    let transact = |numbers: &'static [u64], gives_up: bool| {
        let (answer, answered) = std::sync::mpsc::channel();
        let work = move |tx: &mut busway_persistence::Tx<'_>| {
            tx.put_bytes(counts, b"n", &[1])?;
            for &number in numbers {
                tx.append_later(event("a.b", number, 8), false, at(0), (at(10), None))?;
            }
            if gives_up { Err(TxError::other("no")) } else { Ok(()) }
        };
        let done = Box::new(move |result| answer.send(result).unwrap());
        store.transact(Box::new(work), done).unwrap();
        let due = |appended: Appended| appended.entries().iter().filter_map(Entry::due).collect::<Vec<_>>();
        answered.recv().unwrap().map(due)
    };
    assert!(transact(&[1], true).is_err());
    let refused = transact(&[1, 2, 3], false).unwrap_err();
    let TransactError::Request(RequestError::Refused(Refusal::ScheduleFull { events: 0, .. })) = refused
    else {
        panic!("{refused}")
    };
    assert_eq!((waiting(&store), store.get(counts, b"n").unwrap()), (vec![], None));
    assert_eq!(transact(&[1, 2], false).unwrap(), [at(10), at(10)], "they wait");
    assert_eq!((store.fire_all(10), published(&store, 0)), (2, vec![1, 2]));
    // What the refused ones would have taken of the bounds is free.
    assert_eq!(transact(&[3, 4], false).unwrap().len(), 2);
}
