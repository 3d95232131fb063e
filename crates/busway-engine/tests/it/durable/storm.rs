//! Many restarts at any moment, with handlers that fail: nothing is lost, and no key is overtaken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Bus, BusBuilder, StartAt, Stream};
use busway_event::Event;
use busway_middleware::{AnyHandler, Durable, IntoHandler, Outcome};
use busway_testkit::{ManualClock, TestBus};
use parking_lot::Mutex;

use super::{dir, order};
use crate::world::{Number, ends, turns};

const ROUNDS: u32 = 12;
const EVENTS: u32 = 40;
const KEYS: u32 = 7;

fn with_streams(builder: BusBuilder) -> BusBuilder {
    builder.stream(Stream::new("orders").capture("orders.#").partitions(3))
}

/// What was done, in order.
type Done = Arc<Mutex<Vec<u32>>>;

fn handler(done: &Done, failing: u64) -> AnyHandler<Durable> {
    let done = Arc::clone(done);
    let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(failing)));
    let handle = move |order: Event<Number>| {
        let (done, random) = (Arc::clone(&done), Arc::clone(&random));
        async move {
            tokio::task::yield_now().await;
            if failing > 0 && random.lock().u32(..4) == 0 {
                return Outcome::failed("now and then");
            }
            done.lock().push(order.payload().n);
            Outcome::Done
        }
    };
    handle.into_handler()
}

/// The bus before may still be ending.
async fn open(dir: &tempfile::TempDir, clock: &ManualClock) -> TestBus {
    let free = async {
        loop {
            match with_streams(Bus::open(dir.path())).start().await {
                Ok(bus) => return drop(bus.shutdown(Duration::ZERO).await),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            turns().await;
        }
    };
    ends(free).await;
    TestBus::open_on(clock.clone(), dir.path(), with_streams).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_no_key_is_overtaken_over_many_ends_at_any_moment() {
    let (dir, clock, done) = (dir(), ManualClock::new(), Done::default());
    for round in 0..ROUNDS {
        let bus = open(&dir, &clock).await;
        let builder = bus.subscribe("orders.#").durable("stock").start_at(StartAt::Earliest);
        builder.concurrency(4).to(handler(&done, u64::from(round) + 1)).await.unwrap();
        let numbers = round * EVENTS..(round + 1) * EVENTS;
        let drafts = numbers.map(|n| order(&format!("key-{}", n % KEYS), n)).collect();
        bus.publish_batch(drafts).await.unwrap();
        for _ in 0..round % 4 {
            turns().await;
            clock.advance(Duration::from_millis(300));
        }
        // Some ends are gentle.
        if round % 3 == 0 {
            let report = bus.shutdown(Duration::from_secs(60)).await;
            assert!(report.is_drained(), "{report}");
        }
    }
    let bus = open(&dir, &clock).await;
    let builder = bus.subscribe("orders.#").durable("stock").concurrency(4);
    let subscription = builder.to(handler(&done, 0)).await.unwrap();
    let settled = async {
        bus.settle().await;
        while subscription.lag().events > 0 {
            clock.advance(Duration::from_secs(60));
            bus.settle().await;
        }
    };
    ends(settled).await;
    bus.finish().await;

    let mut first_done: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for &n in &*done.lock() {
        let of_key = first_done.entry(n % KEYS).or_default();
        if !of_key.contains(&n) {
            of_key.push(n);
        }
    }
    let all: usize = first_done.values().map(Vec::len).sum();
    assert_eq!(all, usize::try_from(ROUNDS * EVENTS).unwrap(), "each was done");
    for (key, numbers) in first_done {
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
}
