//! Effects are neither lost nor doubled, whatever ends when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Bus, BusBuilder, DurableBuilder, Stream, Table, Tx};
use busway_event::Event;
use busway_middleware::{BoxError, Outcome, Payload};
use busway_persistence::{ReadTables as _, WriteTables as _};
use busway_reliability::Retry;
use busway_testkit::{ManualClock, TestBus};
use parking_lot::Mutex;

use super::super::{dir, open, stock};
use super::{about, once, publish, steps};
use crate::world::{Number, ends, turns};

/// The control: what many do, in a handler of its own. It must lose the event, or this test tells nothing.
#[tokio::test]
async fn marking_before_success_loses_an_event_and_marking_with_it_does_not() {
    let a_second_later = Retry::constant(Duration::from_secs(1));
    let lost = {
        let (dir, marked, effects) = (dir(), Arc::new(Mutex::new(BTreeSet::new())), Arc::new(Mutex::new(0)));
        let bus = open(&dir).await;
        let (marks, counted) = (Arc::clone(&marked), Arc::clone(&effects));
        let marks_first = move |event: Event<Number>| {
            let is_new = marks.lock().insert(event.metadata().get("bizId").unwrap_or_default().to_owned());
            let counted = Arc::clone(&counted);
            async move { if is_new { effect(&counted) } else { Outcome::Skip } }
        };
        stock(&bus).retry(a_second_later).to(marks_first).await.unwrap();
        publish(&bus, [("A", 1)]).await;
        bus.settle().await;
        bus.clock().advance(Duration::from_secs(1));
        bus.settle().await;
        bus.finish().await;
        *effects.lock()
    };
    assert_eq!(lost, 1, "it was called once, and that call failed: the effect never happened");

    let (dir, effects) = (dir(), Arc::new(Mutex::new(0)));
    let bus = open(&dir).await;
    let counted = Arc::clone(&effects);
    let handler = move |_: Payload<Number>| std::future::ready(effect(&counted));
    let subscription = stock(&bus).retry(a_second_later).idempotent(once()).to(handler).await.unwrap();
    publish(&bus, [("A", 1), ("A", 2)]).await;
    bus.settle().await;
    bus.clock().advance(Duration::from_secs(1));
    bus.settle().await;
    assert_eq!(
        *effects.lock(),
        2,
        "the first call failed, the second had its effect, and there was no third"
    );
    assert_eq!(subscription.stats().done, 1);
    bus.finish().await;
}

/// Fails at the first call, has its effect at the second.
fn effect(calls: &Mutex<u32>) -> Outcome {
    let mut calls = calls.lock();
    *calls += 1;
    match *calls {
        1 => Outcome::failed("the outside system is away"),
        _ => Outcome::Done,
    }
}

const EFFECTS: Table<String, u32> = Table::new("effects");
const TASKS: u32 = 8;
const ROUNDS: u32 = 8;
/// Each id is published so often, about.
const TIMES: u32 = 10;

/// `BUSWAY_ONCE_PUBLISHES` says how many in all: `cargo xtask chaos` asks for a million, of a hundred thousand ids.
fn publishes() -> u32 {
    std::env::var("BUSWAY_ONCE_PUBLISHES").map_or(2_560, |publishes| publishes.parse().unwrap())
}

fn with_table(builder: BusBuilder) -> BusBuilder {
    builder.stream(Stream::new("orders").capture("orders.#").partitions(3)).table(&EFFECTS)
}

async fn opened(dir: &tempfile::TempDir, clock: &ManualClock) -> TestBus {
    let free = async {
        loop {
            match with_table(Bus::open(dir.path())).start().await {
                Ok(bus) => return drop(bus.shutdown(Duration::ZERO).await),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            turns().await;
        }
    };
    ends(free).await;
    TestBus::open_on(clock.clone(), dir.path(), with_table).await
}

fn subscribe(bus: &TestBus) -> DurableBuilder {
    // However often the clock is moved.
    stock(bus).concurrency(6).idempotent(once().ttl(Duration::from_secs(366 * 24 * 3_600)))
}

/// The effect, the key and the settlement are one commit.
async fn count(event: Event<Number>, mut tx: Tx) -> Result<(), BoxError> {
    let biz_id = event.metadata().get("bizId").unwrap_or_default().to_owned();
    let before = tx.get(&EFFECTS, &biz_id)?.unwrap_or(0);
    tx.put(&EFFECTS, &biz_id, &(before + 1))?;
    // Now and then it fails behind its writes, or is cut short there.
    tokio::task::yield_now().await;
    if fastrand::u32(..8) == 0 {
        return Err("now and then".into());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_publishes_of_few_ids_over_eight_tasks_with_crashes_have_each_effect_once() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (ids, each) = (publishes() / TIMES, publishes() / ROUNDS / TASKS);
    let mut published = BTreeSet::new();
    for round in 0..ROUNDS {
        let bus = opened(&dir, &clock).await;
        subscribe(&bus).to(count).await.unwrap();
        let mut tasks = Vec::new();
        for _ in 0..TASKS {
            let drawn: Vec<String> = (0..each).map(|_| format!("id-{}", fastrand::u32(..ids))).collect();
            published.extend(drawn.iter().cloned());
            let bus = &bus;
            tasks.push(async move {
                for some in drawn.chunks(256) {
                    bus.publish_batch(some.iter().map(|id| about(id, 0)).collect()).await.unwrap();
                }
            });
        }
        futures_util::future::join_all(tasks).await;
        for _ in 0..round % 5 {
            turns().await;
            clock.advance(Duration::from_millis(300));
        }
        // Dropped as it is: what runs is cut short, what is decided may not be stored.
    }
    let bus = opened(&dir, &clock).await;
    let subscription = subscribe(&bus).to(count).await.unwrap();
    // Parked ones are due at their times.
    let settled = async {
        while subscription.lag().events > 0 {
            clock.advance(Duration::from_secs(1));
            turns().await;
        }
    };
    // The long form takes its time.
    match publishes() > 10_000 {
        true => settled.await,
        false => ends(settled).await,
    }
    bus.settle().await;
    let mut effects = BTreeMap::new();
    for id in &published {
        effects.insert(id, bus.read(|tables| tables.get(&EFFECTS, id)).unwrap());
    }
    let wrong: Vec<_> = effects.iter().filter(|(_, times)| **times != Some(1)).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), published.len());
    let stats = subscription.stats();
    assert_eq!((subscription.lag().events, stats.dead), (0, 0), "{stats}");
    assert!(steps(&subscription).store_hits > 0 || stats.done == 0, "{}", steps(&subscription));
    bus.finish().await;
}
