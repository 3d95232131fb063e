//! Middleware inside of the engine: changed while running, with time, across subscriptions; panics stay where they are.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use busway_engine::{RateLimit, Timeout};
use busway_middleware::builtin::ConcurrencyLimit;
use busway_middleware::{
    Batch, Delivery, Flow, Outcome, Payload, Stage, SyncMiddleware, batch, blocking, inline,
};
use busway_reliability::{Overflow, Rate};
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};

use crate::world::{Number, assert_settled, number};

/// Stops with an outcome of its own.
struct Stop;

impl SyncMiddleware for Stop {
    fn before(&self, _delivery: &mut Delivery) -> Flow {
        Flow::Stop(Outcome::dead("stopped"))
    }
}

struct Panics;

impl SyncMiddleware for Panics {
    fn after(&self, _delivery: &Delivery, _outcome: Outcome) -> Outcome {
        panic!("after all")
    }
}

#[tokio::test]
async fn events_in_flight_keep_their_chain_and_the_next_one_gets_the_new_one() {
    let bus = TestBus::start().await;
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let script = Script::new([Step::Wait(gate.clone())]);
    let subscription = bus.subscribe("a").name("w").to(recorder.scripted(&script)).await.unwrap();
    bus.publish(number("a", 0)).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    gate.reached(1).await;
    bus.middleware(Stage::User).add("panics", Panics).unwrap();
    gate.open();
    bus.settle().await;
    bus.assert_outcomes("w", &["done", "failed"]);
    assert_eq!(bus.handled()[1].error.as_deref(), Some("panics panicked: after all"));
    bus.middleware(Stage::User).replace("panics", Stop).unwrap();
    subscription.middleware(Stage::Trace).add("own", Stop).unwrap();
    bus.publish(number("a", 2)).await.unwrap();
    bus.settle().await;
    bus.middleware(Stage::User).remove("panics").unwrap();
    subscription.middleware(Stage::Trace).remove("own").unwrap();
    bus.publish(number("a", 3)).await.unwrap();
    bus.settle().await;
    bus.assert_outcomes("w", &["done", "failed", "dead", "done"]);
    assert!(bus.middleware(Stage::User).remove("panics").is_err());
}

#[tokio::test]
async fn a_timeout_cancels_and_the_lane_opens_afterwards() {
    let bus = TestBus::start().await;
    let timeout = Timeout::new(Duration::from_secs(5)).clock(Arc::new(bus.clock().clone()));
    bus.middleware(Stage::Timeout).add("deadline", timeout).unwrap();
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Hang]);
    bus.subscribe("a").name("w").concurrency(2).to(recorder.scripted(&script)).await.unwrap();
    bus.publish(number("a", 0).key("k")).await.unwrap();
    bus.publish(number("a", 1).key("k")).await.unwrap();
    recorder.wait_for(1).await;
    bus.clock().advance(Duration::from_millis(4_999));
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(recorder.count(), 1, "the lane is closed while its first event runs");
    bus.clock().advance(Duration::from_millis(1));
    bus.settle().await;
    bus.assert_outcomes("w", &["failed", "done"]);
    assert_eq!(
        bus.handled()[0].error.as_deref(),
        Some("middleware deadline failed: the handler was cancelled after 5s")
    );
    bus.finish().await;
}

#[tokio::test]
async fn a_rate_limit_holds_back_and_its_rate_changes_while_events_wait() {
    let bus = TestBus::start().await;
    let one = NonZeroU32::MIN;
    let limit = RateLimit::with_clock(Rate::per_second(one), one, Arc::new(bus.clock().clone()));
    let handle = limit.handle();
    bus.middleware(Stage::User).add("rate", limit).unwrap();
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a").to(recorder.handler()).await.unwrap();
    for n in 0..13 {
        bus.publish(number("a", n)).await.unwrap();
    }
    recorder.wait_for(1).await;
    assert!(!bus.settle_within(Duration::from_secs(2)).await);
    assert_eq!(recorder.count(), 3, "one at once and one a second");
    handle.set_rate(Rate::per_second(NonZeroU32::MIN.saturating_add(9)));
    assert!(bus.settle_within(Duration::from_secs(1)).await, "ten a second now");
    assert_eq!(recorder.count(), 13);
    bus.finish().await;
}

#[tokio::test]
async fn clones_of_a_concurrency_limit_bound_two_subscriptions_together() {
    let bus = TestBus::start().await;
    let (limit, gate) = (ConcurrencyLimit::new(3), Gate::closed());
    let recorder = Recorder::<Number>::new();
    let script = Script::new((0..20).map(|_| Step::Wait(gate.clone())));
    for name in ["one", "two"] {
        let builder = bus.subscribe("a").name(name).concurrency(5);
        let builder = builder.middleware(Stage::User, "limit", limit.clone());
        builder.to(recorder.scripted(&script)).await.unwrap();
    }
    for n in 0..10 {
        bus.publish(number("a", n)).await.unwrap();
    }
    gate.reached(3).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gate.waiting(), 3);
    gate.open();
    bus.settle().await;
    assert_eq!(recorder.count(), 20);
    bus.finish().await;
}

#[tokio::test]
async fn panics_of_every_kind_of_handler_are_outcomes_and_the_subscription_goes_on() {
    fn boom(n: &Number) {
        assert!(n.n != 0, "boom");
    }
    let bus = TestBus::start().await;
    bus.subscribe("a").name("async").to(async |n: Payload<Number>| boom(&n)).await.unwrap();
    bus.subscribe("a").name("blocking").to(blocking(|n: Payload<Number>| boom(&n))).await.unwrap();
    bus.subscribe("a").name("inline").to(inline(|n: Payload<Number>| boom(&n))).await.unwrap();
    let many = async |numbers: Batch<Number>| assert!(numbers.iter().all(|n| n.payload().n != 0), "boom");
    bus.subscribe("a").name("batch").to(batch(many).max(1)).await.unwrap();
    for n in 0..3 {
        bus.publish(number("a", n)).await.unwrap();
    }
    bus.settle().await;
    for name in ["async", "blocking", "inline", "batch"] {
        bus.assert_outcomes(name, &["failed", "done", "done"]);
        let stats = bus.stats();
        let stats = stats.subscription(name).unwrap();
        assert_settled(stats);
        assert_eq!(stats.last_failure.as_ref().unwrap().error, "failed: handler panicked: boom", "{name}");
    }
    bus.finish().await;
}

/// An error that cannot say what it is.
#[derive(Debug)]
struct Speechless;

impl std::fmt::Display for Speechless {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("no words")
    }
}

impl std::error::Error for Speechless {}

fn fails(n: &Number) -> Result<(), Speechless> {
    if n.n == 0 { Err(Speechless) } else { Ok(()) }
}

#[tokio::test]
async fn an_error_whose_text_panics_is_counted_like_any_other_and_costs_no_worker() {
    for stage in [None, Some(Stage::User)] {
        let bus = busway_engine::Bus::memory().start().await.unwrap();
        if let Some(stage) = stage {
            bus.middleware(stage).add("limit", ConcurrencyLimit::new(2)).unwrap();
        }
        bus.subscribe("a").name("async").to(async |n: Payload<Number>| fails(&n)).await.unwrap();
        bus.subscribe("a").name("blocking").to(blocking(|n: Payload<Number>| fails(&n))).await.unwrap();
        bus.subscribe("a").name("inline").to(inline(|n: Payload<Number>| fails(&n))).await.unwrap();
        let many = async |numbers: Batch<Number>| {
            numbers.iter().map(|n| fails(n.payload())).collect::<Vec<Result<(), Speechless>>>()
        };
        bus.subscribe("a").name("batch").to(batch(many).max(1)).await.unwrap();
        for n in 0..3 {
            bus.publish(number("a", n)).await.unwrap();
        }
        bus.idle().await;
        for name in ["async", "blocking", "inline", "batch"] {
            let stats = bus.stats();
            let stats = stats.subscription(name).unwrap();
            assert_settled(stats);
            assert_eq!((stats.failed, stats.done, stats.running), (1, 2, 0), "{name}");
            assert!(stats.last_failure.is_some(), "{name}");
        }
        assert!(bus.shutdown(Duration::from_secs(5)).await.is_drained());
    }
}

#[tokio::test]
async fn a_batch_has_an_outcome_for_each_event_and_middleware_sees_each() {
    let bus = TestBus::start().await;
    let odd_fails = async |numbers: Batch<Number>| -> Vec<Result<(), String>> {
        numbers.iter().map(|n| if n.payload().n % 2 == 1 { Err("odd".to_owned()) } else { Ok(()) }).collect()
    };
    let builder = bus.subscribe("a").name("b").middleware(Stage::User, "limit", ConcurrencyLimit::new(2));
    let subscription = builder.to(batch(odd_fails).max(10)).await.unwrap();
    subscription.pause();
    for n in 0..6 {
        bus.publish(number("a", n)).await.unwrap();
    }
    subscription.resume();
    bus.settle().await;
    bus.assert_outcomes("b", &["done", "failed", "done", "failed", "done", "failed"]);
    bus.finish().await;
}

#[tokio::test]
async fn the_last_ways_through_the_chain_are_kept_with_their_times() {
    let bus = TestBus::start().await;
    let clock = bus.clock().clone();
    let handler = move |_: Payload<Number>| {
        clock.advance(Duration::from_millis(7));
        std::future::ready(())
    };
    let subscription = bus.subscribe("a").traces(2).to(handler).await.unwrap();
    for n in 0..3 {
        bus.publish(number("a", n)).await.unwrap();
    }
    bus.settle().await;
    bus.middleware(Stage::Decode).add("stop", Stop).unwrap();
    bus.publish(number("a", 3)).await.unwrap();
    bus.settle().await;
    let traces = subscription.traces();
    assert_eq!(traces.len(), 2);
    assert_eq!(
        (&*traces[0].nodes[0].node, traces[0].nodes[0].elapsed),
        ("handler", Duration::from_millis(7))
    );
    assert_eq!((traces[1].cut_by.as_deref(), traces[1].outcome), (Some("stop"), "dead"));
}

/// Notes when the event of this number passes it.
struct LooksFor(u32, Arc<AtomicBool>);

impl SyncMiddleware for LooksFor {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        if delivery.event().typed::<Number>().is_ok_and(|event| event.payload().n == self.0) {
            self.1.store(true, Ordering::Relaxed);
        }
        Flow::Continue
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_event_that_is_published_after_a_middleware_was_added_passes_it() {
    for blocks in [false, true] {
        let bus = busway_engine::Bus::memory().producer("test").start().await.unwrap();
        let builder = bus.subscribe("a").capacity(4).overflow(Overflow::Block(None));
        match blocks {
            true => builder.to(blocking(|_: Payload<Number>| ())).await.unwrap(),
            false => builder.to(async |_: Payload<Number>| ()).await.unwrap(),
        };
        let flow = {
            let bus = bus.clone();
            tokio::spawn(async move { while bus.publish(number("a", 0)).await.is_ok() {} })
        };
        for round in 1..400 {
            let passed = Arc::new(AtomicBool::new(false));
            let (stage, name) = (bus.middleware(Stage::User), format!("look-{round}"));
            stage.add(&name, LooksFor(round, Arc::clone(&passed))).unwrap();
            bus.publish(number("a", round)).await.unwrap();
            let offered = bus.stats().tally.offered;
            while bus.stats().tally.settled() < offered {
                tokio::task::yield_now().await;
            }
            assert!(passed.load(Ordering::Relaxed), "round {round}, blocking: {blocks}");
            stage.remove(&name).unwrap();
        }
        bus.shutdown(Duration::from_secs(10)).await;
        flow.await.unwrap();
    }
}
