//! What a handler returns is published before its key is done: refused, the event is handled again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use busway_event::{Draft, Event, Raw};
use busway_middleware::{
    AnyHandler, Batch, Delivery, Ephemeral, IntoHandler, Middleware, Next, Outcome, Payload, Stage,
    SyncMiddleware, batch, blocking,
};
use busway_reliability::{Idempotency, Retry};
use busway_testkit::{SharedKeys, TestBus};

use super::{once, publish};
use crate::world::{Number, ends};

/// Refused for its topic the first time, and then no more.
fn confirmation(calls: &AtomicU32) -> Draft<Raw> {
    let topic = if calls.fetch_add(1, Ordering::Relaxed) == 0 { "confirmed..x" } else { "confirmed.x" };
    Event::new(topic, Raw::from("{}"))
}

/// A way of making a handler that confirms.
type Make = fn(&Arc<AtomicU32>) -> AnyHandler<Ephemeral>;

fn one_by_one(calls: &Arc<AtomicU32>) -> AnyHandler<Ephemeral> {
    let calls = Arc::clone(calls);
    IntoHandler::<Ephemeral, _>::into_handler(move |_: Payload<Number>| {
        std::future::ready(confirmation(&calls))
    })
}

fn on_a_thread(calls: &Arc<AtomicU32>) -> AnyHandler<Ephemeral> {
    let calls = Arc::clone(calls);
    IntoHandler::<Ephemeral, _>::into_handler(blocking(move |_: Payload<Number>| confirmation(&calls)))
}

fn soon() -> Retry {
    Retry::default().first_delay(Duration::from_secs(1)).longest_delay(Duration::from_secs(1))
}

fn confirmed(bus: &TestBus) -> usize {
    bus.published_on("confirmed.x").len()
}

/// Lets time go on until so many are settled, also by a thread.
async fn settled(bus: &TestBus, count: impl Fn() -> u64, many: u64) {
    let settled = async {
        while count() < many {
            bus.clock().advance_to_next();
            tokio::task::yield_now().await;
        }
    };
    ends(settled).await;
}

fn keys_in_memory(_: &TestBus) -> Idempotency {
    once()
}

fn keys_in_a_store(bus: &TestBus) -> Idempotency {
    once().store(SharedKeys::new(bus.clock()).store())
}

const KEPT: [fn(&TestBus) -> Idempotency; 2] = [keys_in_memory, keys_in_a_store];

#[tokio::test]
async fn what_was_refused_is_returned_by_the_next_attempt() {
    let handlers: [Make; 2] = [one_by_one, on_a_thread];
    for (kept, handler) in KEPT.into_iter().flat_map(|kept| handlers.map(|handler| (kept, handler))) {
        let (bus, calls) = (TestBus::start().await, Arc::new(AtomicU32::new(0)));
        let builder = bus.subscribe("orders.#").name("stock").idempotent(kept(&bus)).retry(soon());
        let subscription = builder.to(handler(&calls)).await.unwrap();
        let count = || {
            let stats = subscription.stats();
            stats.done + stats.skipped
        };
        publish(&bus, [("A", 1)]).await;
        settled(&bus, count, 1).await;
        assert_eq!((calls.load(Ordering::Relaxed), confirmed(&bus)), (2, 1), "{}", subscription.stats());
        publish(&bus, [("A", 2)]).await;
        settled(&bus, count, 2).await;
        let stats = subscription.stats();
        assert_eq!((calls.load(Ordering::Relaxed), stats.done, stats.skipped), (2, 1, 1), "{stats}");
        bus.finish().await;
    }
}

#[tokio::test]
async fn of_a_batch_a_duplicate_returns_what_was_refused_and_the_others_wait_for_nothing() {
    for kept in KEPT {
        let (bus, calls) = (TestBus::start().await, Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&calls);
        let handler = batch(move |orders: Batch<Number>| {
            let drafts = orders.iter().map(|_| confirmation(&counted));
            std::future::ready(drafts.collect::<Vec<_>>())
        });
        let subscription =
            bus.subscribe("orders.#").name("stock").idempotent(kept(&bus)).to(handler).await.unwrap();
        subscription.pause();
        publish(&bus, [("A", 1), ("A", 2), ("B", 3), ("A", 4), ("B", 5)]).await;
        subscription.resume();
        assert!(bus.settle_within(Duration::from_secs(10)).await, "{}", subscription.stats());
        let stats = subscription.stats();
        assert_eq!((stats.done, stats.failed, stats.skipped), (2, 1, 2), "{stats}");
        assert_eq!((calls.load(Ordering::Relaxed), confirmed(&bus)), (3, 2), "{stats}");
        bus.finish().await;
    }
}

/// Makes a failure of what was done, the first time.
struct Spoils(AtomicU32);

impl SyncMiddleware for Spoils {
    fn after(&self, _: &Delivery, outcome: Outcome) -> Outcome {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => Outcome::failed("spoilt"),
            _ => outcome,
        }
    }
}

#[tokio::test]
async fn what_a_step_outside_makes_a_failure_of_is_not_done() {
    let (bus, calls) = (TestBus::start().await, Arc::new(AtomicU32::new(1)));
    let builder = bus.subscribe("orders.#").idempotent(once()).retry(soon());
    let builder = builder.middleware(Stage::Trace, "spoils", Spoils(AtomicU32::new(0)));
    let subscription = builder.to(one_by_one(&calls)).await.unwrap();
    publish(&bus, [("A", 1)]).await;
    assert!(bus.settle_within(Duration::from_secs(10)).await);
    assert_eq!((subscription.stats().done, confirmed(&bus)), (1, 1), "{}", subscription.stats());
    bus.finish().await;
}

/// Goes on inwards once more when that has failed.
struct Again;

impl Middleware for Again {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        match next.run(delivery).await {
            Outcome::Failed(_) => next.run(delivery).await,
            outcome => outcome,
        }
    }
}

#[tokio::test]
async fn what_a_step_outside_goes_through_once_more_is_done_by_the_last_time() {
    for kept in KEPT {
        let (bus, calls) = (TestBus::start().await, Arc::new(AtomicU32::new(1)));
        let builder = bus.subscribe("orders.#").name("stock").idempotent(kept(&bus));
        let builder = builder.middleware(Stage::Trace, "again", Again);
        let builder = builder.middleware(Stage::Decode, "spoils", Spoils(AtomicU32::new(0)));
        let subscription = builder.to(one_by_one(&calls)).await.unwrap();
        publish(&bus, [("A", 1)]).await;
        bus.settle().await;
        assert_eq!((subscription.stats().done, confirmed(&bus)), (1, 1), "{}", subscription.stats());
        publish(&bus, [("A", 2)]).await;
        bus.settle().await;
        assert_eq!((subscription.stats().skipped, confirmed(&bus)), (1, 1), "{}", subscription.stats());
        bus.finish().await;
    }
}
