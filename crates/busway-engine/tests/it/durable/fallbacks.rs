//! What is done in the place of a call that a breaker refuses.

use std::time::Duration;

use busway_engine::{Fallback, FallbackKind, Selection, StoreTx, Stream, in_store};
use busway_event::{Draft, Event};
use busway_middleware::{
    AnyHandler, Batch, BoxError, Delivery, Durable, IntoHandler, Outcome, Payload, batch,
};
use busway_reliability::BreakerState;
use busway_testkit::{ManualClock, Recorder, TestBus};

use super::breakers::{CREATED, PAID, breaker, guarded, publish_on, soon};
use super::{dir, numbers, open, open_on, stock};
use crate::dependency::Service;
use crate::world::{Number, number};

fn how(bus: &TestBus) -> Vec<FallbackKind> {
    bus.fallbacks("stock").into_iter().map(|fell_back| fell_back.how).collect()
}

#[tokio::test]
async fn an_acknowledged_event_leaves_its_lane_and_is_retried_from_the_store_also_after_a_restart() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = open_on(&clock, &dir).await;
    let service = Service::default();
    service.down(PAID);
    let breaker = breaker().fallback(Fallback::ack_and_retry_later());
    guarded(&bus).breaker(breaker.clone()).to(service.handler()).await.unwrap();
    publish_on(&bus, PAID, 0..2).await;
    bus.settle().await;
    for (topic, n) in [(PAID, 2), (CREATED, 3), (PAID, 4), (CREATED, 5)] {
        bus.publish(number(topic, n).key("A-1")).await.unwrap();
    }
    bus.settle().await;
    assert_eq!(service.calls(CREATED), [(3, 1), (5, 1)], "its lane goes on without it");
    assert_eq!(service.calls(PAID).len(), 2);
    assert_eq!(bus.breakers().get("stock", PAID).unwrap().waiting, 2, "the two that failed are not due");
    assert_eq!(how(&bus)[..2], [FallbackKind::AckAndRetryLater; 2]);
    bus.finish().await;

    service.up(PAID);
    clock.advance(Duration::from_secs(30));
    let bus = open_on(&clock, &dir).await;
    let subscription = guarded(&bus).breaker(breaker).to(service.handler()).await.unwrap();
    bus.settle().await;
    let mut again = service.calls(PAID)[2..].to_vec();
    again.sort_unstable();
    assert_eq!(again, [(0, 2), (1, 2), (2, 1), (4, 1)]);
    assert_eq!((subscription.stats().parked, subscription.lag().events), (0, 0));
    bus.finish().await;
}

#[tokio::test]
async fn cached_answers_with_the_last_good_answer_of_the_topic_and_key_and_waits_where_there_is_none() {
    let dir = dir();
    let bus = open(&dir).await;
    let service = Service::default();
    let breaker = breaker().fallback(Fallback::cached::<Number>());
    let subscription = stock(&bus).retry(soon()).breaker(breaker).to(service.answering()).await.unwrap();
    let keyed = |n: u32, key: &str| number(PAID, n).key(key);
    for (n, key) in [(1, "anna"), (2, "ben"), (3, "anna")] {
        bus.publish(keyed(n, key)).await.unwrap();
    }
    bus.settle().await;
    service.down(PAID);
    for key in ["x", "y", "anna", "ben", "carl", "anna"] {
        bus.publish(keyed(9, key)).await.unwrap();
    }
    bus.settle().await;
    let published = bus.published_on("profiles.answered");
    let answers: Vec<u32> =
        published.iter().map(|event| event.typed::<Number>().unwrap().payload().n).collect();
    assert_eq!(answers, [1, 2, 3, 3, 2, 3], "of anna the last one; of carl none");
    let marks = published.iter().map(|event| event.metadata().get("fallback"));
    assert_eq!(marks.collect::<Vec<_>>(), [None, None, None, Some("cached"), Some("cached"), Some("cached")]);
    assert_eq!((how(&bus), subscription.stats().parked), (vec![FallbackKind::Cached; 3], 3));
    assert_eq!(service.calls(PAID).len(), 5, "no call is made");
    service.up(PAID);
    bus.clock().advance(Duration::from_secs(30));
    bus.settle().await;
    assert_eq!((subscription.stats().done, subscription.stats().parked), (9, 0));
    bus.finish().await;
}

#[tokio::test]
async fn a_degrade_function_answers_in_the_handlers_place_and_where_it_fails_the_event_waits() {
    let dir = dir();
    let bus = open(&dir).await;
    let service = Service::default();
    service.down(PAID);
    let degraded = |delivery: &Delivery| -> Result<Draft<Number>, BoxError> {
        match delivery.event().key().map(busway_event::Key::as_str) {
            Some("fails") => Err("not here".into()),
            Some("panics") => panic!("oh"),
            Some("dead") => Err(busway_middleware::Permanent("nothing to say").into()),
            _ => Ok(Event::new("profiles.answered", Number { n: 100 })),
        }
    };
    let breaker = breaker().fallback(Fallback::handler(degraded));
    let subscription = guarded(&bus).breaker(breaker).to(service.handler()).await.unwrap();
    for key in ["x", "y", "good", "fails", "panics", "dead"] {
        bus.publish(number(PAID, 7).key(key)).await.unwrap();
    }
    bus.settle().await;
    let answers: Vec<Number> = bus
        .published_on("profiles.answered")
        .iter()
        .map(|event| event.typed::<Number>().unwrap().payload().clone())
        .collect();
    assert_eq!(answers, numbers([100]));
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.dead, stats.failed, stats.parked), (1, 1, 2, 4), "{stats}");
    assert_eq!(how(&bus), [FallbackKind::Handler; 2]);
    assert_eq!(bus.breakers().get("stock", PAID).unwrap().fell_back, 2);
    bus.finish().await;
}

#[tokio::test]
async fn dead_letter_gives_an_event_up_with_the_state_of_its_channel_as_the_reason() {
    let dir = dir();
    let bus = open(&dir).await;
    let service = Service::default();
    service.down(PAID);
    let breaker = breaker().fallback(Fallback::dead_letter());
    let subscription = guarded(&bus).breaker(breaker).to(service.handler()).await.unwrap();
    publish_on(&bus, PAID, 0..5).await;
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!((stats.dead, stats.failed, stats.parked), (3, 2, 2), "{stats}");
    assert_eq!(stats.last_failure.unwrap().error, "dead: the circuit of orders.paid is open");
    let page = bus.dead_letters().list(&Selection::all()).await.unwrap();
    assert_eq!(page.letters.len(), 3);
    for letter in page.letters {
        assert_eq!((letter.attempt_count, letter.reason.as_str()), (0, "the circuit of orders.paid is open"));
    }
    bus.finish().await;
}

#[tokio::test]
async fn on_an_ephemeral_subscription_events_wait_in_memory_or_are_answered() {
    for (fallback, done_while_open) in [
        (Fallback::pause(), 0),
        (Fallback::ack_and_retry_later(), 8),
        (Fallback::handler(|_| ()), 8),
        (Fallback::handler(|_| Outcome::failed("no")), 0),
        (Fallback::cached::<Number>(), 0),
        (Fallback::dead_letter(), 0),
    ] {
        let bus = TestBus::start().await;
        let service = Service::default();
        service.down(PAID);
        let kind = fallback.kind();
        let subscription = bus
            .subscribe(PAID)
            .name("stock")
            .breaker(breaker().fallback(fallback))
            .to(service.handler())
            .await
            .unwrap();
        publish_on(&bus, PAID, 0..10).await;
        crate::world::turns().await;
        let stats = subscription.stats();
        let dead = if kind == FallbackKind::DeadLetter { 8 } else { 0 };
        assert_eq!((stats.failed, stats.done, stats.dead), (2, done_while_open, dead), "{kind}: {stats}");
        assert_eq!(service.calls(PAID).len(), 2, "{kind}");
        let channel = bus.breakers().get("stock", PAID).unwrap();
        assert_eq!(channel.state, BreakerState::Open, "{kind}");
        service.up(PAID);
        bus.clock().advance(Duration::from_secs(30));
        crate::world::turns().await;
        bus.settle().await;
        let waited = if matches!(kind, FallbackKind::Handler | FallbackKind::DeadLetter)
            && done_while_open + dead > 0
        {
            0
        } else {
            8
        };
        let mut called: Vec<u32> = service.calls(PAID)[2..].iter().map(|(n, _)| *n).collect();
        called.sort_unstable();
        assert_eq!(called, (2..2 + waited).collect::<Vec<_>>(), "{kind}: what waited is called");
        let aside = bus.breakers().get("stock", PAID).unwrap().waiting;
        assert_eq!(aside, 0, "{kind}");
        bus.finish().await;
    }
}

#[tokio::test]
async fn an_ephemeral_breaker_remembers_answers_and_counts_cancelled_calls_as_failures() {
    let bus = TestBus::start().await;
    let service = Service::default();
    let answers = Recorder::<Number>::new();
    bus.subscribe("profiles.answered").to(answers.handler()).await.unwrap();
    let breaker = breaker().fallback(Fallback::cached::<Number>());
    bus.subscribe(PAID).name("stock").breaker(breaker).to(service.answering()).await.unwrap();
    publish_on(&bus, PAID, [1]).await;
    bus.settle().await;
    service.down(PAID);
    publish_on(&bus, PAID, [2, 3, 4]).await;
    bus.settle().await;
    answers.assert_payloads(&numbers([1, 1]));

    let slow = bus.subscribe(CREATED).name("slow").breaker(super::breakers::breaker());
    let timeout = busway_engine::Timeout::new(Duration::from_secs(1));
    let slow = slow.middleware(busway_middleware::Stage::Timeout, "timeout", timeout);
    slow.to(async |_: Payload<Number>| std::future::pending::<()>().await).await.unwrap();
    publish_on(&bus, CREATED, [1, 2]).await;
    for _ in 0..2 {
        crate::world::turns().await;
        bus.clock().advance(Duration::from_secs(1));
    }
    bus.settle().await;
    assert_eq!(bus.breakers().get("slow", CREATED).unwrap().state, BreakerState::Open);
    bus.finish().await;
}

fn payloads(bus: &TestBus, topic: &str) -> Vec<u32> {
    let published = bus.published_on(topic);
    published.iter().map(|event| event.typed::<Number>().unwrap().payload().n).collect()
}

/// The answers of 1 and of 9, of which only 1 reaches the handler, and what the breaker remembers is of 1.
async fn answers_from_memory(handler: impl FnOnce(Service) -> AnyHandler<Durable>) {
    let (dir, service) = (dir(), Service::default());
    let bus = open(&dir).await;
    let breaker = breaker().fallback(Fallback::cached::<Number>());
    stock(&bus).retry(soon()).breaker(breaker).to(handler(service.clone())).await.unwrap();
    bus.publish(number(PAID, 1).key("anna")).await.unwrap();
    bus.settle().await;
    service.down(PAID);
    for key in ["x", "y", "anna"] {
        bus.publish(number(PAID, 9).key(key)).await.unwrap();
        bus.settle().await;
    }
    assert_eq!(payloads(&bus, "profiles.answered"), [1, 1]);
    bus.finish().await;
}

#[tokio::test]
async fn what_batches_return_is_remembered_too() {
    answers_from_memory(|service| {
        IntoHandler::<Durable, _>::into_handler(batch(move |orders: Batch<Number>| {
            let answers = orders.iter().map(|order| {
                service.call(order.topic(), order.payload().n, 1)?;
                Ok(number("profiles.answered", order.payload().n))
            });
            std::future::ready(answers.collect::<Vec<Result<Draft<Number>, BoxError>>>())
        }))
    })
    .await;
}

#[tokio::test]
async fn what_handlers_in_the_store_return_is_remembered_too() {
    answers_from_memory(|service| {
        IntoHandler::<Durable, _>::into_handler(in_store(
            move |order: Event<Number>, _: &mut StoreTx<'_>| -> Result<Draft<Number>, BoxError> {
                service.call(order.topic(), order.payload().n, 1)?;
                Ok(number("profiles.answered", order.payload().n))
            },
        ))
    })
    .await;
}

#[tokio::test]
async fn what_could_not_be_stored_was_not_answered_and_is_not_remembered() {
    let (dir, service) = (dir(), Service::default());
    let bus = TestBus::open(dir.path(), |builder| {
        builder
            .stream(Stream::new("orders").capture("orders.#"))
            .stream(Stream::new("answers").capture("profiles.#"))
    })
    .await;
    let calls = service.clone();
    let handler = move |order: Event<Number>| {
        let called = calls.call(order.topic(), order.payload().n, 1);
        // A topic that cannot be: the answer of 1 is refused when it is to be stored.
        let topic = if order.payload().n == 1 { "profiles..answered" } else { "profiles.answered" };
        std::future::ready(called.map(|()| number(topic, order.payload().n)))
    };
    let breaker = breaker().opens_after(4).fallback(Fallback::cached::<Number>());
    let subscription = stock(&bus).retry(soon().attempts(1)).breaker(breaker).to(handler).await.unwrap();
    bus.publish(number(PAID, 1).key("anna")).await.unwrap();
    bus.settle().await;
    assert_eq!(subscription.stats().dead, 1, "{}", subscription.stats());
    service.down(PAID);
    for key in ["x", "y", "z", "anna"] {
        bus.publish(number(PAID, 9).key(key)).await.unwrap();
        bus.settle().await;
    }
    assert!(payloads(&bus, "profiles.answered").is_empty());
    assert_eq!(subscription.stats().parked, 1, "there is nothing to answer with: it waits");
    bus.finish().await;
}
