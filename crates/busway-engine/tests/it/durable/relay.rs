//! Ephemeral subscriptions to durable topics: offered from the log, after the commit, in its order.

use std::collections::BTreeMap;
use std::sync::Arc;

use busway_engine::Stream;
use busway_reliability::Overflow;
use busway_testkit::{Recorder, TestBus};
use parking_lot::Mutex;

use super::{dir, numbers, open, publish};
use crate::world::{Number, ends, number};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ephemeral_subscribers_see_durable_events_after_their_commit_and_in_the_order_of_the_log() {
    let dir = dir();
    let bus = Arc::new(open(&dir).await);
    let recorder = Recorder::<Number>::new();
    let subscribe = bus.subscribe("orders.#").overflow(Overflow::Block(None)).capacity(4);
    let subscription = subscribe.to(recorder.handler()).await.unwrap();
    let places = Arc::new(Mutex::new(BTreeMap::new()));
    let publish = |publisher: u32| {
        let (bus, places) = (Arc::clone(&bus), Arc::clone(&places));
        tokio::spawn(async move {
            for n in publisher * 100..publisher * 100 + 50 {
                let receipt = bus.publish(number("orders.created", n)).await.unwrap();
                places.lock().insert(receipt.position.unwrap().offset, n);
            }
        })
    };
    let publishers: Vec<_> = (0..8).map(publish).collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    ends(bus.settle()).await;
    let in_order: Vec<u32> = places.lock().values().copied().collect();
    assert_eq!(in_order.len(), 400);
    recorder.assert_payloads(&numbers(in_order));
    assert_eq!(subscription.stats().tally.delivered, 400);
}

#[tokio::test]
async fn an_ephemeral_subscription_gets_what_is_committed_from_now_on() {
    let dir = dir();
    let bus = open(&dir).await;
    publish(&bus, 0..3).await;
    bus.settle().await;
    let (one, two) = (Recorder::<Number>::new(), Recorder::<Number>::new());
    bus.subscribe("orders.#").to(one.handler()).await.unwrap();
    bus.subscribe("#").to(two.handler()).await.unwrap();
    publish(&bus, 3..6).await;
    bus.settle().await;
    one.assert_payloads(&numbers(3..6));
    two.assert_payloads(&numbers(3..6));
    assert_eq!((bus.stats().published, bus.stats().unrouted), (6, 3));
    bus.finish().await;

    let bus = open(&dir).await;
    let after = Recorder::<Number>::new();
    bus.subscribe("orders.#").to(after.handler()).await.unwrap();
    bus.settle().await;
    assert_eq!(after.count(), 0, "the log is not replayed to ephemeral subscriptions");
    bus.finish().await;
}

#[tokio::test]
async fn all_partitions_are_relayed_and_a_shutdown_waits_for_that() {
    let dir = dir();
    let bus = TestBus::open(dir.path(), |builder| {
        builder.stream(Stream::new("orders").capture("orders.#").partitions(4))
    })
    .await;
    let recorder = Recorder::<Number>::new();
    bus.subscribe("orders.#").capacity(1_000).to(recorder.handler()).await.unwrap();
    publish(&bus, 0..100).await;
    let report = bus.finish().await;
    assert!(report.is_drained(), "{report}");
    let mut seen: Vec<u32> = recorder.payloads().iter().map(|number| number.n).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_inline_handler_sees_an_event_when_it_is_committed() {
    let dir = dir();
    let bus = open(&dir).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let handler = busway_middleware::inline(move |number: busway_middleware::Payload<Number>| {
        notes.lock().push(number.n);
    });
    bus.subscribe("orders.#").to(handler).await.unwrap();
    publish(&bus, 0..3).await;
    bus.settle().await;
    assert_eq!(*seen.lock(), [0, 1, 2]);
    bus.finish().await;
}

/// Without an observer, as a bus in production may be: what nobody is to be offered is not read.
#[tokio::test]
async fn where_nobody_listens_the_relay_counts_what_no_subscription_means_and_a_newcomer_gets_what_follows() {
    let dir = dir();
    let stream = Stream::new("orders").capture("orders.#");
    let bus = busway_engine::Bus::open(dir.path()).stream(stream).start().await.unwrap();
    let published = async |topic: &str, n| {
        bus.publish(number(topic, n)).await.unwrap();
        ends(bus.idle()).await;
        bus.stats().unrouted
    };
    assert_eq!(published("orders.created", 0).await, 1);
    let recorder = Recorder::<Number>::new();
    let some = bus.subscribe("orders.created").durable("some").to(recorder.handler()).await.unwrap();
    assert_eq!(published("orders.created", 1).await, 1);
    assert_eq!(published("orders.paid", 2).await, 2, "only reading tells that nobody means it");
    let all = bus.subscribe("orders.#").durable("all").to(recorder.handler()).await.unwrap();
    assert_eq!(published("orders.paid", 3).await, 2);
    all.stop().await;
    some.stop().await;
    let batch = (4..8).map(|n| number("orders.created", n)).collect();
    bus.publish_batch(batch).await.unwrap();
    let newcomer = Recorder::<Number>::new();
    ends(bus.idle()).await;
    bus.subscribe("orders.#").to(newcomer.handler()).await.unwrap();
    assert_eq!(published("orders.created", 8).await, 6);
    newcomer.assert_payloads(&numbers([8]));
    recorder.assert_payloads(&numbers([1, 3]));
    assert!(bus.shutdown(std::time::Duration::from_secs(5)).await.is_drained());
}
