//! Batches: many events of a durable subscription for one call of a handler, settled together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use busway_event::{Event, Key, Priority};
use busway_middleware::{Batch, Delivery, Flow, Middleware, Next, Outcome, Stage, SyncMiddleware, batch};
use busway_reliability::Retry;
use busway_testkit::{Gate, Recorder, TestBus};
use parking_lot::Mutex;

use super::{dir, numbers, open, order, publish, stock};
use crate::world::{Number, ends, number, turns};

/// The calls of a handler, each with its numbers.
pub(super) type Calls = Arc<Mutex<Vec<Vec<u32>>>>;

pub(super) fn noted(calls: &Calls, orders: &Batch<Number>) -> Vec<u32> {
    let numbers: Vec<u32> = orders.iter().map(|order| order.payload().n).collect();
    calls.lock().push(numbers.clone());
    numbers
}

/// Publishes numbers at once, without a key.
pub(super) async fn publish_all(bus: &TestBus, numbers: impl IntoIterator<Item = u32>) {
    let drafts = numbers.into_iter().map(|n| number("orders.created", n)).collect();
    bus.publish_batch(drafts).await.unwrap();
}

#[tokio::test]
async fn what_is_there_comes_in_one_call_up_to_the_most_in_the_order_of_the_log() {
    let dir = dir();
    let bus = open(&dir).await;
    let calls = Calls::default();
    let notes = Arc::clone(&calls);
    publish_all(&bus, 0..1_000).await;
    let handler = batch(move |orders: Batch<Number>| {
        noted(&notes, &orders);
        std::future::ready(())
    });
    let subscription = stock(&bus).to(handler.max(100)).await.unwrap();
    bus.settle().await;
    assert!(calls.lock().iter().all(|call| call.len() <= 100), "{:?}", calls.lock());
    assert!(calls.lock().len() < 20, "{} calls", calls.lock().len());
    assert_eq!(calls.lock().concat(), (0..1_000).collect::<Vec<_>>());
    assert_eq!((subscription.stats().done, subscription.lag().events), (1_000, 0));
    bus.finish().await;

    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    publish(&bus, [1_000]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([1_000]));
    bus.finish().await;
}

#[tokio::test]
async fn two_events_of_a_lane_are_never_in_one_batch_and_keep_their_order_over_failures() {
    let dir = dir();
    let bus = open(&dir).await;
    let done = Arc::new(Mutex::new(BTreeMap::<String, Vec<u32>>::new()));
    let (notes, random) = (Arc::clone(&done), Mutex::new(fastrand::Rng::with_seed(7)));
    let handler = batch(move |orders: Batch<Number>| {
        let key = |order: &Event<Number>| order.key().map(Key::to_string).unwrap();
        let mut keys: Vec<String> = orders.iter().map(key).collect();
        keys.sort_unstable();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all, "two of a lane");
        let outcome = |order: &Event<Number>| match random.lock().u32(..4) {
            0 => Outcome::failed("now and then"),
            _ => {
                notes.lock().entry(key(order)).or_default().push(order.payload().n);
                Outcome::Done
            }
        };
        std::future::ready(orders.iter().map(outcome).collect::<Vec<_>>())
    });
    let subscription = stock(&bus).concurrency(2).to(handler.max(8)).await.unwrap();
    let drafts = (0..400).map(|n| order(&format!("key-{}", n % 10), n)).collect();
    bus.publish_batch(drafts).await.unwrap();
    let settled = async {
        while subscription.stats().done < 400 {
            bus.settle().await;
            bus.clock().advance(Duration::from_secs(60));
        }
    };
    ends(settled).await;
    for (key, numbers) in done.lock().iter() {
        assert!(numbers.is_sorted_by(|one, next| one < next) && numbers.len() == 40, "{key}: {numbers:?}");
    }
    let stats = subscription.stats();
    assert!(stats.failed > 50 && stats.dead == 0 && stats.parked == 0, "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn each_event_is_settled_as_its_own_outcome_says_and_who_failed_comes_alone() {
    let dir = dir();
    let bus = open(&dir).await;
    let calls = Calls::default();
    let notes = Arc::clone(&calls);
    let handler = batch(move |orders: Batch<Number>| {
        let first = notes.lock().is_empty();
        let outcome = |n: u32| match n {
            1 | 3 if first => Outcome::failed("not yet"),
            2 => Outcome::dead("never"),
            4 => Outcome::Skip,
            _ => Outcome::Done,
        };
        let outcomes: Vec<Outcome> = noted(&notes, &orders).into_iter().map(outcome).collect();
        std::future::ready(outcomes)
    });
    publish_all(&bus, 0..6).await;
    let subscription = stock(&bus).traces(10).to(handler).await.unwrap();
    bus.settle().await;
    let stats = subscription.stats();
    let counts = [stats.done, stats.failed, stats.dead, stats.skipped, stats.parked];
    assert_eq!((counts, subscription.traces().len()), ([2, 2, 1, 1, 2], 6), "{stats}");
    bus.clock().advance(Duration::from_secs(1));
    publish_all(&bus, 6..8).await;
    bus.settle().await;
    let mut later = calls.lock().split_off(1);
    later.sort();
    assert_eq!((&*calls.lock(), later), (&vec![(0..6).collect()], vec![vec![1], vec![3], vec![6, 7]]));
    assert_eq!((subscription.stats().done, subscription.stats().parked), (6, 0));
    bus.finish().await;
}

#[tokio::test]
async fn an_event_that_makes_every_batch_fail_takes_no_other_with_it() {
    let dir = dir();
    let bus = open(&dir).await;
    let handler = batch(|orders: Batch<Number>| {
        let is_bad = orders.iter().any(|order| order.payload().n == 13);
        std::future::ready(if is_bad { Err("the file is refused") } else { Ok(()) })
    });
    publish_all(&bus, 0..50).await;
    let subscription = stock(&bus).retry(Retry::default().attempts(2)).to(handler).await.unwrap();
    bus.settle().await;
    assert_eq!((subscription.stats().done, subscription.stats().failed), (0, 50));
    bus.clock().advance(Duration::from_secs(60));
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.dead, stats.parked), (49, 1, 0), "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn what_middleware_stops_or_holds_up_is_not_in_the_call() {
    let dir = dir();
    let bus = open(&dir).await;
    let (calls, gate) = (Calls::default(), Gate::closed());
    let notes = Arc::clone(&calls);
    let handler = batch(move |orders: Batch<Number>| {
        noted(&notes, &orders);
        std::future::ready(())
    });
    publish_all(&bus, 0..6).await;
    let builder = stock(&bus).middleware(Stage::User, "even", Even);
    let builder = builder.middleware(Stage::User, "slow", FourWaits(gate.clone()));
    let subscription = builder.to(handler).await.unwrap();
    gate.reached(1).await;
    turns().await;
    assert_eq!(*calls.lock(), [[0, 2]]);
    gate.open();
    bus.settle().await;
    assert_eq!(*calls.lock(), [vec![0, 2], vec![4]]);
    assert_eq!((subscription.stats().done, subscription.stats().skipped), (3, 3));
    bus.finish().await;
}

/// Skips what is odd.
struct Even;

impl SyncMiddleware for Even {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        match delivery.offset().is_some_and(|offset| offset % 2 == 0) {
            true => Flow::Continue,
            false => Flow::Stop(Outcome::Skip),
        }
    }
}

struct FourWaits(Gate);

impl Middleware for FourWaits {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        if delivery.offset() == Some(4) {
            self.0.pass().await;
        }
        next.run(delivery).await
    }
}

#[tokio::test]
async fn a_call_is_one_event_of_the_concurrency_and_of_the_limit_of_its_priority() {
    let dir = dir();
    let bus = open(&dir).await;
    let (calls, gate) = (Calls::default(), Gate::closed());
    let (notes, at) = (Arc::clone(&calls), gate.clone());
    let handler = batch(move |orders: Batch<Number>| {
        noted(&notes, &orders);
        let at = at.clone();
        async move { at.pass().await }
    });
    publish_all(&bus, 0..50).await;
    let builder = stock(&bus).concurrency(4).priority_limit(Priority::P2, 2);
    let subscription = builder.to(handler.max(10)).await.unwrap();
    gate.reached(2).await;
    turns().await;
    assert_eq!((calls.lock().len(), subscription.stats().running), (2, 20));
    gate.open();
    bus.settle().await;
    assert_eq!((calls.lock().len(), subscription.stats().done), (5, 50));
    bus.finish().await;
}

#[tokio::test]
async fn a_batch_that_is_cut_short_is_attempted_again_uncharged() {
    let dir = dir();
    let bus = open(&dir).await;
    let reached = Gate::closed();
    let at = reached.clone();
    let hangs = batch(move |_: Batch<Number>| {
        let at = at.clone();
        async move { at.pass().await }
    });
    publish_all(&bus, 0..5).await;
    let subscription = stock(&bus).to(hangs).await.unwrap();
    reached.reached(1).await;
    let clock = bus.clock().clone();
    let shutdown = bus.shutdown(Duration::ZERO);
    let passes = async {
        while !clock.advance_to_next() {
            turns().await;
        }
    };
    let (report, ()) = ends(async { tokio::join!(shutdown, passes) }).await;
    assert_eq!((report.left[0].events, subscription.stats().cut_short), (5, 5), "{report}");
    drop(bus);
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&numbers(0..5));
    assert!(recorder.deliveries().iter().all(|delivery| delivery.attempt() == 1));
    bus.finish().await;
}

#[tokio::test]
async fn what_a_batch_emits_is_stored_with_its_settlements_and_a_bad_one_costs_the_others_nothing() {
    let dir = dir();
    let bus = open(&dir).await;
    let billed = Recorder::<Number>::new();
    bus.subscribe("orders.billed").durable("billed").to(billed.handler()).await.unwrap();
    let handler = batch(|orders: Batch<Number>| {
        let bill = |order: &Event<Number>| {
            let topic = if order.payload().n == 2 { "not a topic" } else { "orders.billed" };
            number(topic, order.payload().n)
        };
        std::future::ready(orders.iter().map(bill).collect::<Vec<_>>())
    });
    publish_all(&bus, 0..5).await;
    let billing =
        bus.subscribe("orders.created").durable("billing").start_at(busway_engine::StartAt::Earliest);
    let billing = billing.to(handler).await.unwrap();
    bus.settle().await;
    let mut seen: Vec<u32> = billed.payloads().iter().map(|number| number.n).collect();
    seen.sort_unstable();
    assert_eq!((seen, billing.stats().done, billing.stats().failed), (vec![0, 1, 3, 4], 4, 1));
    bus.finish().await;
}
