//! Errors, payloads and handlers whose drop panics: the worker goes on, and what it had in hand has come to an end.

use std::time::Duration;

use busway_engine::{DurableSubscription, Fallback};
use busway_middleware::{
    AnyHandler, Batch, BoxError, Delivery, Durable, IntoHandler, Outcome, Payload, Permanent, batch, blocking,
};
use busway_reliability::{BreakerState, Force, Retry};
use busway_testkit::TestBus;

use super::breakers::{CREATED, PAID, breaker};
use super::{dir, open, publish, stock};
use crate::world::{Breaks, Number, breaking, ends, number, turns};

fn forms() -> [AnyHandler<Durable>; 3] {
    [
        IntoHandler::<Durable, _>::into_handler(async |number: Payload<Number>| breaking(number.n)),
        IntoHandler::<Durable, _>::into_handler(blocking(|number: Payload<Number>| breaking(number.n))),
        IntoHandler::<Durable, _>::into_handler(batch(|numbers: Batch<Number>| {
            let outcomes = numbers.iter().map(|number| breaking(number.payload().n));
            std::future::ready(outcomes.collect::<Vec<_>>())
        })),
    ]
}

/// Two attempts of each, the second at once.
fn twice() -> Retry {
    Retry::default().attempts(2).first_delay(Duration::from_millis(1)).longest_delay(Duration::from_millis(1))
}

async fn until_decided(bus: &TestBus, subscription: &DurableSubscription, events: u64) {
    let all = async {
        while subscription.stats().done + subscription.stats().dead < events {
            bus.clock().advance(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
        bus.settle().await;
    };
    ends(all).await;
}

#[tokio::test]
async fn a_worker_outlives_the_errors_that_it_lets_go_of() {
    for handler in forms() {
        let dir = dir();
        let bus = open(&dir).await;
        publish(&bus, 0..12).await;
        let subscription = stock(&bus).retry(twice()).to(handler).await.unwrap();
        until_decided(&bus, &subscription, 12).await;
        let stats = subscription.stats();
        assert_eq!((stats.done, stats.failed, stats.dead, stats.running), (4, 4, 8, 0), "{stats}");
        assert_eq!(subscription.lag().events, 0);
        bus.finish().await;
    }
}

#[tokio::test]
async fn a_worker_outlives_a_handler_that_breaks_when_its_deadline_cancels_it() {
    let dir = dir();
    let bus = open(&dir).await;
    publish(&bus, 0..4).await;
    let handler = async |number: Payload<Number>| {
        if number.n.is_multiple_of(2) {
            let _breaks = Breaks;
            std::future::pending::<()>().await;
        }
    };
    let builder = stock(&bus).retry(twice()).deadline(Duration::from_secs(1));
    let subscription = builder.to(handler).await.unwrap();
    until_decided(&bus, &subscription, 4).await;
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.failed, stats.dead, stats.hung), (2, 2, 2, 0), "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn calls_of_a_batch_that_breaks_when_its_deadline_cancels_it_have_failed() {
    let dir = dir();
    let bus = open(&dir).await;
    let handler = |_: Batch<Number>| async {
        let _breaks = Breaks;
        std::future::pending::<()>().await;
    };
    let breaker = breaker().max_probes(5);
    let builder = stock(&bus).retry(twice()).deadline(Duration::from_secs(1)).breaker(breaker);
    let subscription = builder.to(batch(handler)).await.unwrap();
    bus.breakers().force("stock", CREATED, Force::Open).unwrap();
    publish(&bus, 0..5).await;
    bus.settle().await;
    bus.breakers().force("stock", CREATED, Force::Automatic).unwrap();
    turns().await;
    let channel = || bus.breakers().get("stock", CREATED).unwrap();
    assert_eq!((channel().state, channel().probes), (BreakerState::HalfOpen, 5), "one batch, five probes");
    bus.clock().advance(Duration::from_secs(1));
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!((stats.failed, stats.parked, stats.running), (5, 5, 0), "{stats}");
    assert_eq!((channel().state, channel().probes, channel().counts.failures), (BreakerState::Open, 0, 1));
    bus.finish().await;
}

#[tokio::test]
async fn a_worker_outlives_what_a_degrade_function_answers() {
    let dir = dir();
    let bus = open(&dir).await;
    let degraded = |delivery: &Delivery| -> Result<(), BoxError> {
        match delivery.event().key().is_some() {
            true => Err(Permanent(Breaks).into()),
            false => Err(Breaks.into()),
        }
    };
    let breaker = breaker().fallback(Fallback::handler(degraded));
    let handler = async || Outcome::failed("no connection");
    let subscription =
        stock(&bus).breaker(breaker).retry(Retry::default().attempts(1)).to(handler).await.unwrap();
    for n in 0..6 {
        let event = number(PAID, n);
        bus.publish(if n % 2 == 0 { event.key("A-1") } else { event }).await.unwrap();
    }
    ends(bus.settle()).await;
    let stats = subscription.stats();
    // Two calls opened the circuit; of the others two are given up, and two wait.
    assert_eq!((stats.dead, stats.parked, stats.running), (4, 2, 0), "{stats}");
    bus.finish().await;
}
