//! offered = delivered + dropped + expired + abandoned + waiting, for each overflow policy, under overload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway_engine::{Breaker, Bus, Subscription};
use busway_event::{Key, Priority};
use busway_middleware::{Delivery, blocking};
use busway_reliability::Overflow;
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::world::{Number, account, assert_settled, ends, number};

const POLICIES: [Overflow; 6] = [
    Overflow::DropNewest,
    Overflow::DropOldest,
    Overflow::Coalesce,
    Overflow::Disconnect,
    Overflow::Block(None),
    Overflow::Block(Some(Duration::from_micros(50))),
];

/// Four tasks publish as fast as they can to a slow subscription; what handlers saw and what was lost is the account.
async fn overload(policy: Overflow, concurrency: usize) {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let (seen, lag) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (count, lost) = (Arc::clone(&seen), Arc::clone(&lag));
    let handler = move |delivery: Delivery| {
        count.fetch_add(1, Ordering::Relaxed);
        lost.fetch_add(delivery.lagged(), Ordering::Relaxed);
        tokio::task::yield_now()
    };
    let subscription =
        bus.subscribe("a.#").capacity(8).concurrency(concurrency).overflow(policy).to(handler).await.unwrap();
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let bus = bus.clone();
            tokio::spawn(async move {
                for n in 0..500 {
                    let priority = Priority::ALL[n as usize % 4];
                    let draft = number("a.b", n).key(format!("{publisher}-{}", n % 5)).priority(priority);
                    match n % 3 {
                        0 => bus.try_publish(draft).unwrap(),
                        _ => bus.publish(draft).await.unwrap(),
                    };
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    bus.idle().await;
    let stats = subscription.stats();
    assert_settled(&stats);
    assert_eq!(stats.done, seen.load(Ordering::Relaxed), "{policy:?}");
    assert_eq!(stats.tally.expired, 0, "{policy:?}");
    if policy != Overflow::Disconnect {
        // One that has ended may still be offered what was on its way to it: that comes too late, and is counted so.
        assert_eq!((stats.tally.offered, stats.tally.abandoned), (2_000, 0), "{policy:?}");
    }
    assert!(lag.load(Ordering::Relaxed) <= stats.tally.dropped, "{policy:?}");
    let report = bus.shutdown(Duration::from_secs(60)).await;
    assert_eq!(report.tally.offered, report.tally.settled());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_holds_under_overload_for_each_policy_one_at_a_time() {
    for policy in POLICIES {
        overload(policy, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_holds_under_overload_for_each_policy_many_at_once() {
    for policy in POLICIES {
        overload(policy, 8).await;
    }
}

/// A bus whose one subscription holds its first event at a gate.
async fn held(policy: Overflow, capacity: usize) -> (TestBus, Subscription, Recorder<Number>, Gate) {
    let bus = TestBus::start().await;
    let (recorder, gate) = (Recorder::new(), Gate::closed());
    let script = Script::new([Step::Wait(gate.clone())]);
    let builder = bus.subscribe("a").capacity(capacity).overflow(policy);
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    bus.publish(number("a", 0)).await.unwrap();
    gate.reached(1).await;
    (bus, subscription, recorder, gate)
}

fn numbers(recorder: &Recorder<Number>) -> Vec<u32> {
    recorder.payloads().iter().map(|number| number.n).collect()
}

#[tokio::test]
async fn drop_newest_keeps_what_waits() {
    let (bus, subscription, recorder, gate) = held(Overflow::DropNewest, 2).await;
    for n in 1..=5 {
        bus.publish(number("a", n)).await.unwrap();
    }
    assert_eq!(subscription.stats().tally.waiting(), 3);
    gate.open();
    bus.settle().await;
    assert_eq!(numbers(&recorder), [0, 1, 2]);
    assert_eq!(account(&subscription.stats().tally), [6, 3, 3, 0, 0]);
    assert_eq!(recorder.deliveries().iter().map(Delivery::lagged).sum::<u64>(), 3);
}

#[tokio::test]
async fn drop_oldest_keeps_the_latest() {
    let (bus, subscription, recorder, gate) = held(Overflow::DropOldest, 2).await;
    for n in 1..=5 {
        bus.publish(number("a", n)).await.unwrap();
    }
    gate.open();
    bus.settle().await;
    assert_eq!(numbers(&recorder), [0, 4, 5]);
    assert_eq!(account(&subscription.stats().tally), [6, 3, 3, 0, 0]);
}

#[tokio::test]
async fn coalesce_keeps_the_latest_of_each_key_in_the_place_of_the_first() {
    let (bus, subscription, recorder, gate) = held(Overflow::Coalesce, 2).await;
    for (n, key) in [(1, "x"), (2, "y"), (3, "x"), (4, "y"), (5, "x"), (6, "z")] {
        bus.publish(number("a", n).key(key)).await.unwrap();
    }
    gate.open();
    bus.settle().await;
    assert_eq!(numbers(&recorder), [0, 5, 4]);
    assert_eq!(account(&subscription.stats().tally), [7, 3, 4, 0, 0]);
}

#[tokio::test]
async fn coalesce_by_a_function_and_a_function_that_panics_coalesces_nothing() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let by = |event: &busway_event::AnyEvent| {
        assert!(event.key().map(Key::as_str) != Some("panic"), "no key for this one");
        event.metadata().get("sensor").map(str::to_owned)
    };
    let subscription = bus.subscribe("a").coalesce_by(by).to(recorder.handler()).await.unwrap();
    subscription.pause();
    for n in 0..4 {
        bus.publish(number("a", n).meta("sensor", if n % 2 == 0 { "even" } else { "odd" })).await.unwrap();
    }
    bus.publish(number("a", 8).key("panic")).await.unwrap();
    bus.publish(number("a", 9).key("panic")).await.unwrap();
    subscription.resume();
    bus.settle().await;
    assert_eq!(numbers(&recorder), [2, 3, 8, 9]);
    assert_settled(&subscription.stats());
}

#[tokio::test]
async fn disconnect_handles_what_waits_and_ends() {
    let (bus, subscription, recorder, gate) = held(Overflow::Disconnect, 2).await;
    for n in 1..=5 {
        bus.publish(number("a", n)).await.unwrap();
    }
    gate.open();
    subscription.ended().await;
    assert_eq!(numbers(&recorder), [0, 1, 2]);
    assert_eq!(account(&subscription.stats().tally), [4, 3, 1, 0, 0]);
    assert_eq!(bus.publish(number("a", 6)).await.unwrap().offered, 0);
    bus.finish().await;
}

#[tokio::test]
async fn block_waits_for_room_and_loses_nothing() {
    let (bus, subscription, recorder, gate) = held(Overflow::Block(None), 2).await;
    bus.publish(number("a", 1)).await.unwrap();
    bus.publish(number("a", 2)).await.unwrap();
    let publisher = Bus::clone(&bus);
    let blocked = tokio::spawn(async move { publisher.publish(number("a", 3)).await.unwrap().offered });
    while subscription.stats().tally.offered < 4 {
        tokio::task::yield_now().await;
    }
    assert!(!blocked.is_finished());
    gate.open();
    assert_eq!(blocked.await.unwrap(), 1);
    bus.settle().await;
    assert_eq!(numbers(&recorder), [0, 1, 2, 3]);
    assert_eq!(account(&subscription.stats().tally), [4, 4, 0, 0, 0]);
}

#[tokio::test]
async fn block_with_a_deadline_drops_at_it_and_the_publish_stays_ok() {
    let (bus, subscription, _recorder, gate) = held(Overflow::Block(Some(Duration::from_secs(5))), 1).await;
    bus.publish(number("a", 1)).await.unwrap();
    let publisher = Bus::clone(&bus);
    let blocked = tokio::spawn(async move { publisher.publish(number("a", 2)).await });
    while bus.clock().sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    bus.clock().advance(Duration::from_millis(4_999));
    tokio::task::yield_now().await;
    assert!(!blocked.is_finished());
    bus.clock().advance(Duration::from_millis(1));
    assert_eq!(blocked.await.unwrap().unwrap().offered, 1);
    gate.open();
    bus.settle().await;
    assert_eq!(account(&subscription.stats().tally), [3, 2, 1, 0, 0]);
    bus.finish().await;
}

#[tokio::test]
async fn a_publisher_that_gives_up_waiting_is_counted_as_dropped() {
    let (bus, subscription, recorder, gate) = held(Overflow::Block(None), 1).await;
    bus.publish(number("a", 1)).await.unwrap();
    tokio::select! {
        biased;
        _ = bus.publish(number("a", 2)) => panic!("there is no room"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(bus.try_publish(number("a", 3)).unwrap().offered, 1);
    gate.open();
    bus.settle().await;
    assert_eq!(numbers(&recorder), [0, 1]);
    assert_eq!(account(&subscription.stats().tally), [4, 2, 2, 0, 0]);
}

#[tokio::test]
async fn heavy_events_are_bounded_by_bytes_and_one_that_can_never_fit_is_dropped() {
    use busway_event::{Event, Raw};
    let bus = TestBus::start().await;
    let recorder = Recorder::<Raw>::new();
    for policy in POLICIES {
        let name = format!("{policy:?}");
        let builder = bus.subscribe("b").name(&name).capacity_bytes(10_000).overflow(policy);
        let subscription = builder.to(recorder.handler()).await.unwrap();
        subscription.pause();
        let heavy = |len: usize| Event::new("b", Raw::from(vec![0_u8; len]));
        bus.try_publish(heavy(6_000)).unwrap();
        bus.try_publish(heavy(20_000)).unwrap();
        let stats = subscription.stats();
        assert_eq!((stats.tally.waiting(), stats.tally.dropped), (1, 1), "{name}");
        assert!(stats.queued_bytes >= 6_000 && stats.queued_bytes <= 10_000, "{name}");
        bus.try_publish(heavy(6_000)).unwrap();
        assert!(subscription.stats().queued_bytes <= 10_000, "{name}");
        subscription.abort();
    }
    bus.finish().await;
}

#[tokio::test]
async fn metadata_weighs_too_however_it_was_published() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let subscription = bus.subscribe("a").capacity_bytes(10_000).to(recorder.handler()).await.unwrap();
    subscription.pause();
    let with_pair = || number("a", 1).meta("note", "x".repeat(6_000));
    bus.publish(with_pair()).await.unwrap();
    let first = subscription.stats().queued_bytes;
    assert!((6_000..10_000).contains(&first), "{first}");
    bus.publish(with_pair()).await.unwrap();
    assert_eq!(subscription.stats().tally.dropped, 1);
    bus.publish_batch(vec![with_pair()]).await.unwrap();
    assert_eq!((subscription.stats().tally.dropped, subscription.stats().queued_bytes), (2, first));
    subscription.abort();
    bus.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_handlers_keep_the_account_too() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let builder = bus.subscribe("a").capacity(4).concurrency(3).overflow(Overflow::Block(None));
    let subscription = builder.to(blocking(|_: Delivery| {})).await.unwrap();
    for n in 0..3_000 {
        bus.publish(number("a", n).key(format!("{}", n % 7))).await.unwrap();
    }
    bus.idle().await;
    assert_eq!(account(&subscription.stats().tally), [3_000, 3_000, 0, 0, 0]);
    bus.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_handler_behind_a_breaker_is_told_what_was_lost() {
    let bus = TestBus::start().await;
    let (opens, gate) = std::sync::mpsc::channel::<()>();
    let (lost, begun) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let (sum, begins, gate) = (Arc::clone(&lost), Arc::clone(&begun), Mutex::new(gate));
    let handler = blocking(move |delivery: Delivery| {
        sum.fetch_add(delivery.lagged(), Ordering::Relaxed);
        begins.notify_one();
        // Closed by the test: nothing is ever sent.
        _ = gate.lock().recv();
    });
    let subscription = bus.subscribe("a").capacity(1).breaker(Breaker::default());
    let subscription = subscription.to(handler).await.unwrap();
    bus.publish(number("a", 0)).await.unwrap();
    ends(begun.notified()).await;
    for n in 1..4 {
        bus.publish(number("a", n)).await.unwrap();
    }
    drop(opens);
    let stats = ends(subscription.stop()).await;
    assert_eq!((stats.done, stats.tally.dropped, lost.load(Ordering::Relaxed)), (2, 2, 2), "{stats}");
    bus.finish().await;
}
