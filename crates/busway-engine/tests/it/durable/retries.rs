//! How often, how far apart, and how much of the traffic: the retries of durable subscriptions.

use std::time::Duration;

use busway_engine::{Retention, Stream, SubscribeProblem};
use busway_event::Timestamp;
use busway_middleware::{Outcome, Permanent};
use busway_reliability::{FailureClass, Idempotency, Retry, RetryBudget, RetryProblem};
use busway_testkit::{ManualClock, Recorder, Script, Step, TestBus};

use super::{dir, open, order, stock};
use crate::world::Number;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn attempts_are_as_far_apart_as_their_schedule_says() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Fail("no connection"));
    let retry = Retry::listed(&[SECOND, 5 * SECOND]);
    let subscription = stock(&bus).retry(retry).to(recorder.scripted(&script)).await.unwrap();
    bus.publish(order("A-1", 1)).await.unwrap();
    let mut seen = Vec::new();
    for second in 0..8 {
        bus.settle().await;
        seen.push((second, recorder.count()));
        bus.clock().advance(SECOND);
    }
    assert_eq!(seen, [(0, 1), (1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (6, 3), (7, 3)]);
    assert_eq!(subscription.stats().dead, 1);
    let described = bus.describe().to_string();
    assert!(described.contains("retry = 3 attempts, [1s, 5s] (subscription)"), "{described}");
    bus.finish().await;
}

#[tokio::test]
async fn an_error_is_what_classify_says_unless_it_is_marked() {
    let dir = dir();
    let bus = open(&dir).await;
    let clock = bus.clock().clone();
    let later = busway_engine::Clock::utc(&clock).saturating_add(30 * SECOND);
    let handler = async |number: busway_middleware::Payload<Number>| match number.n {
        0 => Outcome::failed("no such order"),
        1 => Outcome::failed("closed until monday"),
        2 => Outcome::failed("no connection"),
        3 => Outcome::failed(Permanent("no connection")),
        _ => panic!("no such order"),
    };
    let classify = move |error: &(dyn std::error::Error + Send + Sync + 'static)| match error.to_string() {
        text if text.contains("no such") => FailureClass::Permanent,
        text if text.contains("until monday") => FailureClass::RetryAt(later),
        _ => FailureClass::Transient,
    };
    let subscription =
        stock(&bus).retry(Retry::constant(SECOND)).classify(classify).to(handler).await.unwrap();
    for n in 0..5 {
        bus.publish(order(&format!("key-{n}"), n)).await.unwrap();
    }
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!((stats.dead, stats.parked, stats.failed), (3, 2, 2), "{stats}");
    bus.clock().advance(SECOND);
    bus.settle().await;
    assert_eq!(subscription.stats().failed, 3, "the transient one alone is due");
    bus.finish().await;
}

#[tokio::test]
async fn a_classifier_that_panics_says_that_an_error_may_pass() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no connection")]);
    let panics = |_: &(dyn std::error::Error + Send + Sync + 'static)| -> FailureClass { panic!("oh") };
    stock(&bus).classify(panics).to(recorder.scripted(&script)).await.unwrap();
    bus.publish(order("A-1", 1)).await.unwrap();
    bus.settle().await;
    bus.clock().advance(SECOND);
    bus.settle().await;
    bus.assert_outcomes("stock", &["failed", "done"]);
    bus.finish().await;
}

#[tokio::test]
async fn retries_over_the_budget_wait_with_their_place_and_cost_no_attempt() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    // All fail for as long as the outage lasts.
    let script = Script::new((0..60).map(|_| Step::Fail("no connection")));
    let builder = stock(&bus).concurrency(64).retry(Retry::constant(SECOND).attempts(1_000));
    let builder = builder.retry_budget(RetryBudget::percent(20).at_least(0));
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    for n in 0..50 {
        bus.publish(order(&format!("key-{n}"), n)).await.unwrap();
    }
    bus.settle().await;
    assert_eq!(recorder.count(), 50);
    bus.clock().advance(SECOND);
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!(recorder.count(), 50 + 10, "20 % of 50");
    assert_eq!((stats.over_budget, stats.parked, stats.failed), (40, 50, 60), "{stats}");
    // The outage is over, and traffic comes again: all come to their end, in the order of their keys.
    for n in 50..400 {
        bus.publish(order(&format!("key-{}", n % 50), n)).await.unwrap();
    }
    for _ in 0..400 {
        bus.settle().await;
        if subscription.stats().done == 400 {
            break;
        }
        for n in 0..2 {
            bus.publish(order("other", 1_000 + n)).await.unwrap();
        }
        bus.clock().advance(SECOND);
    }
    let stats = subscription.stats();
    assert_eq!((stats.over_budget, stats.dead), (0, 0), "{stats}");
    assert!(stats.done >= 400, "nothing is lost: {stats}");
    let attempts = recorder.deliveries().iter().map(busway_middleware::Delivery::attempt).max();
    assert!(attempts <= Some(3), "waiting costs no attempt: {attempts:?}");
    let mut last = std::collections::HashMap::new();
    for (event, delivery) in recorder.events().iter().zip(recorder.deliveries()) {
        let key = event.key().unwrap().as_str().to_owned();
        let before = last.insert(key, delivery.offset());
        assert!(before <= Some(delivery.offset()), "no key is overtaken");
    }
    bus.finish().await;
}

#[tokio::test]
async fn everything_wrong_with_retries_is_said_at_once() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = TestBus::open_on(clock, dir.path(), |bus| {
        let short = Retention::forever().age(Duration::from_secs(60));
        bus.stream(Stream::new("orders").capture("orders.#").retention(short))
    })
    .await;
    let recorder = Recorder::<Number>::new();
    let builder = stock(&bus).retry(Retry::constant(Duration::from_micros(1)).attempts(0));
    let error =
        builder.retry_budget(RetryBudget::percent(0).at_least(0)).to(recorder.handler()).await.unwrap_err();
    let expected = [RetryProblem::NoAttempts, RetryProblem::NoBudget].map(SubscribeProblem::Retry);
    assert_eq!(error.problems(), expected);
    let short = stock(&bus).retry(Retry::constant(Duration::from_micros(1)));
    let error = short.to(recorder.handler()).await.unwrap_err();
    assert!(
        matches!(error.problems(), [SubscribeProblem::Retry(RetryProblem::DelayTooShort { .. })]),
        "{error}"
    );
    let long = stock(&bus).retry(Retry::constant(Duration::from_secs(10)).attempts(8));
    let error = long.to(recorder.handler()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("retry may go on for 70s, and stream \"orders\" keeps events for 60s"), "{text}");
    stock(&bus)
        .retry(Retry::constant(Duration::from_secs(10)).attempts(7))
        .to(recorder.handler())
        .await
        .unwrap();
    bus.finish().await;
}

#[tokio::test]
async fn a_time_in_the_past_is_now() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("closed")]);
    let past =
        |_: &(dyn std::error::Error + Send + Sync + 'static)| FailureClass::RetryAt(Timestamp::from_nanos(5));
    stock(&bus).classify(past).to(recorder.scripted(&script)).await.unwrap();
    bus.publish(order("A-1", 1)).await.unwrap();
    bus.settle().await;
    bus.assert_outcomes("stock", &["failed", "done"]);
    bus.finish().await;
}

#[tokio::test]
async fn what_was_not_attempted_makes_no_room_for_retries() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no connection"), Step::Fail("no connection")]);
    let builder = stock(&bus).concurrency(8).retry(Retry::constant(SECOND).attempts(10));
    let builder = builder.idempotent(Idempotency::by_metadata(["bizId"]));
    let builder = builder.retry_budget(RetryBudget::percent(50).at_least(0));
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    let publish = async |n: u32, key: &str| {
        bus.publish(order(&format!("key-{n}"), n).meta("bizId", key)).await.unwrap();
    };
    publish(0, "a").await;
    publish(1, "b").await;
    bus.settle().await;
    // One retry of two events; then a hundred that nobody handles.
    bus.clock().advance(SECOND);
    bus.settle().await;
    for n in 0..100 {
        publish(n + 2, if subscription.stats().done == 1 { "a" } else { "b" }).await;
    }
    bus.settle().await;
    for _ in 0..5 {
        bus.clock().advance(SECOND);
        bus.settle().await;
    }
    let stats = subscription.stats();
    assert_eq!((recorder.count(), stats.over_budget), (3, 1), "{stats}");
}
