//! Keys of what a broker delivers: not done before what the handler returned is published.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use busway_engine::transport::Verdict;
use busway_event::{Event, Raw};
use busway_middleware::{Batch, Payload, batch};
use busway_reliability::{Idempotency, Retry};
use busway_testkit::{Gate, Recorder, Script, SharedKeys, Step, TestBus};

use super::done;
use super::world::{Scripted, again, delivery, until};
use crate::world::{ends, turns};

#[tokio::test]
async fn what_was_refused_is_returned_by_the_next_attempt_and_then_by_none() {
    for is_shared in [false, true] {
        let bus = TestBus::start().await;
        let (broker, calls) = (Scripted::able(), Arc::new(AtomicU32::new(0)));
        let keys = SharedKeys::new(bus.clock());
        let once = if is_shared { Idempotency::by_id().store(keys.store()) } else { Idempotency::by_id() };
        let counted = Arc::clone(&calls);
        let confirms = move |_: Payload<Raw>| {
            let topic =
                if counted.fetch_add(1, Ordering::Relaxed) == 0 { "confirmed..x" } else { "confirmed.x" };
            std::future::ready(Event::new(topic, Raw::from("{}")))
        };
        let retry = Retry::default().first_delay(Duration::from_secs(1));
        let stock = bus.subscribe("orders.#").idempotent(once).retry(retry).on(&broker, "orders", "stock");
        let stock = stock.to(confirms).await.unwrap();
        broker.deliver([delivery(1, "a", None)]);
        let told = async {
            while broker.told_now().is_empty() {
                bus.clock().advance_to_next();
                tokio::task::yield_now().await;
            }
        };
        ends(told).await;
        broker.deliver([again(delivery(2, "a", None), 2)]);
        assert_eq!(broker.told(2).await, [done(1), done(2)]);
        assert_eq!((calls.load(Ordering::Relaxed), bus.published_on("confirmed.x").len()), (2, 1));
        assert_eq!(ends(stock.stop()).await.subscription.skipped, 1);
    }
}

#[tokio::test]
async fn members_of_a_subscription_at_a_broker_share_their_keys_whatever_they_are_called_here() {
    let bus = TestBus::start().await;
    let keys = SharedKeys::new(bus.clock());
    let calls = Arc::new(AtomicU32::new(0));
    let mut members = Vec::new();
    for name in ["stock-1", "stock-2"] {
        let broker = Scripted::able();
        let counted = Arc::clone(&calls);
        let handler = move |_: Payload<Raw>| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(())
        };
        let builder =
            bus.subscribe("orders.#").name(name).idempotent(Idempotency::by_id().store(keys.store()));
        members.push((builder.on(&broker, "orders", "stock").to(handler).await.unwrap(), broker));
    }
    for (_, broker) in &members {
        broker.deliver([delivery(1, "a", None)]);
        assert_eq!(broker.told(1).await, [done(1)]);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    for (member, _) in members {
        ends(member.stop()).await;
    }
}

#[tokio::test]
async fn what_is_not_handled_goes_back_to_its_broker_when_the_subscription_stops_while_the_store_is_away() {
    for is_batch in [false, true] {
        let (bus, broker) = (TestBus::start().await, Scripted::able());
        let keys = SharedKeys::new(bus.clock());
        keys.set_reachable(false);
        let builder = bus.subscribe("orders.#").idempotent(Idempotency::by_id().store(keys.store()));
        let builder = builder.on(&broker, "orders", "stock");
        let stock = match is_batch {
            false => builder.to(|| async {}).await.unwrap(),
            true => builder.to(batch(|_: Batch<Raw>| async {})).await.unwrap(),
        };
        broker.deliver([delivery(1, "a", None)]);
        until(|| keys.calls() > 0).await;
        let told = async {
            while broker.told_now().is_empty() {
                bus.clock().advance_to_next();
                turns().await;
            }
        };
        ends(async { tokio::join!(stock.stop(), told) }).await;
        assert_eq!(broker.told_now(), [(1, Verdict::Back)], "batch: {is_batch}");
    }
}

#[tokio::test]
async fn what_is_handled_is_settled_by_a_shutdown_though_the_store_cannot_be_told() {
    let (bus, broker, gate) = (TestBus::start().await, Scripted::able(), Gate::closed());
    let keys = SharedKeys::new(bus.clock());
    let builder = bus.subscribe("orders.#").idempotent(Idempotency::by_id().store(keys.store()));
    let script = Script::new([Step::Wait(gate.clone())]);
    let seen = Recorder::<Raw>::new();
    let stock = builder.on(&broker, "orders", "stock").to(seen.scripted(&script)).await.unwrap();
    broker.deliver([delivery(1, "a", None)]);
    gate.reached(1).await;
    keys.set_silent(true);
    gate.open();
    turns().await;
    let clock = bus.clock().clone();
    let passes = async {
        while broker.told_now().is_empty() {
            turns().await;
            clock.advance(Duration::from_millis(100));
        }
    };
    ends(async { tokio::join!(bus.shutdown(Duration::from_secs(1)), passes) }).await;
    assert_eq!(broker.told_now(), [done(1)]);
    let stats = stock.stats().subscription;
    assert_eq!((stats.done, stats.idempotency.unwrap().untold), (1, 1));
}
