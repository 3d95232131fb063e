//! Bounds hold in every arrangement: bytes with a schedule, the latest of a key when bytes are used up, shares and limits with
//! many workers, lag to the last event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway_engine::{Bus, Subscription};
use busway_event::{Draft, Event, Priority, Raw};
use busway_middleware::{Batch, Delivery, Flow, Payload, Stage, SyncMiddleware, batch, blocking};
use busway_reliability::{Order, Overflow};
use busway_testkit::{Gate, Recorder, TestBus};

use crate::world::{AtGate, Number, account, assert_settled, ends, number, turns};

fn weighing(bytes: usize, first: u8) -> Draft<Raw> {
    let mut payload = vec![0_u8; bytes];
    payload[0] = first;
    Event::new("a", Raw::from(payload)).key("k")
}

#[tokio::test]
async fn the_latest_of_a_key_takes_its_place_also_when_the_bytes_are_used_up() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Raw>::new();
    let builder = bus.subscribe("a").capacity_bytes(4_000).overflow(Overflow::Coalesce);
    let subscription = builder.to(recorder.handler()).await.unwrap();
    subscription.pause();
    for first in 1..=5 {
        bus.publish(weighing(3_000, first)).await.unwrap();
    }
    subscription.resume();
    bus.settle().await;
    let handled: Vec<u8> = recorder.payloads().iter().map(|raw| raw.0[0]).collect();
    assert_eq!(handled, [5], "only the latest waits");
    assert_eq!(account(&subscription.stats().tally), [5, 1, 4, 0, 0]);
    assert_eq!(subscription.stats().queued_bytes, 0);
}

#[tokio::test]
async fn the_bytes_of_events_that_wait_for_their_lane_are_bounded_too() {
    let bus = TestBus::start().await;
    let gate = Gate::closed();
    let builder = bus.subscribe("a").concurrency(2).capacity_bytes(10_000);
    let builder = builder.middleware(Stage::User, "hold", AtGate(gate.clone()));
    let subscription = builder.to(async |_: Payload<Raw>| {}).await.unwrap();
    for first in 0..30 {
        bus.publish(weighing(2_000, first)).await.unwrap();
        turns().await;
    }
    let stats = subscription.stats();
    let waiting = stats.tally.waiting() - stats.running;
    assert!(waiting * 2_000 <= 10_000, "{waiting} events of 2000 bytes wait within a budget of 10000 bytes");
    gate.open();
    bus.settle().await;
    assert_settled(&subscription.stats());
    assert_eq!(subscription.stats().queued_bytes, 0);
}

#[tokio::test]
async fn bytes_are_given_back_however_an_event_leaves() {
    let bus = TestBus::start().await;
    for policy in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Coalesce, Overflow::Block(None)] {
        let builder = bus.subscribe("a").capacity_bytes(9_000).overflow(policy);
        let subscription = builder.to(async |_: Payload<Raw>| {}).await.unwrap();
        subscription.pause();
        for first in 0..4 {
            bus.try_publish(weighing(4_000, first).ttl(Duration::from_secs(1))).unwrap();
        }
        assert!(subscription.stats().queued_bytes >= 4_000, "{policy:?}");
        bus.clock().advance(Duration::from_secs(1));
        subscription.resume();
        bus.settle().await;
        let stats = subscription.stats();
        assert!(stats.tally.expired > 0 && stats.done == 0, "{policy:?}: {stats}");
        assert_eq!(stats.queued_bytes, 0, "{policy:?}");
        subscription.abort();
    }
}

#[tokio::test]
async fn with_many_workers_the_shares_are_exact_too() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let builder = bus.subscribe("a").capacity(400).concurrency(8).order(Order::None);
    let builder = builder.priority_limit(Priority::P2, 8).priority_limit(Priority::P3, 8);
    let subscription = builder.to(recorder.handler()).await.unwrap();
    subscription.pause();
    for priority in Priority::ALL.into_iter().rev() {
        for n in 0..320 {
            bus.publish(number("a", n).priority(priority)).await.unwrap();
        }
    }
    subscription.resume();
    bus.settle().await;
    let mut counts = [0; 4];
    for event in recorder.events().iter().take(300) {
        counts[event.priority().index()] += 1;
    }
    assert_eq!(counts, [160, 80, 40, 20]);
    bus.finish().await;
}

/// Adds up what deliveries tell as lost, and counts them.
#[derive(Clone, Default)]
struct Seen {
    events: Arc<AtomicU64>,
    lag: Arc<AtomicU64>,
}

impl Seen {
    fn see(&self, delivery: &Delivery) {
        self.events.fetch_add(1, Ordering::SeqCst);
        self.lag.fetch_add(delivery.lagged(), Ordering::SeqCst);
    }
}

async fn subscribed(bus: &Bus, seen: &Seen, shape: Shape, policy: Overflow) -> Vec<Subscription> {
    let mut members = Vec::new();
    for _ in 0..if shape == Shape::Group { 3 } else { 1 } {
        let seen = seen.clone();
        let builder = bus.subscribe("a.#").capacity(4).overflow(policy);
        let slow = move |delivery: Delivery| {
            seen.see(&delivery);
            tokio::task::yield_now()
        };
        let subscribed = match shape {
            Shape::One => builder.to(slow).await,
            Shape::Many => builder.concurrency(8).to(slow).await,
            Shape::Group => builder.group("g").to(slow).await,
            Shape::ByKey => builder.concurrency(8).order(Order::Key).to(slow).await,
            Shape::Threads => {
                let slow = move |delivery: Delivery| {
                    drop(slow(delivery));
                    std::thread::yield_now();
                };
                builder.concurrency(2).to(blocking(slow)).await
            }
        };
        members.push(subscribed.unwrap());
    }
    members
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    Many,
    Group,
    ByKey,
    Threads,
}

/// Four threads' worth of publishers; then, in the quiet, one more event that tells the rest of the lag.
async fn overload(shape: Shape, policy: Overflow) {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let seen = Seen::default();
    let subscriptions = subscribed(&bus, &seen, shape, policy).await;
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let bus = bus.clone();
            tokio::spawn(async move {
                let mut offered = 0;
                for n in 0..300_u32 {
                    let priority = Priority::ALL[n as usize % 4];
                    let draft = number("a.b", n).priority(priority);
                    let draft = if n % 3 == 0 { draft } else { draft.key(format!("{publisher}-{}", n % 5)) };
                    let receipt = if n % 7 == 0 { bus.try_publish(draft) } else { bus.publish(draft).await };
                    offered += receipt.unwrap().offered as u64;
                }
                offered
            })
        })
        .collect();
    let mut offered = 0;
    for publisher in publishers {
        offered += publisher.await.unwrap();
    }
    ends(bus.idle()).await;
    offered += bus.publish(number("a.b", 0)).await.unwrap().offered as u64;
    ends(bus.idle()).await;
    let context = format!("{shape:?}, {policy:?}");
    let stats = subscriptions[0].stats();
    assert_settled(&stats);
    assert_eq!(stats.tally.offered, offered, "{context}: {stats}");
    assert_eq!(stats.done, seen.events.load(Ordering::SeqCst), "{context}: {stats}");
    // Where one publisher's event ends it, those of the three others may be in the middle of an offer: they come too late.
    let late_max = if policy == Overflow::Disconnect { 3 } else { 0 };
    assert_eq!(stats.tally.expired, 0, "{context}: {stats}");
    assert!(stats.tally.abandoned <= late_max, "{context}: {stats}");
    let lag = seen.lag.load(Ordering::SeqCst);
    match policy {
        // Nobody is told what was lost to the very end of a subscription.
        Overflow::Disconnect => assert!(lag <= stats.tally.dropped, "{context}: {lag}, {stats}"),
        _ => assert_eq!(lag, stats.tally.dropped, "{context}"),
    }
    let report = bus.shutdown(Duration::from_secs(60)).await;
    let is_all_handled = stats.tally.abandoned == 0;
    assert_eq!((report.is_drained(), report.tally), (is_all_handled, stats.tally), "{context}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_the_policy_and_the_shape_the_sum_and_the_lag_are_exact() {
    let soon = Overflow::Block(Some(Duration::from_micros(20)));
    let policies = [Overflow::DropNewest, Overflow::DropOldest, Overflow::Coalesce, Overflow::Disconnect];
    for policy in policies.into_iter().chain([Overflow::Block(None), soon]) {
        for shape in [Shape::One, Shape::Many, Shape::Group, Shape::ByKey, Shape::Threads] {
            overload(shape, policy).await;
        }
    }
}

struct Sees(Seen);

impl SyncMiddleware for Sees {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        self.0.see(delivery);
        Flow::Continue
    }
}

#[tokio::test]
async fn a_batch_tells_its_first_event_what_was_lost_before_it() {
    let bus = TestBus::start().await;
    let seen = Seen::default();
    let builder = bus.subscribe("a").capacity(4).middleware(Stage::User, "sees", Sees(seen.clone()));
    let subscription = builder.to(batch(async |_: Batch<Number>| {})).await.unwrap();
    subscription.pause();
    for n in 0..10 {
        bus.publish(number("a", n)).await.unwrap();
    }
    subscription.resume();
    bus.settle().await;
    assert_eq!((seen.events.load(Ordering::SeqCst), seen.lag.load(Ordering::SeqCst)), (4, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn statistics_never_say_that_more_runs_than_waits() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let builder = bus.subscribe("a").concurrency(8);
    let subscription = builder.to(async |_: Payload<Number>| tokio::task::yield_now().await).await.unwrap();
    for n in 0..5_000 {
        bus.publish(number("a", n)).await.unwrap();
        let stats = subscription.stats();
        assert!(stats.running <= stats.tally.waiting(), "{} run: {stats}", stats.running);
    }
    ends(bus.idle()).await;
    assert_settled(&subscription.stats());
}
