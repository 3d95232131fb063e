//! What goes wrong beside a handler costs its event an attempt, and nobody else anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use busway_engine::{Clock as _, LookupError, StartAt, Stream};
use busway_event::{Draft, Event, EventId, EventType};
use busway_middleware::{Delivery, Payload, inline};
use busway_reliability::Retry;
use busway_testkit::{Gate, ManualClock, Recorder, TestBus};
use serde::{Deserialize, Serialize, Serializer};

use super::{dir, numbers, open, open_on, order, publish, stock};
use crate::world::{Number, number};

/// Its bytes cannot be made.
#[derive(Debug, Deserialize)]
struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("a bug in a payload")
    }
}

impl EventType for Unencodable {
    const NAME: &'static str = "unencodable";
}

fn emit(payload: &Number) -> Option<Draft<Unencodable>> {
    (payload.n == 1).then(|| Event::new("orders.confirmed", Unencodable))
}

#[tokio::test]
async fn an_event_that_panics_while_it_is_emitted_is_a_failed_attempt_and_the_others_go_on() {
    let dir = dir();
    let bus = open(&dir).await;
    let filter = bus.subscribe("orders.created").durable("emits").retry(Retry::default().attempts(1));
    let emits = filter.to(async |payload: Payload<Number>| emit(&payload)).await.unwrap();
    publish(&bus, 0..4).await;
    bus.settle().await;
    let stats = emits.stats();
    assert_eq!((stats.done, stats.dead, stats.running), (3, 1, 0));
    bus.finish().await;
}

#[tokio::test]
async fn an_event_that_panics_while_it_is_relayed_is_skipped_and_the_others_go_on() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    bus.subscribe("orders.created").to(inline(|payload: Payload<Number>| emit(&payload))).await.unwrap();
    bus.subscribe("orders.created").to(recorder.handler()).await.unwrap();
    publish(&bus, [0, 1, 2]).await;
    bus.settle().await;
    let seen = recorder.payloads();
    assert!(seen.contains(&Number { n: 0 }) && seen.contains(&Number { n: 2 }), "{seen:?}");
    bus.finish().await;
}

#[tokio::test]
async fn a_partition_with_a_backlog_takes_nothing_from_the_others() {
    let dir = dir();
    let bus = TestBus::open(dir.path(), |builder| {
        builder.stream(Stream::new("orders").capture("orders.#").partitions(2))
    })
    .await;
    // One key lies in one partition: find two that do not share theirs.
    let partition_of =
        async |key: &str| bus.publish(order(key, 0)).await.unwrap().position.unwrap().partition;
    let first = partition_of("A").await;
    let mut other = None;
    for key in ["B", "C", "D", "E", "F", "G"] {
        if partition_of(key).await != first {
            other = Some(key);
            break;
        }
    }
    let drafts = |key: &'static str| (0..300).map(move |n| order(key, n));
    bus.publish_batch(drafts("A").chain(drafts(other.unwrap())).collect()).await.unwrap();
    let (handled, early) =
        (Arc::new(AtomicUsize::new(0)), Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]));
    let (counted, gate) = (Arc::clone(&early), Gate::closed());
    let passed = gate.clone();
    let count = move |delivery: Delivery| {
        let (handled, counted, gate) = (Arc::clone(&handled), Arc::clone(&counted), passed.clone());
        async move {
            gate.pass().await;
            tokio::task::yield_now().await;
            if handled.fetch_add(1, Ordering::Relaxed) < 400 {
                let partition = usize::from(delivery.position().unwrap().partition);
                counted[partition].fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let stock = bus.subscribe("orders.#").durable("stock").start_at(StartAt::Earliest);
    stock.concurrency(2).to(count).await.unwrap();
    // One of each key: both partitions are read by now, however long either took.
    gate.reached(2).await;
    gate.open();
    bus.settle().await;
    let early: Vec<_> = early.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert!(early.iter().all(|&count| count >= 150), "{early:?}");
    bus.finish().await;
}

#[tokio::test]
async fn an_event_is_found_by_its_id_behind_what_is_under_way() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    let made = bus.publish(number("orders.created", 1)).await.unwrap();
    let id = EventId::foreign("shop", "A-1");
    let given = bus.publish(number("orders.created", 2).id(id)).await.unwrap();
    for receipt in [made, given] {
        assert_eq!(bus.lookup(receipt.id).await.unwrap(), receipt.position.map(|position| *position));
    }
    assert_eq!(bus.lookup(EventId::foreign("shop", "A-2")).await.unwrap(), None);
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 2]));
    bus.finish().await;
    let memory = TestBus::start().await;
    assert!(matches!(memory.lookup(id).await, Err(LookupError::NoStore)));
    memory.finish().await;
}

#[tokio::test]
async fn an_event_is_found_by_its_id_though_the_wall_clock_was_ahead_and_was_set_back() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    let right = clock.utc();
    let mut receipts = Vec::new();
    for ahead in [0, 3_600, 0, 60, 0] {
        clock.set_utc(right.saturating_add(Duration::from_secs(ahead)));
        for n in 0..3 {
            receipts.push(bus.publish(number("orders.created", n)).await.unwrap());
        }
    }
    let find_all = async |bus: &TestBus| {
        for receipt in &receipts {
            let position = receipt.position.as_deref().cloned();
            assert_eq!(bus.lookup(receipt.id).await.unwrap(), position, "{receipt}");
        }
    };
    find_all(&bus).await;
    bus.finish().await;
    let bus = open_on(&clock, &dir).await;
    find_all(&bus).await;
    bus.finish().await;
}
