//! Buses that share their keys in Redis.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Bus, DurableSubscription, StartAt, Stream};
use busway_event::{Event, Raw};
use busway_reliability::{Idempotency, Retry};
use parking_lot::Mutex;
use redis as _;

use crate::server::Server;

/// How often each key had its effect.
type Effects = Arc<Mutex<BTreeMap<String, u32>>>;

async fn start(path: &Path) -> Bus {
    Bus::open(path).stream(Stream::new("orders").capture("orders.#")).start().await.unwrap()
}

/// A subscription whose handler fails now and then, before its effect.
async fn subscribe(bus: &Bus, server: &Server, effects: &Effects) -> DurableSubscription {
    let effects = Arc::clone(effects);
    let handler = move |event: Event<Raw>| {
        let effects = Arc::clone(&effects);
        async move {
            tokio::task::yield_now().await;
            if fastrand::u32(..8) == 0 {
                return Err("now and then");
            }
            let key = event.metadata().get("bizId").unwrap_or_default().to_owned();
            *effects.lock().entry(key).or_default() += 1;
            Ok(())
        }
    };
    let keys = server.keys("busway").await.unwrap();
    let once = Idempotency::by_metadata(["bizId"]).store(Arc::new(keys));
    let at_once = Retry::default().attempts(1_000).first_delay(Duration::from_millis(1));
    let builder = bus.subscribe("orders.#").durable("stock").start_at(StartAt::Earliest).concurrency(4);
    builder.retry(at_once.longest_delay(Duration::from_millis(1))).idempotent(once).to(handler).await.unwrap()
}

async fn publish(bus: &Bus, numbers: std::ops::Range<u32>) {
    let draft = |n: u32| Event::new("orders.created", Raw::from("{}")).meta("bizId", format!("id-{n}"));
    bus.publish_batch(numbers.map(draft).collect()).await.unwrap();
}

async fn settled(subscription: &DurableSubscription) {
    while subscription.lag().events > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_two_owners_that_are_given_the_same_have_each_effect_once() {
    let server = Server::start().await;
    let (one, other, effects) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Effects::default());
    let (one, other) = (start(one.path()).await, start(other.path()).await);
    let first = subscribe(&one, &server, &effects).await;
    let second = subscribe(&other, &server, &effects).await;
    for round in 0..4 {
        let numbers = round * 50..(round + 2) * 50;
        tokio::join!(publish(&one, numbers.clone()), publish(&other, numbers));
    }
    settled(&first).await;
    settled(&second).await;
    let effects = effects.lock().clone();
    assert_eq!(effects.len(), 250);
    assert!(effects.values().all(|times| *times == 1), "{effects:?}");
    let (first, second) = (first.stats(), second.stats());
    assert_eq!((first.dead, second.dead), (0, 0));
    let steps = [first.idempotency.unwrap(), second.idempotency.unwrap()];
    assert!(steps.iter().all(|steps| steps.local_hits + steps.store_hits > 0), "{steps:?}");
    one.shutdown(Duration::from_secs(5)).await;
    other.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_server_that_is_killed_and_started_again_during_the_run_delays_and_loses_and_doubles_nothing()
 {
    let mut server = Server::start().await;
    let (dir, effects) = (tempfile::tempdir().unwrap(), Effects::default());
    let bus = start(dir.path()).await;
    let subscription = subscribe(&bus, &server, &effects).await;
    for round in 0..3_u32 {
        publish(&bus, round * 100..(round + 2) * 100).await;
        server.kill();
        let before = subscription.stats().idempotency.unwrap().unreachable;
        publish(&bus, round * 100..(round + 1) * 100 + 50).await;
        while subscription.stats().idempotency.unwrap().unreachable <= before {
            tokio::task::yield_now().await;
        }
        server.start_again().await;
    }
    settled(&subscription).await;
    let stats = subscription.stats();
    let effects = effects.lock().clone();
    // The process did not die, so that no effect was between its handler and its key: none is doubled.
    assert_eq!(effects.len(), 400, "{stats}");
    assert!(effects.values().all(|times| *times == 1), "{effects:?}");
    assert_eq!((stats.dead, stats.parked), (0, 0), "{stats}");
    bus.shutdown(Duration::from_secs(5)).await;
}
