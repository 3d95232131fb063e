//! Inline handlers have no queue and no worker, and yet keep the promises of all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway_engine::{Bus, Subscription};
use busway_middleware::{Delivery, Payload, Stage, inline};
use busway_testkit::{Gate, TestBus};
use tokio::task::JoinHandle;

use crate::world::{AtGate, Number, account, assert_settled, number, turns};

/// An inline subscription behind async middleware that holds its first event, published by a task of its own.
async fn held(bus: &TestBus) -> (Subscription, Gate, Arc<AtomicU64>, JoinHandle<()>) {
    let (gate, seen) = (Gate::closed(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&seen);
    let builder = bus.subscribe("a").name("in").middleware(Stage::User, "hold", AtGate(gate.clone()));
    let handler = inline(move |_: Payload<Number>| _ = count.fetch_add(1, Ordering::SeqCst));
    let subscription = builder.to(handler).await.unwrap();
    let inner = Bus::clone(bus);
    let publishing = tokio::spawn(async move { _ = inner.publish(number("a", 1)).await });
    gate.reached(1).await;
    (subscription, gate, seen, publishing)
}

#[tokio::test]
async fn an_inline_handler_is_told_what_it_lost_while_it_was_paused() {
    let bus = TestBus::start().await;
    let lag = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&lag);
    let handler = inline(move |delivery: Delivery| _ = sum.fetch_add(delivery.lagged(), Ordering::SeqCst));
    let subscription = bus.subscribe("a").to(handler).await.unwrap();
    subscription.pause();
    for n in 0..3 {
        bus.publish(number("a", n)).await.unwrap();
    }
    subscription.resume();
    bus.publish(number("a", 3)).await.unwrap();
    bus.publish(number("a", 4)).await.unwrap();
    assert_eq!(account(&subscription.stats().tally), [5, 2, 3, 0, 0]);
    assert_eq!(lag.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn stopping_waits_for_an_inline_handler_that_runs() {
    let bus = TestBus::start().await;
    let (subscription, gate, handled, publishing) = held(&bus).await;
    let stopping = tokio::spawn(subscription.stop());
    turns().await;
    assert!(!stopping.is_finished(), "its event is not handled yet");
    gate.open();
    publishing.await.unwrap();
    let stats = stopping.await.unwrap();
    assert_settled(&stats);
    assert_eq!((stats.done, handled.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(account(&bus.stats().tally), [1, 1, 0, 0, 0]);
}

#[tokio::test]
async fn nothing_is_handled_inline_after_the_subscription_was_aborted() {
    let bus = TestBus::start().await;
    let (subscription, gate, handled, publishing) = held(&bus).await;
    subscription.abort();
    turns().await;
    gate.open();
    publishing.await.unwrap();
    assert_eq!(handled.load(Ordering::SeqCst), 0, "it was cut short");
    assert_eq!(account(&bus.stats().tally), [1, 0, 0, 0, 1]);
}

#[tokio::test]
async fn nothing_is_handled_inline_after_the_report_of_a_shutdown() {
    let bus = TestBus::start().await;
    let (_subscription, gate, handled, publishing) = held(&bus).await;
    let inner = Bus::clone(&bus);
    let shutdown = tokio::spawn(async move { inner.shutdown(Duration::ZERO).await });
    turns().await;
    while !shutdown.is_finished() && bus.clock().advance_to_next() {
        turns().await;
    }
    let report = shutdown.await.unwrap();
    assert_eq!(account(&report.tally), [1, 0, 0, 0, 1], "{report}");
    gate.open();
    publishing.await.unwrap();
    assert_eq!(handled.load(Ordering::SeqCst), 0, "it was cut short");
    assert_eq!(bus.stats().tally, report.tally);
}

#[tokio::test]
async fn a_shutdown_with_grace_waits_for_an_inline_handler_that_runs() {
    let bus = TestBus::start().await;
    let (_subscription, gate, handled, publishing) = held(&bus).await;
    let inner = Bus::clone(&bus);
    let shutdown = tokio::spawn(async move { inner.shutdown(Duration::from_secs(60)).await });
    turns().await;
    assert!(!shutdown.is_finished());
    gate.open();
    let report = shutdown.await.unwrap();
    publishing.await.unwrap();
    assert!(report.is_drained(), "{report}");
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_paused_inline_subscription_can_be_stopped() {
    let bus = TestBus::start().await;
    let subscription = bus.subscribe("a").to(inline(|_: Payload<Number>| {})).await.unwrap();
    subscription.pause();
    bus.publish(number("a", 1)).await.unwrap();
    assert_eq!(account(&subscription.stop().await.tally), [1, 0, 1, 0, 0]);
}
