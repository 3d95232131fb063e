//! Beginning, pausing, stopping; everything that can be wrong is said at once.

use std::sync::Arc;

use busway_engine::{BuildProblem, Bus, Settings, State, SubscribeProblem};
use busway_event::Priority;
use busway_middleware::publish::PublishStage;
use busway_middleware::{Payload, Stage, State as Taken, inline};
use busway_reliability::Overflow;
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};

use crate::world::{Number, account, assert_settled, number};

#[tokio::test]
async fn a_paused_subscription_takes_in_and_starts_nothing_until_it_resumes() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let subscription = bus.subscribe("a").capacity(2).to(recorder.handler()).await.unwrap();
    subscription.pause();
    for n in 0..4 {
        bus.publish(number("a", n)).await.unwrap();
    }
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!((stats.state, stats.tally.waiting(), stats.tally.dropped), (State::Paused, 2, 2));
    subscription.resume();
    bus.settle().await;
    recorder.assert_payloads(&[0, 1].map(|n| Number { n }));
    bus.finish().await;
}

#[tokio::test]
async fn stop_handles_what_waits_and_the_name_is_free_again() {
    let bus = TestBus::start().await;
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let script = Script::new([Step::Wait(gate.clone())]);
    let subscription = bus.subscribe("a").name("w").to(recorder.scripted(&script)).await.unwrap();
    for n in 0..5 {
        bus.publish(number("a", n)).await.unwrap();
    }
    gate.reached(1).await;
    let stopping = tokio::spawn(subscription.stop());
    while bus.publish(number("a", 9)).await.unwrap().offered > 0 {
        tokio::task::yield_now().await;
    }
    gate.open();
    let stats = stopping.await.unwrap();
    assert_settled(&stats);
    assert_eq!((stats.state, stats.tally.abandoned), (State::Stopped, 0));
    assert_eq!(recorder.count() as u64, stats.done);
    bus.subscribe("a").name("w").to(recorder.handler()).await.unwrap();
    assert!(bus.stats().tally.offered >= 5, "an ended subscription stays in the sum");
    bus.finish().await;
}

#[tokio::test]
async fn stopping_a_paused_subscription_abandons_what_waits() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let subscription = bus.subscribe("a").to(recorder.handler()).await.unwrap();
    subscription.pause();
    for n in 0..3 {
        bus.publish(number("a", n)).await.unwrap();
    }
    let stats = subscription.stop().await;
    assert_eq!(account(&stats.tally), [3, 0, 0, 0, 3]);
    assert_eq!(recorder.count(), 0);
    bus.finish().await;
}

#[tokio::test]
async fn abort_cuts_short_and_a_guard_aborts_when_it_is_dropped() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Hang]);
    let guard = bus.subscribe("a").to(recorder.scripted(&script)).await.unwrap().scoped();
    bus.publish(number("a", 0)).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    recorder.wait_for(1).await;
    assert_eq!(guard.stats().running, 1);
    drop(guard);
    bus.settle().await;
    assert_eq!(account(&bus.stats().tally), [2, 0, 0, 0, 2]);
    let detached = bus.subscribe("a").to(recorder.handler()).await.unwrap().scoped().detach();
    drop(detached);
    assert_eq!(bus.publish(number("a", 2)).await.unwrap().offered, 1);
    bus.finish().await;
}

#[tokio::test]
async fn a_dropped_handle_detaches() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    drop(bus.subscribe("a").to(recorder.handler()).await.unwrap());
    bus.publish(number("a", 1)).await.unwrap();
    bus.settle().await;
    assert_eq!(recorder.count(), 1);
}

#[tokio::test]
async fn everything_wrong_with_a_subscription_is_said_at_once() {
    let bus = TestBus::start().await;
    bus.subscribe("a").name("taken").to(inline(|| {})).await.unwrap();
    let handler = |_: Payload<Number>, _: Taken<Arc<str>>, _: Taken<u8>| std::future::ready(());
    let builder = bus.subscribe("a..b").name("taken").middleware(Stage::User, "m", Nothing);
    let error = builder.middleware(Stage::User, "m", Nothing).to(handler).await.unwrap_err();
    let problems = error.problems();
    assert_eq!(problems.len(), 5, "{error}");
    assert!(problems.contains(&SubscribeProblem::NameTaken));
    assert!(problems.contains(&SubscribeProblem::StateMissing { type_name: "u8" }));
    let text = error.to_string();
    for part in ["subscription \"taken\" did not begin", "State<alloc::sync::Arc<str>>", "byte 2", "\"m\""] {
        assert!(text.contains(part), "{text} should say {part}");
    }
    assert!(!error.is_transient());
    assert_eq!(bus.stats().subscriptions.len(), 1);
}

#[tokio::test]
async fn a_name_is_taken_however_its_subscription_came_by_it_and_until_it_ends() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let asleep = bus.subscribe("a").to(recorder.handler()).await.unwrap();
    let awake = bus.subscribe("a").to(recorder.handler()).await.unwrap();
    let grouped = bus.subscribe("b").group("g").to(recorder.handler()).await.unwrap();
    let named = bus.subscribe("c").name("d").to(recorder.handler()).await.unwrap();
    awake.pause();
    for subscription in [&asleep, &awake, &grouped, &named] {
        let name = subscription.name().to_string();
        let error = bus.subscribe("x").name(&name).to(recorder.handler()).await.unwrap_err();
        assert_eq!(error.problems(), [SubscribeProblem::NameTaken], "{name}");
    }
    // What only looks like the number of one is free.
    bus.subscribe("x").name("x #1").to(recorder.handler()).await.unwrap();
    for subscription in [asleep, awake, grouped, named] {
        let name = subscription.name().to_string();
        subscription.stop().await;
        bus.subscribe("x").name(&name).to(recorder.handler()).await.unwrap();
    }
}

struct Nothing;
impl busway_middleware::SyncMiddleware for Nothing {}

#[tokio::test]
async fn everything_wrong_with_a_bus_is_said_at_once() {
    let builder = Bus::memory()
        .producer("")
        .filter_settings("a.#.b", Settings::new())
        .middleware(Stage::User, "m", Nothing)
        .middleware(Stage::User, "m", Nothing)
        .publish_middleware(PublishStage::User, "p", |_: &mut busway_event::DraftHead| Ok(()))
        .publish_middleware(PublishStage::User, "p", |_: &mut busway_event::DraftHead| Ok(()));
    let error = builder.start().await.unwrap_err();
    assert_eq!(error.problems().len(), 4, "{error}");
    assert!(matches!(error.problems()[3], BuildProblem::Producer(_)), "{error}");
    assert!(!error.is_transient());
}

#[test]
fn a_bus_outside_of_a_runtime_is_an_error() {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let started = std::pin::pin!(Bus::memory().start()).as_mut().poll(&mut context);
    let std::task::Poll::Ready(Err(error)) = started else { panic!("it must not start") };
    assert!(matches!(error.problems(), [BuildProblem::NoRuntime]), "{error}");
}

#[tokio::test]
async fn start_hooks_run_in_order_and_a_failing_one_stops_everything() {
    let recorder = Recorder::<Number>::new();
    let handler = recorder.handler();
    let builder = Bus::memory().on_start("subscribe", async move |bus: Bus| {
        bus.subscribe("a").to(handler).await?;
        bus.publish(number("a", 1)).await?;
        Ok(())
    });
    let bus = builder.start().await.unwrap();
    bus.idle().await;
    assert_eq!(recorder.count(), 1);

    let kept = Arc::new(parking_lot::Mutex::new(None));
    let keep = Arc::clone(&kept);
    let failing = Bus::memory()
        .on_start("keep", move |bus: Bus| {
            *keep.lock() = Some(bus);
            std::future::ready(Ok(()))
        })
        .on_start("fail", async |_| Err("the database is not there".into()));
    let error = failing.start().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the bus did not start: start hook \"fail\" failed: the database is not there"
    );
    assert!(error.is_transient());
    let bus = kept.lock().take().unwrap();
    assert!(bus.publish(number("a", 1)).await.is_err(), "a bus that did not start takes nothing");
}

#[tokio::test]
async fn a_start_gives_up_cleanly_when_it_is_cancelled() {
    let held = Arc::new(());
    let weak = Arc::downgrade(&held);
    let builder = Bus::memory().on_start("hang", async move |_| {
        std::future::pending::<()>().await;
        drop(held);
        Ok(())
    });
    let error = builder.start_until(tokio::task::yield_now()).await.unwrap_err();
    assert!(matches!(error.problems(), [BuildProblem::Cancelled]), "{error}");
    assert!(weak.upgrade().is_none(), "the hook was dropped");
}

#[tokio::test]
async fn describe_says_which_level_won() {
    let bus = TestBus::build(|builder| {
        let orders = Settings::new().capacity(10).ttl(Priority::P0, None);
        builder.settings(Settings::new().capacity(5).concurrency(2)).filter_settings("orders.#", orders)
    })
    .await;
    let builder = bus.subscribe("orders.created").name("stock").overflow(Overflow::DropOldest);
    builder.middleware(Stage::User, "nothing", Nothing).to(inline(|_: Payload<Number>| {})).await.unwrap();
    let description = bus.describe();
    let stock = description.subscription("stock").unwrap();
    let said: Vec<String> = stock.settings.iter().map(ToString::to_string).collect();
    for setting in [
        "capacity = 10 (filter orders.#)",
        "concurrency = 2 (bus)",
        "overflow = DropOldest (subscription)",
        "order = Lane (default)",
        "ttl_p0 = for ever (filter orders.#)",
        "ttl_p1 = 300s (default)",
    ] {
        assert!(said.iter().any(|line| line == setting), "{setting} is missing in {said:?}");
    }
    let text = description.to_string();
    assert!(text.contains("stock on orders.created (ephemeral, running)"), "{text}");
    assert!(text.contains("behind nothing (user)"), "{text}");
    assert_eq!(stock.handlers[0].payloads, ["number"]);
}
