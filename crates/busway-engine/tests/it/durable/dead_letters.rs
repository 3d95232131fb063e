//! An event that is given up is a dead letter, and settled.

use std::time::Duration;

use busway_reliability::Retry;
use busway_testkit::{ManualClock, Recorder, Script, Step};

use super::{dir, numbers, open, open_on, order, stock};
use crate::world::{Number, number};

#[tokio::test]
async fn after_the_last_attempt_an_event_is_given_up_and_its_followers_go_on() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new((0..16).map(|_| Step::Fail("no connection")));
    let subscription = stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    bus.publish(order("A-1", 1)).await.unwrap();
    bus.publish(order("A-1", 2)).await.unwrap();
    for attempt in 1..16 {
        bus.settle().await;
        assert_eq!((recorder.count(), subscription.stats().dead), (attempt, 0));
        clock.advance(Duration::from_secs(60));
    }
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!((stats.failed, stats.dead, stats.done, stats.parked), (15, 1, 1, 0), "{stats}");
    assert_eq!(recorder.payloads().last(), Some(&Number { n: 2 }));
    assert_eq!(subscription.lag().events, 0);
    bus.finish().await;

    let bus = open_on(&clock, &dir).await;
    let nothing = Recorder::<Number>::new();
    stock(&bus).to(nothing.handler()).await.unwrap();
    bus.settle().await;
    assert_eq!(nothing.count(), 0, "it is settled");
    bus.finish().await;
}

#[tokio::test]
async fn a_permanent_error_and_an_undecodable_event_are_given_up_at_once() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Dead("no such order")]);
    let subscription = stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    bus.publish(number("orders.created", 1)).await.unwrap();
    bus.publish(busway_event::Event::new("orders.created", busway_event::Raw::from("{}"))).await.unwrap();
    bus.publish(number("orders.created", 3)).await.unwrap();
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!((stats.dead, stats.done, stats.failed), (2, 1, 0), "{stats}");
    assert!(stats.last_failure.is_some());
    recorder.assert_payloads(&numbers([1, 3]));
    bus.finish().await;
}

#[tokio::test]
async fn a_subscription_may_attempt_once_only() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Fail("never"));
    let builder = stock(&bus).retry(Retry::default().attempts(1));
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    bus.publish(number("orders.created", 1)).await.unwrap();
    bus.settle().await;
    assert_eq!((subscription.stats().dead, recorder.count()), (1, 1));
    bus.finish().await;
}
