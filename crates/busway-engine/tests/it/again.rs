//! Events in memory are attempted again when their subscription says so.

use std::time::Duration;

use busway_engine::SubscribeProblem;
use busway_middleware::{Batch, Delivery, Outcome, Run, batch, blocking, inline};
use busway_reliability::{FailureClass, Retry, RetryProblem};
use busway_testkit::{Recorder, Script, Step, TestBus};

use crate::world::{Number, assert_settled, ends, number, turns};

const SECOND: Duration = Duration::from_secs(1);

/// Lets virtual time pass, second by second, with turns for everybody in between.
async fn seconds(bus: &TestBus, count: u32) {
    for _ in 0..count {
        turns().await;
        bus.clock().advance(SECOND);
    }
    turns().await;
}

#[tokio::test]
async fn an_event_is_attempted_again_in_memory_and_its_lane_waits() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no connection"), Step::Panic("oh")]);
    let builder = bus.subscribe("orders.#").name("stock").retry(Retry::constant(SECOND).attempts(3));
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    for n in 0..2 {
        bus.publish(number("orders.created", n)).await.unwrap();
    }
    turns().await;
    assert_eq!((recorder.count(), subscription.stats().done), (1, 0));
    seconds(&bus, 3).await;
    let attempts: Vec<_> = recorder.deliveries().iter().map(Delivery::attempt).collect();
    let seen: Vec<_> = recorder.events().iter().map(|event| event.payload().n).zip(attempts).collect();
    assert_eq!(seen, [(0, 1), (0, 2), (0, 3), (1, 1)]);
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.failed, stats.retried), (2, 0, 2), "{stats}");
    bus.assert_outcomes("stock", &["done", "done"]);
    assert_settled(&stats);
    bus.finish().await;
}

#[tokio::test]
async fn without_being_asked_for_nothing_is_attempted_again_and_the_last_attempt_counts() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Fail("no connection"));
    let once = bus.subscribe("a").to(recorder.scripted(&script)).await.unwrap();
    let thrice = bus.subscribe("b").retry(Retry::ephemeral()).to(recorder.scripted(&script)).await.unwrap();
    for topic in ["a", "b"] {
        bus.publish(number(topic, 0)).await.unwrap();
    }
    seconds(&bus, 2).await;
    assert_eq!((once.stats().failed, once.stats().retried), (1, 0));
    assert_eq!((thrice.stats().failed, thrice.stats().retried), (1, 2));
    assert_eq!(recorder.count(), 4);
    bus.finish().await;
}

#[tokio::test]
async fn another_lane_goes_on_meanwhile() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no connection")]);
    let builder = bus.subscribe("orders.#").concurrency(2).retry(Retry::constant(SECOND));
    builder.to(recorder.scripted(&script)).await.unwrap();
    bus.publish(number("orders.created", 0).key("A-1")).await.unwrap();
    turns().await;
    bus.publish(number("orders.created", 1).key("A-1")).await.unwrap();
    bus.publish(number("orders.created", 2).key("B-7")).await.unwrap();
    turns().await;
    assert_eq!(recorder.events().iter().map(|event| event.payload().n).collect::<Vec<_>>(), [0, 2]);
    seconds(&bus, 1).await;
    assert_eq!(recorder.events().iter().map(|event| event.payload().n).collect::<Vec<_>>(), [0, 2, 0, 1]);
    bus.finish().await;
}

#[tokio::test]
async fn a_permanent_error_and_a_time_are_what_the_subscription_says() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no such order"), Step::Fail("closed")]);
    let later = busway_engine::Clock::utc(bus.clock()).saturating_add(5 * SECOND);
    let builder = bus.subscribe("orders.#").retry(Retry::constant(SECOND));
    let builder = builder.classify(move |error| match error.to_string().as_str() {
        "no such order" => FailureClass::Permanent,
        _ => FailureClass::RetryAt(later),
    });
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    for n in 0..2 {
        bus.publish(number("orders.created", n)).await.unwrap();
    }
    seconds(&bus, 4).await;
    assert_eq!((subscription.stats().dead, recorder.count()), (1, 2));
    seconds(&bus, 1).await;
    assert_eq!((subscription.stats().done, recorder.count()), (1, 3));
    bus.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_handlers_are_attempted_again_on_their_thread() {
    let bus = TestBus::start().await;
    let handler = |delivery: Delivery| match delivery.attempt() {
        1 => Outcome::failed("no connection"),
        _ => Outcome::Done,
    };
    let retry = Retry::constant(SECOND);
    let subscription = bus.subscribe("orders.#").retry(retry).to(blocking(handler)).await.unwrap();
    bus.publish(number("orders.created", 0)).await.unwrap();
    ends(async {
        while subscription.stats().done == 0 {
            bus.clock().advance_to_next();
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(subscription.stats().retried, 1);
    bus.finish().await;
}

#[tokio::test]
async fn a_shutdown_ends_the_wait_with_the_failure_that_there_was() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Fail("no connection"));
    let builder = bus.subscribe("orders.#").name("stock").retry(Retry::constant(3_600 * SECOND));
    builder.to(recorder.scripted(&script)).await.unwrap();
    bus.publish(number("orders.created", 0)).await.unwrap();
    turns().await;
    let report = ends(bus.shutdown(Duration::ZERO)).await;
    assert!(report.is_drained(), "{report}");
    bus.assert_outcomes("stock", &["failed"]);
}

#[tokio::test]
async fn who_may_not_wait_is_refused_with_everything_else_that_is_wrong() {
    let bus = TestBus::start().await;
    let with = || bus.subscribe("orders.#").retry(Retry::default().attempts(0));
    let error = with().to(inline(|| ())).await.unwrap_err();
    let expected = [
        SubscribeProblem::Retry(RetryProblem::NoAttempts),
        SubscribeProblem::RetryNotPossible { run: Run::Inline },
    ];
    assert_eq!(error.problems(), expected);
    let many = batch(|numbers: Batch<Number>| {
        drop(numbers);
        std::future::ready(())
    });
    let error = bus.subscribe("orders.#").retry(Retry::ephemeral()).to(many).await.unwrap_err();
    assert!(
        matches!(error.problems(), [SubscribeProblem::RetryNotPossible { run: Run::Batch(_) }]),
        "{error}"
    );
    bus.finish().await;
}
