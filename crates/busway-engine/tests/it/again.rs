//! Events in memory are attempted again when their subscription says so.

use std::time::Duration;

use busway_engine::{Bus, Settings, SubscribeProblem};
use busway_middleware::{Batch, Delivery, Outcome, Run, batch, blocking, inline};
use busway_reliability::{FailureClass, Retry, RetryBudget, RetryProblem};
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

#[tokio::test]
async fn retries_over_the_budget_wait_in_memory_and_cost_no_attempt() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new((0..6).map(|_| Step::Fail("no connection")));
    let builder = bus.subscribe("orders.#").concurrency(32).retry(Retry::constant(SECOND).attempts(2));
    let builder = builder.retry_budget(RetryBudget::percent(50).at_least(0));
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    let publish = async |numbers: std::ops::Range<u32>| {
        for n in numbers {
            bus.publish(number("orders.created", n).key(format!("key-{n}"))).await.unwrap();
            turns().await;
        }
    };
    publish(0..6).await;
    assert_eq!(recorder.count(), 6);
    seconds(&bus, 1).await;
    let stats = subscription.stats();
    assert_eq!((recorder.count(), stats.done), (6 + 3, 3), "50 % of 6");
    assert_eq!((stats.over_budget, stats.running, stats.retried), (3, 3, 6), "{stats}");
    // Traffic makes room for them.
    publish(6..12).await;
    seconds(&bus, 1).await;
    let stats = subscription.stats();
    assert_eq!((stats.over_budget, stats.done, stats.failed), (0, 12, 0), "{stats}");
    assert_eq!(recorder.deliveries().iter().map(Delivery::attempt).max(), Some(2));
    assert_settled(&stats);
    bus.finish().await;
}

#[tokio::test]
async fn what_waits_for_a_budget_that_its_own_traffic_would_open_gets_on_and_lets_its_subscription_stop() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new((0..2).map(|_| Step::Fail("no connection")));
    let builder = bus.subscribe("orders.#").name("stock").retry(Retry::constant(SECOND));
    let builder = builder.retry_budget(RetryBudget::percent(20).at_least(0));
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    for n in 0..2 {
        bus.publish(number("orders.created", n)).await.unwrap();
    }
    seconds(&bus, 3).await;
    assert_eq!((recorder.count(), subscription.stats().over_budget), (2, 1), "its only worker has it");
    let (stats, ()) = tokio::join!(ends(subscription.stop()), seconds(&bus, 12));
    assert_settled(&stats);
    assert_eq!((stats.done, stats.failed, stats.retried), (2, 0, 2), "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn a_shutdown_ends_the_wait_for_the_budget_too() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Fail("no connection"));
    let builder = bus.subscribe("orders.#").name("stock").concurrency(2).retry(Retry::constant(SECOND));
    let builder = builder.retry_budget(RetryBudget::percent(50).at_least(0));
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    for n in 0..2 {
        bus.publish(number("orders.created", n).key(format!("key-{n}"))).await.unwrap();
    }
    seconds(&bus, 3).await;
    let stats = subscription.stats();
    assert_eq!((recorder.count(), stats.over_budget), (3, 2), "one retry of two events: {stats}");
    let report = ends(bus.shutdown(Duration::ZERO)).await;
    assert!(report.is_drained(), "{report}");
    bus.assert_outcomes("stock", &["failed", "failed"]);
    assert_eq!((recorder.count(), subscription.stats().over_budget), (3, 0));
}

#[tokio::test]
async fn members_of_a_group_have_one_budget_and_agree_about_it() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no connection"), Step::Fail("no connection")]);
    let with = |budget| {
        let builder = bus.subscribe("orders.#").group("workers").retry(Retry::constant(SECOND));
        builder.retry_budget(budget)
    };
    let half = RetryBudget::percent(50).at_least(0);
    let first = with(half).to(recorder.scripted(&script)).await.unwrap();
    let _second = with(half).to(recorder.scripted(&script)).await.unwrap();
    let refused = with(RetryBudget::percent(60)).to(|| async {}).await.unwrap_err();
    assert!(
        matches!(refused.problems(), [SubscribeProblem::GroupMismatch { setting: "retry_budget", .. }]),
        "{refused}"
    );
    for n in 0..2 {
        bus.publish(number("orders.created", n)).await.unwrap();
    }
    seconds(&bus, 2).await;
    assert_eq!((recorder.count(), first.stats().over_budget), (3, 1), "{}", first.stats());
    ends(bus.shutdown(Duration::ZERO)).await;
}

#[tokio::test]
async fn a_budget_of_the_bus_is_for_those_who_retry_and_told_of_there() {
    let budget = RetryBudget::percent(50).at_least(0);
    let bus = Bus::memory().settings(Settings::new().retry_budget(budget)).start().await.unwrap();
    let _once = bus.subscribe("orders.#").name("once").to(inline(|| ())).await.unwrap();
    let again = bus.subscribe("orders.#").name("again").retry(Retry::constant(SECOND));
    let _again = again.to(|| async {}).await.unwrap();
    let told = bus.describe().subscriptions.into_iter().map(|subscription| {
        let budget = subscription.settings.into_iter().find(|setting| setting.name == "retry_budget");
        (subscription.name.to_string(), budget.map(|setting| setting.value))
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [("once".to_owned(), None), ("again".to_owned(), Some(budget.to_string()))]
    );
}

#[tokio::test]
async fn a_budget_that_allows_nothing_or_is_of_who_may_not_wait_is_refused() {
    let bus = TestBus::start().await;
    let nothing = RetryBudget::percent(0).at_least(0);
    let error = bus.subscribe("orders.#").retry_budget(nothing).to(inline(|| ())).await.unwrap_err();
    let expected = [
        SubscribeProblem::Retry(RetryProblem::NoBudget),
        SubscribeProblem::RetryNotPossible { run: Run::Inline },
    ];
    assert_eq!(error.problems(), expected);
    bus.finish().await;
}
