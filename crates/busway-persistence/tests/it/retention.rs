//! Retention: what may go goes in whole segments, what somebody needs stays.

use busway_persistence::{
    AppendError, AtCap, Attempts, ReadError, Refusal, Retention, Settlement, Store, StoreOptions, Stream,
};

use crate::world::{Waiting, at, dir, event, open, options};

fn keeping(retention: Retention) -> StoreOptions {
    options().stream(Stream::new("all").capture("#").retention(retention)).tail(1, 1 << 20)
}

fn put(store: &Store, number: u64, len: usize) -> Result<u64, AppendError> {
    let seconds = i64::try_from(number).unwrap();
    Ok(store.put(store.entry(event("a", number, len), true, at(seconds)).unwrap())?.offset)
}

#[test]
fn a_window_by_count_stays_a_window_and_offsets_go_on_after_a_restart() {
    let dir = dir();
    let retention = Retention::forever().count(100);
    let mut number = 0;
    for _ in 0..3 {
        let store = open(dir.path(), keeping(retention));
        for _ in 0..200 {
            assert_eq!(put(&store, number, 8).unwrap(), number);
            number += 1;
        }
        let (first, next) = store.bounds(0).unwrap();
        assert_eq!(next, number);
        let kept = next - first;
        assert!((100..=116).contains(&kept), "{kept}");
        assert!(matches!(store.page(0, first - 1, None), Err(ReadError::BeforeStart { .. })));
        assert_eq!(store.all(0, first).unwrap().len() as u64, kept);
    }
}

#[test]
fn a_subscription_holds_what_it_has_not_settled() {
    let dir = dir();
    let store = open(dir.path(), keeping(Retention::forever().count(20)));
    let number = store.join("slow", "#", vec![(0, 0)]).unwrap().number;
    for number in 0..100 {
        put(&store, number, 8).unwrap();
    }
    assert_eq!(store.bounds(0), Some((0, 100)));
    // The ring was full after 15 segments of one event; the newest took the others.
    let parked = busway_persistence::Parked {
        offset: 10,
        due: at(0),
        lane: 1,
        attempts: Attempts::NONE,
        attempt_count: 1,
    };
    let settlement = Settlement { settled: vec![(0, 100)], parked: vec![parked], ..Default::default() };
    store.decide(number, settlement).unwrap();
    put(&store, 100, 8).unwrap();
    assert_eq!(store.bounds(0), Some((10, 101)), "the parked event is needed");
    store
        .decide(number, Settlement { released: vec![10], settled: vec![(100, 130)], ..Default::default() })
        .unwrap();
    for number in 101..130 {
        put(&store, number, 8).unwrap();
    }
    let (first, next) = store.bounds(0).unwrap();
    assert!((20..=24).contains(&(next - first)), "{first}");
}

#[test]
fn age_lets_go_what_is_older() {
    let dir = dir();
    let store = open(dir.path(), keeping(Retention::forever().age(std::time::Duration::from_secs(140))));
    for number in 0..500 {
        put(&store, number, 8).unwrap();
    }
    let (first, _) = store.bounds(0).unwrap();
    assert!((340..=359).contains(&first), "{first}");
}

#[test]
fn a_full_partition_refuses_and_takes_again_when_it_has_room() {
    let dir = dir();
    let cap = Retention::forever().bytes(100_000).cap(1_000_000, AtCap::RefusePublish);
    let store = open(dir.path(), keeping(cap));
    let subscription = store.join("slow", "#", vec![(0, 0)]).unwrap().number;
    let mut number = 0;
    let refused = loop {
        match put(&store, number, 2_000) {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
    };
    let AppendError::Refused { reason, .. } = refused else { panic!("{refused}") };
    assert_eq!(reason, Refusal::Capped { stream: "all".to_owned(), partition: 0, cap: 1_000_000 });
    assert!((400..500).contains(&number), "{number}");
    // One that is there already needs no room.
    assert_eq!(put(&store, number - 1, 2_000).unwrap(), number - 1);
    store.decide(subscription, Settlement { settled: vec![(0, number)], ..Default::default() }).unwrap();
    put(&store, number, 2_000).unwrap();
    let (first, next) = store.bounds(0).unwrap();
    assert!(next - first < 150, "{first}");
}

#[test]
fn what_can_never_fit_costs_the_others_nothing() {
    let dir = dir();
    let store = open(dir.path(), keeping(Retention::forever().cap(300_000, AtCap::DropOldest)));
    for number in 0..100 {
        put(&store, number, 2_000).unwrap();
    }
    let before = store.bounds(0);
    let batch = (100..108).map(|number| store.entry(event("a", number, 60_000), false, at(100)).unwrap());
    let error = store.put_all(batch.collect()).unwrap_err();
    assert!(matches!(error, AppendError::Refused { reason: Refusal::Capped { .. }, .. }), "{error}");
    assert_eq!(store.bounds(0), before);
}

/// Payloads of which each lies in a page of its own, of which two lie in a page and leave much of it empty, some in chunks, and small ones that share
/// values.
#[test]
fn a_cap_drops_no_more_behind_a_restart_than_without_one() {
    for len in [2_000, 1_400, 20_000, 100] {
        let (dir, other) = (dir(), dir());
        let options = || keeping(Retention::forever().cap(1_000_000, AtCap::DropOldest));
        let (mut store, without) = (open(dir.path(), options()), open(other.path(), options()));
        let mut number = 0;
        // A twentieth of the cap at a time.
        let at_a_time = 50_000 / len as u64;
        for batches in [40, 1, 1, 1, 1, 1, 1] {
            for _ in 0..batches {
                for store in [&store, &without] {
                    let batch = (number..number + at_a_time).map(|number| event("a", number, len));
                    let batch = batch.map(|event| store.entry(event, true, at(0)).unwrap());
                    store.put_all(batch.collect()).unwrap();
                }
                number += at_a_time;
            }
            assert_eq!(store.bounds(0), without.bounds(0), "{len}");
            store.close();
            store = open(dir.path(), options());
        }
    }
}

#[test]
fn time_passes_also_when_nobody_appends() {
    let dir = dir();
    let store = open(dir.path(), keeping(Retention::forever().age(std::time::Duration::from_secs(14))));
    for number in 0..10 {
        put(&store, number, 8).unwrap();
    }
    assert_eq!(store.bounds(0), Some((0, 10)));
    store.retain(at(20));
    let (answer, answered) = std::sync::mpsc::channel();
    store.flush(Box::new(move |result| answer.send(result).unwrap()));
    answered.recv().unwrap().unwrap();
    let (first, next) = store.bounds(0).unwrap();
    assert!((5..=6).contains(&first) && next == 10, "{first}");
}

#[test]
fn a_cap_may_take_the_oldest_events_from_who_needs_them() {
    let dir = dir();
    let store = open(dir.path(), keeping(Retention::forever().cap(1_000_000, AtCap::DropOldest)));
    store.join("slow", "#", vec![(0, 0)]).unwrap();
    for number in 0..2_000 {
        put(&store, number, 2_000).unwrap();
    }
    let (first, next) = store.bounds(0).unwrap();
    assert_eq!(next, 2_000);
    assert!(((next - first) * 2_100) < 1_000_000 && next - first > 350, "{first}");
    // The given ids of what is gone are gone with it, and no others.
    let again = store.entry(event("a", 0, 2_000), true, at(1)).unwrap();
    assert_eq!(store.put(again).unwrap().offset, 2_000);
    let kept = store.entry(event("a", 1_999, 2_000), true, at(1_999)).unwrap();
    assert_eq!(store.put(kept).unwrap().offset, 1_999);
}

#[test]
fn a_partition_that_grew_to_its_cap_behind_a_full_ring_takes_events_when_all_is_settled() {
    let dir = dir();
    let cap = Retention::forever().count(20).cap(300_000, AtCap::RefusePublish);
    let mut number = 0;
    for _ in 0..3 {
        let store = open(dir.path(), keeping(cap));
        let subscription = store.join("slow", "#", vec![(0, 0)]).unwrap().number;
        while put(&store, number, 2_000).is_ok() {
            number += 1;
        }
        let (_, next) = store.bounds(0).unwrap();
        store.decide(subscription, Settlement { settled: vec![(0, next)], ..Default::default() }).unwrap();
        for _ in 0..60 {
            assert_eq!(put(&store, number, 2_000).unwrap(), number);
            number += 1;
        }
    }
}

#[test]
fn an_event_larger_than_half_of_the_cap_takes_the_place_of_another() {
    for (then, retention) in
        [(AtCap::DropOldest, Retention::forever()), (AtCap::RefusePublish, Retention::forever().count(1))]
    {
        let dir = dir();
        let open = || open(dir.path(), keeping(retention.cap(300_000, then)));
        let store = open();
        for number in 0..4 {
            assert_eq!(put(&store, number, 160_000).unwrap(), number, "{then:?}");
        }
        assert_eq!(store.bounds(0), Some((3, 4)));
        // Two that do not fit beside each other, in one commit: the second one is there.
        if then == AtCap::DropOldest {
            let two = (4..6).map(|number| store.entry(event("a", number, 160_000), true, at(4)).unwrap());
            let [one, other] = two.collect::<Vec<_>>().try_into().unwrap();
            let (answer, answered) = std::sync::mpsc::channel();
            let told = move |answer: std::sync::mpsc::Sender<_>| {
                Box::new(move |result: Result<_, AppendError>| answer.send(result.is_ok()).unwrap())
            };
            store.append(one, told(answer.clone())).unwrap();
            store.append(other, told(answer)).unwrap();
            assert_eq!(answered.iter().take(2).collect::<Vec<_>>(), [true, true]);
        } else {
            put(&store, 4, 160_000).unwrap();
            put(&store, 5, 160_000).unwrap();
        }
        drop(store);
        let store = open();
        assert_eq!(store.bounds(0), Some((5, 6)), "offsets go on");
        assert_eq!(store.all(0, 5).unwrap(), [(5, 5)]);
        // What can never fit is refused, and takes nobody's place, though offsets are those of before.
        let error = put(&store, 6, 310_000).unwrap_err();
        assert!(matches!(error, AppendError::Refused { reason: Refusal::Capped { .. }, .. }), "{error}");
        assert_eq!(store.bounds(0), Some((5, 6)));
    }
}

#[test]
fn what_is_gone_and_not_settled_holds_nothing() {
    let dir = dir();
    let retention = Retention::forever().age(std::time::Duration::from_secs(100));
    let store = open(dir.path(), keeping(retention.cap(1_000_000, AtCap::DropOldest)));
    let slow = store.join("slow", "#", vec![(0, 0)]).unwrap().number;
    for number in 0..2_000 {
        put(&store, number, 2_000).unwrap();
    }
    let (first, next) = store.bounds(0).unwrap();
    // Nobody has told it of what is gone, and the rest is nothing that it wants.
    store.decide(slow, Settlement { settled: vec![(first, next)], ..Default::default() }).unwrap();
    put(&store, 10_000, 8).unwrap();
    assert!(store.bounds(0).unwrap().0 > first + 300);
    let stored = store.join("slow", "#", vec![(0, 0)]).unwrap();
    assert_eq!((stored.places[0].cursor.low(), stored.places[0].cursor.next_unsettled(first)), (0, next));
}
