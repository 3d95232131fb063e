//! Keys and breakers together: what is done already is nobody's call.

use std::num::NonZeroU32;
use std::time::Duration;

use busway_engine::{Breaker, Fallback};
use busway_event::{Draft, Event};
use busway_middleware::{AnyHandler, Batch, BoxError, Delivery, Durable, IntoHandler, Payload, batch};
use busway_reliability::Rate;
use busway_testkit::{ManualClock, SharedKeys, TestBus};

use super::super::breakers::{PAID, soon};
use super::super::{dir, open, open_on, stock};
use super::{once, steps};
use crate::dependency::Service;
use crate::world::{Number, number};

fn paid(biz_id: &str, n: u32) -> Draft<Number> {
    number(PAID, n).meta("bizId", biz_id)
}

fn one_by_one(service: &Service) -> AnyHandler<Durable> {
    service.handler()
}

fn in_batches(service: &Service) -> AnyHandler<Durable> {
    let service = service.clone();
    IntoHandler::<Durable, _>::into_handler(batch(move |orders: Batch<Number>| {
        let calls = orders.iter().map(|order| service.call(order.topic(), order.payload().n, 1));
        std::future::ready(calls.collect::<Result<Vec<()>, BoxError>>().map(drop))
    }))
}

fn answered(bus: &TestBus) -> Vec<u32> {
    let answers = bus.published_on("profiles.answered");
    answers.iter().map(|event| event.typed::<Number>().unwrap().payload().n).collect()
}

#[tokio::test]
async fn a_duplicate_is_skipped_and_not_answered_while_its_breaker_is_open() {
    for handler in [one_by_one, in_batches] {
        let (dir, service) = (dir(), Service::default());
        let bus = open(&dir).await;
        let degraded = |delivery: &Delivery| {
            let n = delivery.event().typed::<Number>().map_or(0, |event| event.payload().n);
            Event::new("profiles.answered", Number { n })
        };
        let breaker = Breaker::default().opens_after(1).open_for(Duration::from_secs(30));
        let builder = stock(&bus).retry(soon()).breaker(breaker.fallback(Fallback::handler(degraded)));
        let subscription = builder.idempotent(once()).to(handler(&service)).await.unwrap();
        bus.publish(paid("A", 1)).await.unwrap();
        bus.settle().await;
        service.down(PAID);
        bus.publish(paid("B", 2)).await.unwrap();
        bus.settle().await;
        bus.clock().advance(Duration::from_millis(1));
        bus.settle().await;
        assert_eq!(answered(&bus), [2], "its call has failed, and then it was answered");
        for (biz_id, n) in [("A", 3), ("C", 4), ("A", 5)] {
            bus.publish(paid(biz_id, n)).await.unwrap();
        }
        bus.settle().await;
        assert_eq!(answered(&bus), [2, 4], "A is done already");
        let stats = subscription.stats();
        assert_eq!((stats.skipped, stats.parked), (2, 0), "{stats}");
        // What was answered in its place was not handled: its key is not done.
        service.up(PAID);
        bus.clock().advance(Duration::from_secs(30));
        bus.publish(paid("C", 6)).await.unwrap();
        bus.settle().await;
        assert_eq!(service.calls(PAID).last(), Some(&(6, 1)), "{}", steps(&subscription));
        bus.finish().await;
    }
}

#[tokio::test]
async fn a_probe_is_not_spent_on_a_duplicate() {
    let (dir, service) = (dir(), Service::default());
    let bus = open(&dir).await;
    let breaker = Breaker::default().opens_after(1).open_for(Duration::from_secs(30));
    let builder = stock(&bus).retry(soon()).breaker(breaker.max_probes(1));
    builder.idempotent(once()).to(service.handler()).await.unwrap();
    bus.publish(paid("A", 1)).await.unwrap();
    bus.settle().await;
    service.down(PAID);
    bus.publish(paid("B", 2)).await.unwrap();
    bus.settle().await;
    service.up(PAID);
    bus.clock().advance(Duration::from_secs(30));
    for n in 3..9 {
        bus.publish(paid("A", n)).await.unwrap();
    }
    bus.settle().await;
    assert_eq!(service.calls(PAID).iter().filter(|(n, _)| *n > 2).count(), 0);
    assert_eq!(service.calls(PAID).last(), Some(&(2, 2)), "the probe is the one that waits");
    bus.finish().await;
}

#[tokio::test]
async fn a_payload_is_handled_under_its_key_and_its_breaker_without_either_knowing_the_other() {
    let dir = dir();
    let bus = open(&dir).await;
    let builder = stock(&bus).breaker(Breaker::default()).idempotent(once());
    let subscription = builder.to(async |_: Payload<Number>| {}).await.unwrap();
    for n in 0..40 {
        bus.publish(paid(&format!("id-{}", n % 10), n)).await.unwrap();
    }
    bus.settle().await;
    let (stats, channel) = (subscription.stats(), bus.breakers().get("stock", PAID).unwrap());
    assert_eq!((stats.done, stats.skipped), (10, 30), "{stats}");
    assert_eq!(channel.counts.successes, 10, "{channel}");
    bus.finish().await;
}

#[tokio::test]
async fn what_an_open_breaker_refuses_costs_no_token_of_its_key() {
    let hourly = Rate::new(1, Duration::from_secs(3_600)).unwrap();
    for (handler, is_shared) in [(one_by_one as fn(&_) -> _, false), (one_by_one, true), (in_batches, false)]
    {
        let (dir, clock, service) = (dir(), ManualClock::new(), Service::default());
        let bus = open_on(&clock, &dir).await;
        let once = once().retry_rate(hourly, NonZeroU32::MIN);
        let once = if is_shared { once.store(SharedKeys::new(&clock).store()) } else { once };
        let breaker = Breaker::default().opens_after(1).open_for(Duration::from_secs(30));
        let builder = stock(&bus).retry(soon()).breaker(breaker).idempotent(once);
        let subscription = builder.to(handler(&service)).await.unwrap();
        service.down(PAID);
        bus.publish(paid("A", 1)).await.unwrap();
        bus.settle().await;
        // It is due, and refused.
        clock.advance(Duration::from_secs(1));
        bus.settle().await;
        service.up(PAID);
        clock.advance(Duration::from_secs(30));
        bus.settle().await;
        let (stats, steps) = (subscription.stats(), steps(&subscription));
        assert_eq!((stats.failed, stats.done, steps.throttled), (1, 1, 0), "{stats} {steps}");
        bus.finish().await;
    }
}
