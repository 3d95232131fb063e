//! Events of a lane never overlap and stay in order; other lanes are not delayed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::Timeout;
use busway_event::{Event, Key, Priority};
use busway_middleware::{Delivery, Stage};
use busway_reliability::{Order, Overflow, Retry};
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};
use parking_lot::Mutex;

use crate::world::{Number, ends, number, turns};

/// What was running and what was seen, by lane.
#[derive(Default)]
struct Lanes {
    running: BTreeMap<String, u32>,
    seen: BTreeMap<String, Vec<u32>>,
    overlapped: bool,
    at_once: u32,
}

/// An attempt that runs in its lane. Its drop is its end, also when it is cancelled.
struct Running(Arc<Mutex<Lanes>>, String);

impl Running {
    fn begin(lanes: &Arc<Mutex<Lanes>>, lane: String) -> Self {
        {
            let mut lanes = lanes.lock();
            let running = lanes.running.entry(lane.clone()).or_default();
            *running += 1;
            let overlaps = *running > 1;
            lanes.overlapped |= overlaps;
            lanes.at_once = lanes.at_once.max(lanes.running.values().sum());
        }
        Self(Arc::clone(lanes), lane)
    }

    fn see(&self, n: u32) {
        self.0.lock().seen.entry(self.1.clone()).or_default().push(n);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.lock().running.entry(std::mem::take(&mut self.1)).or_default() -= 1;
    }
}

async fn run(order: Order, lane: fn(&Event<Number>) -> String) -> Lanes {
    let bus = TestBus::start().await;
    let lanes = Arc::new(Mutex::new(Lanes::default()));
    let shared = Arc::clone(&lanes);
    let handler = move |event: Event<Number>| {
        let (lanes, name) = (Arc::clone(&shared), lane(&event));
        async move {
            let running = Running::begin(&lanes, name);
            running.see(event.payload().n);
            for _ in 0..event.payload().n % 4 {
                tokio::task::yield_now().await;
            }
        }
    };
    let builder = bus.subscribe("a").capacity(16).concurrency(8).order(order).overflow(Overflow::Block(None));
    builder.to(handler).await.unwrap();
    for n in 0..2_000 {
        let priority = Priority::ALL[(n as usize / 3) % 4];
        bus.publish(number("a", n).key(format!("k{}", n % 5)).priority(priority)).await.unwrap();
    }
    bus.settle().await;
    bus.finish().await;
    Arc::into_inner(lanes).map(Mutex::into_inner).unwrap_or_default()
}

fn key(event: &Event<Number>) -> String {
    event.key().map(Key::to_string).unwrap_or_default()
}

fn key_and_priority(event: &Event<Number>) -> String {
    format!("{}/{}", key(event), event.priority())
}

#[tokio::test]
async fn by_lane_a_key_and_priority_runs_one_after_another_in_order() {
    let lanes = run(Order::Lane, key_and_priority).await;
    assert!(!lanes.overlapped);
    assert!(lanes.at_once > 4, "only {} at once", lanes.at_once);
    assert!(lanes.seen.values().all(|seen| seen.is_sorted()));
    assert_eq!(lanes.seen.values().map(Vec::len).sum::<usize>(), 2_000);
}

#[tokio::test]
async fn by_key_priorities_do_not_overtake() {
    let lanes = run(Order::Key, key).await;
    assert!(!lanes.overlapped);
    assert!(lanes.seen.values().all(|seen| seen.is_sorted()));
    assert_eq!((lanes.seen.len(), lanes.at_once), (5, 5));
}

#[tokio::test]
async fn a_key_keeps_its_order_though_attempts_overrun_their_timeout() {
    const SECOND: Duration = Duration::from_secs(1);
    let bus = TestBus::start().await;
    let lanes = Arc::new(Mutex::new(Lanes::default()));
    let shared = Arc::clone(&lanes);
    let handler = move |event: Event<Number>, delivery: Delivery| {
        let (lanes, n) = (Arc::clone(&shared), event.payload().n);
        async move {
            let running = Running::begin(&lanes, key(&event));
            tokio::task::yield_now().await;
            // Every fifth hangs twice, until it is cancelled.
            if n % 5 == 3 && delivery.attempt() < 3 {
                std::future::pending::<()>().await;
            }
            running.see(n);
        }
    };
    let builder = bus.subscribe("a").capacity(400).concurrency(8).retry(Retry::constant(SECOND));
    let builder = builder.middleware(Stage::Timeout, "timeout", Timeout::new(SECOND));
    let subscription = builder.to(handler).await.unwrap();
    for n in 0..400 {
        bus.publish(number("a", n).key(format!("k{}", n % 7))).await.unwrap();
    }
    let all = async {
        while subscription.stats().done < 400 {
            turns().await;
            bus.clock().advance(SECOND);
        }
    };
    ends(all).await;
    assert_eq!(subscription.stats().retried, 160, "two each of eighty");
    bus.finish().await;
    let lanes = lanes.lock();
    assert!(!lanes.overlapped);
    assert!(lanes.at_once > 4, "only {} at once", lanes.at_once);
    for (key, seen) in &lanes.seen {
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{key}: {seen:?}");
    }
    assert_eq!(lanes.seen.values().map(Vec::len).sum::<usize>(), 400);
}

#[tokio::test]
async fn without_order_events_of_a_key_run_side_by_side() {
    let lanes = run(Order::None, key).await;
    assert!(lanes.overlapped);
    assert_eq!(lanes.seen.values().map(Vec::len).sum::<usize>(), 2_000);
}

#[tokio::test]
async fn a_stuck_key_does_not_delay_its_neighbours_nor_events_without_a_key() {
    let bus = TestBus::start().await;
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let script = Script::new([Step::Wait(gate.clone())]);
    bus.subscribe("a").concurrency(4).to(recorder.scripted(&script)).await.unwrap();
    bus.publish(number("a", 0).key("stuck")).await.unwrap();
    gate.reached(1).await;
    bus.publish(number("a", 1).key("stuck")).await.unwrap();
    for n in 2..10 {
        bus.publish(number("a", n).key(format!("{n}"))).await.unwrap();
        bus.publish(number("a", n + 100)).await.unwrap();
    }
    recorder.wait_for(17).await;
    assert!(!recorder.payloads().contains(&Number { n: 1 }));
    gate.open();
    bus.settle().await;
    assert_eq!(recorder.payloads().last(), Some(&Number { n: 1 }));
    bus.finish().await;
}

#[tokio::test]
async fn a_failing_event_opens_its_lane() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no"), Step::Panic("boom"), Step::Dead("never")]);
    bus.subscribe("a").name("w").concurrency(2).to(recorder.scripted(&script)).await.unwrap();
    for n in 0..4 {
        bus.publish(number("a", n).key("k")).await.unwrap();
    }
    bus.settle().await;
    bus.assert_outcomes("w", &["failed", "failed", "dead", "done"]);
    bus.finish().await;
}
