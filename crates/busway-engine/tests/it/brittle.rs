//! Payloads whose drop panics: they end neither workers nor a shutdown.

use std::time::Duration;

use busway_engine::{Bus, ShutdownEnd};
use busway_event::Event;
use busway_middleware::{AnyHandler, Batch, Ephemeral, IntoHandler, Payload, batch, blocking, inline};
use busway_reliability::Order;

use crate::world::{Brittle, Number, breaking, ends, number};

async fn publish(bus: &Bus, breaks: bool) {
    bus.publish(Event::new("a", Brittle { breaks })).await.unwrap();
}

#[tokio::test]
async fn a_worker_outlives_what_it_lets_go_of() {
    for order in [Order::Key, Order::None] {
        let bus = Bus::memory().start().await.unwrap();
        let handler = |payload: Payload<Brittle>| async move { drop(payload) };
        let one = bus.subscribe("a").concurrency(1).order(order).to(handler).await.unwrap();
        for breaks in [true, false, true, false] {
            publish(&bus, breaks).await;
        }
        ends(bus.idle()).await;
        let stats = one.stats();
        assert_eq!(stats.done + stats.failed, 4, "{stats:?}");
        assert!(ends(bus.shutdown(Duration::from_secs(5))).await.is_drained());
    }
}

#[tokio::test]
async fn what_has_expired_or_is_abandoned_ends_nobody() {
    for order in [Order::Key, Order::None] {
        let bus = Bus::memory().start().await.unwrap();
        let handler = |payload: Payload<Brittle>| async move { drop(payload) };
        let one = bus.subscribe("a").concurrency(2).order(order).to(handler).await.unwrap();
        one.pause();
        let late = Event::new("a", Brittle { breaks: true }).ttl(Duration::from_nanos(1));
        bus.publish(late).await.unwrap();
        publish(&bus, false).await;
        one.resume();
        ends(bus.idle()).await;
        assert_eq!((one.stats().tally.expired, one.stats().done), (1, 1));
        one.pause();
        publish(&bus, true).await;
        publish(&bus, false).await;
        let report = ends(bus.shutdown(Duration::ZERO)).await;
        assert_eq!((report.end, report.tally.abandoned), (ShutdownEnd::Abandoned, 2), "{report}");
    }
}

fn forms() -> [AnyHandler<Ephemeral>; 4] {
    [
        IntoHandler::<Ephemeral, _>::into_handler(async |number: Payload<Number>| breaking(number.n)),
        IntoHandler::<Ephemeral, _>::into_handler(blocking(|number: Payload<Number>| breaking(number.n))),
        IntoHandler::<Ephemeral, _>::into_handler(inline(|number: Payload<Number>| breaking(number.n))),
        IntoHandler::<Ephemeral, _>::into_handler(batch(|numbers: Batch<Number>| {
            let outcomes = numbers.iter().map(|number| breaking(number.payload().n));
            std::future::ready(outcomes.collect::<Vec<_>>())
        })),
    ]
}

#[tokio::test]
async fn a_worker_outlives_the_errors_that_it_lets_go_of() {
    for (form, handler) in forms().into_iter().enumerate() {
        let bus = Bus::memory().start().await.unwrap();
        let one = bus.subscribe("a").concurrency(1).to(handler).await.unwrap();
        for n in 0..12 {
            bus.publish(number("a", n)).await.unwrap();
        }
        ends(bus.idle()).await;
        let stats = one.stats();
        assert_eq!((stats.done, stats.failed, stats.dead, stats.running), (4, 4, 4, 0), "{form}: {stats}");
        assert!(ends(bus.shutdown(Duration::from_secs(5))).await.is_drained());
    }
}
