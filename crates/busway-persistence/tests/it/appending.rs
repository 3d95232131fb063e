//! Appending: what was acknowledged is there, once, in order, whatever happened beside it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use busway_persistence::{AppendError, Refusal, Store, Stream};

use crate::world::{Waiting, at, dir, entry, event, one, open, options};

#[test]
fn offsets_rise_without_a_gap_and_outlive_the_store() {
    let dir = dir();
    let store = open(dir.path(), one());
    for number in 0..10 {
        let position = store.put(entry(&store, "a.b", number)).unwrap();
        assert_eq!((position.partition, position.offset), (0, number));
    }
    let batch = (10..50).map(|number| entry(&store, "a.c", number)).collect();
    let positions = store.put_all(batch).unwrap();
    assert!(positions.iter().map(|position| position.offset).eq(10..50));
    let expected: Vec<_> = (0..50).map(|number| (number, number)).collect();
    assert_eq!(store.all(0, 0).unwrap(), expected);
    let id = store.id();
    store.close();

    let store = open(dir.path(), one());
    assert_eq!(store.id(), id);
    assert_eq!(store.all(0, 0).unwrap(), expected);
    assert_eq!(store.put(entry(&store, "a.b", 50)).unwrap().offset, 50);
}

#[test]
fn many_publishers_share_commits_and_each_keeps_its_order() {
    let dir = dir();
    let commits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&commits);
    let store =
        Arc::new(open(dir.path(), one().on_commit(move || _ = counted.fetch_add(1, Ordering::Relaxed))));
    thread::scope(|scope| {
        for publisher in 0..8 {
            let store = &store;
            scope.spawn(move || {
                let (answer, answered) = mpsc::channel();
                for number in 0..200 {
                    let answer = answer.clone();
                    let entry = entry(store, "a", publisher * 1_000 + number);
                    store
                        .append(entry, Box::new(move |result| answer.send(result.unwrap()).unwrap()))
                        .unwrap();
                }
                let offsets: Vec<_> = answered
                    .iter()
                    .take(200)
                    .map(|stored| stored.positions().next().unwrap().offset)
                    .collect();
                assert!(offsets.is_sorted(), "answered in the order in which they were asked");
            });
        }
    });
    let all = store.all(0, 0).unwrap();
    assert_eq!(all.len(), 1_600);
    for publisher in 0..8 {
        let its_own = all.iter().map(|(_, number)| *number).filter(|number| number / 1_000 == publisher);
        assert!(its_own.eq((0..200).map(|number| publisher * 1_000 + number)));
    }
    assert!(
        commits.load(Ordering::Relaxed) < 800,
        "{} commits for 1,600 events",
        commits.load(Ordering::Relaxed)
    );
}

#[test]
fn partitions_hold_keys_together_and_a_batch_may_go_to_several() {
    let dir = dir();
    let stream = || Stream::new("orders").capture("orders.#").partitions(4);
    let store = open(dir.path(), options().stream(stream()).stream(Stream::new("rest").capture("x")));
    let batch = (0..40).map(|number| entry(&store, "orders.new", number)).collect();
    let positions = store.put_all(batch).unwrap();
    for (number, position) in positions.iter().enumerate() {
        let other = positions[number % 5];
        assert_eq!(position.partition, other.partition, "events of one key lie in one partition");
    }
    let rest = store.put(entry(&store, "x", 0)).unwrap();
    assert_eq!((rest.partition, rest.offset), (4, 0));
    let stored: usize = (0..4).map(|partition| store.all(partition, 0).unwrap().len()).sum();
    assert_eq!(stored, 40);
    assert_eq!((store.partitions("orders"), store.partitions("rest")), (Some(0..4), Some(4..5)));
}

#[test]
fn the_map_grows_under_publishers_and_nothing_is_lost_or_doubled() {
    let dir = dir();
    let store = Arc::new(open(dir.path(), one()));
    // 1 MiB of map, and some 12 MiB of events, from eight threads at once.
    thread::scope(|scope| {
        for publisher in 0..8_u64 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..50 {
                    let batch = (0..4).map(|part| {
                        let number = publisher * 10_000 + number * 10 + part;
                        store.entry(event("big", number, 8_000), false, at(0)).unwrap()
                    });
                    store.put_all(batch.collect()).unwrap();
                }
            });
        }
    });
    let mut numbers: Vec<_> = store.all(0, 0).unwrap().into_iter().map(|(_, number)| number).collect();
    assert_eq!(numbers.len(), 1_600);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 1_600);
}

#[test]
fn a_store_at_its_limit_refuses_publishes_gives_them_back_and_still_settles() {
    let dir = dir();
    let store = open(dir.path(), one().bytes_max(2 << 20));
    let subscription = store.join("audit", "#", vec![(0, 0)]).unwrap().number;
    let mut stored = 0;
    let refused = loop {
        match store.put(store.entry(event("a", stored, 60_000), false, at(0)).unwrap()) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    let AppendError::Refused { entries, reason } = refused else { panic!("{refused}") };
    assert_eq!(reason, Refusal::StoreFull { limit: 2 << 20 });
    assert_eq!(entries.len(), 1);
    assert!(stored > 10, "{stored}");
    let settlement = busway_persistence::Settlement { settled: vec![(0, 5)], ..Default::default() };
    store.decide(subscription, settlement).unwrap();
    assert_eq!(store.all(0, 0).unwrap().len() as u64, stored);
    assert!(store.fault().is_none());
}

#[test]
fn a_disk_with_less_than_the_reserve_refuses_publishes() {
    let dir = dir();
    open(dir.path(), one()).close();
    let store = open(dir.path(), one().reserve_bytes(u64::MAX));
    let error = store.put(entry(&store, "a", 1)).unwrap_err();
    let AppendError::Refused { reason: Refusal::StorageFull { reserve, .. }, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(reserve, u64::MAX);
    assert_eq!(store.all(0, 0).unwrap(), []);
}

#[test]
fn what_was_asked_for_before_a_close_is_stored() {
    let dir = dir();
    let store = open(dir.path(), one());
    let (answer, answered) = mpsc::channel();
    for number in 0..500 {
        let answer = answer.clone();
        let entry = entry(&store, "a", number);
        store.append(entry, Box::new(move |result| answer.send(result.is_ok()).unwrap())).unwrap();
    }
    store.close();
    assert_eq!(
        answered.try_iter().filter(|stored| *stored).count(),
        500,
        "all are answered when it is closed"
    );
    assert_eq!(open(dir.path(), one()).all(0, 0).unwrap().len(), 500);
}

#[test]
fn a_busy_writer_gives_requests_back() {
    let dir = dir();
    let (go_on, waiting) = mpsc::channel::<()>();
    let store: Store = open(dir.path(), one());
    store.flush(Box::new(move |_| waiting.recv().unwrap()));
    let mut asked = 0;
    let (answer, answered) = mpsc::channel();
    let back = loop {
        let answer = answer.clone();
        match store
            .append(entry(&store, "a", asked), Box::new(move |result| answer.send(result.is_ok()).unwrap()))
        {
            Ok(()) => asked += 1,
            Err(mut busy) => break busy.0.0.pop().unwrap(),
        }
    };
    assert!(usize::try_from(asked).unwrap() >= busway_persistence::REQUESTS_MAX);
    go_on.send(()).unwrap();
    assert!(answered.iter().take(usize::try_from(asked).unwrap()).all(|stored| stored));
    assert_eq!(store.put(back).unwrap().offset, asked);
}
