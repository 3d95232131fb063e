//! Idempotency of ephemeral subscriptions: in memory.

use std::time::Duration;

use busway_reliability::Idempotency;
use busway_testkit::{Gate, Recorder, Script, SharedKeys, Step, TestBus};

use super::super::numbers;
use super::{once, publish};
use crate::world::{Number, turns};

#[tokio::test]
async fn an_ephemeral_subscription_remembers_in_memory_for_as_long_as_its_cache_does() {
    let (bus, recorder) = (TestBus::start().await, Recorder::<Number>::new());
    let subscription = bus.subscribe("orders.#").idempotent(once()).to(recorder.handler()).await.unwrap();
    publish(&bus, [("A", 1), ("A", 2), ("B", 3)]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 3]));
    bus.clock().advance(Duration::from_secs(60));
    publish(&bus, [("A", 4)]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 3, 4]));
    let stats = subscription.stats();
    let steps = stats.idempotency.unwrap();
    assert_eq!((stats.done, stats.skipped), (3, 1));
    assert_eq!((steps.local_hits, steps.misses, steps.leased, steps.store_hits), (1, 3, 3, 0), "{steps}");
    assert!(bus.describe().to_string().contains("idempotent = metadata bizId"));
    bus.finish().await;
}

#[tokio::test]
async fn a_duplicate_waits_in_its_place_until_the_other_one_has_ended() {
    let (bus, recorder, gate) = (TestBus::start().await, Recorder::<Number>::new(), Gate::closed());
    let script = Script::new([Step::Wait(gate.clone()), Step::Fail("no"), Step::Done]);
    let builder = bus.subscribe("orders.#").concurrency(3).idempotent(once());
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, [("A", 1), ("A", 2), ("B", 3), ("B", 4)]).await;
    gate.reached(1).await;
    while subscription.stats().failed < 1 || subscription.stats().done < 1 {
        turns().await;
    }
    gate.open();
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.failed, stats.skipped), (2, 1, 1), "{stats}");
    let mut handled: Vec<u32> = recorder.payloads().iter().map(|number| number.n).collect();
    handled.sort_unstable();
    assert_eq!(handled, [1, 3, 4], "B failed and was handled again by its duplicate");
    bus.finish().await;
}

#[tokio::test]
async fn with_a_shared_store_it_waits_in_its_place_while_that_cannot_be_reached() {
    let (bus, recorder) = (TestBus::start().await, Recorder::<Number>::new());
    let keys = SharedKeys::new(bus.clock());
    keys.set_reachable(false);
    let shared = Idempotency::by_metadata(["bizId"]).store(keys.store());
    let subscription = bus.subscribe("orders.#").idempotent(shared).to(recorder.handler()).await.unwrap();
    publish(&bus, [("A", 1), ("A", 2)]).await;
    assert!(!bus.settle_within(Duration::from_secs(10)).await);
    assert_eq!(recorder.count(), 0);
    keys.set_reachable(true);
    assert!(bus.settle_within(Duration::from_secs(10)).await);
    recorder.assert_payloads(&numbers([1]));
    assert!(subscription.stats().idempotency.unwrap().unreachable >= 10);
    bus.finish().await;
}

#[tokio::test]
async fn a_step_of_the_same_name_is_a_problem() {
    let bus = TestBus::start().await;
    let builder = bus.subscribe("orders.#").idempotent(once());
    let builder = builder.middleware(busway_middleware::Stage::User, "idempotent", Nothing);
    let error = builder.to(async || {}).await.unwrap_err();
    assert!(error.to_string().contains("idempotent"), "{error}");
    bus.finish().await;
}

struct Nothing;

impl busway_middleware::SyncMiddleware for Nothing {}
