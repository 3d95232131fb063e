//! The test kit keeps its own promises: it records, holds, moves time, and its assertions fail when they should.
#![expect(clippy::disallowed_methods, reason = "a test may have tasks of its own")]

mod conformance;
mod proxy;
mod stages;

use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use busway_engine::{Clock, Settings};
use busway_event::{Draft, Event, EventType};
use busway_middleware::{Payload, State};
use busway_testkit::{Gate, ManualClock, Recorder, Script, Step, TestBus};
use parking_lot::Mutex;

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "number")]
struct Number {
    n: u32,
}

fn number(topic: &str, n: u32) -> Draft<Number> {
    Event::new(topic, Number { n })
}

#[tokio::test]
async fn a_recorder_remembers_deliveries_in_order() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a.#").to(recorder.handler()).await.unwrap();
    for n in 0..3 {
        bus.publish(number("a.b", n)).await.unwrap();
    }
    recorder.wait_for(3).await;
    recorder.assert_payloads(&[Number { n: 0 }, Number { n: 1 }, Number { n: 2 }]);
    assert_eq!(recorder.deliveries()[2].attempt(), 1);
    assert_eq!((recorder.take().len(), recorder.count()), (3, 0));
    bus.finish().await;
}

#[tokio::test]
#[should_panic(expected = "payload 1 differs: expected Some(Number { n: 9 }), handled None")]
async fn a_missing_payload_fails_the_assertion() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a").to(recorder.handler()).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&[Number { n: 1 }, Number { n: 9 }]);
}

#[tokio::test]
async fn a_script_is_followed_step_by_step_and_then_all_is_done() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no"), Step::Dead("never"), Step::Skip, Step::Panic("boom")]);
    bus.subscribe("a").name("worker").to(recorder.scripted(&script)).await.unwrap();
    for n in 0..5 {
        bus.publish(number("a", n)).await.unwrap();
    }
    bus.settle().await;
    bus.assert_outcomes("worker", &["failed", "dead", "skipped", "failed", "done"]);
    assert_eq!(bus.handled()[3].error.as_deref(), Some("handler panicked: boom"));
    assert_eq!(script.left(), 0);
    bus.assert_balanced();
}

#[tokio::test]
async fn a_gate_holds_handlers_until_it_opens() {
    let bus = TestBus::start().await;
    let gate = Gate::closed();
    let script = Script::new((0..3).map(|_| Step::Wait(gate.clone())));
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a").concurrency(3).to(recorder.scripted(&script)).await.unwrap();
    for n in 0..3 {
        bus.publish(number("a", n)).await.unwrap();
    }
    gate.reached(3).await;
    assert_eq!((gate.waiting(), bus.handled().len()), (3, 0));
    gate.open_one();
    while gate.waiting() == 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gate.waiting(), 2);
    gate.open();
    bus.settle().await;
    assert_eq!(bus.handled().len(), 3);
}

#[tokio::test]
async fn virtual_time_passes_only_as_far_as_it_may() {
    let bus = TestBus::start().await;
    let clock = bus.clock().clone();
    let handler = move |_: Payload<Number>| {
        let clock = clock.clone();
        async move { clock.sleep_until(clock.now() + Duration::from_secs(60)).await }
    };
    bus.subscribe("a").to(handler).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    assert!(!bus.settle_within(Duration::from_secs(59)).await);
    assert_eq!(bus.clock().sleepers(), 1);
    assert!(bus.settle_within(Duration::from_secs(60)).await);
    bus.finish().await;
}

#[tokio::test]
async fn what_was_published_can_be_asked_for_by_filter() {
    let bus = TestBus::build(|builder| builder.settings(Settings::new().capacity(8))).await;
    bus.publish(number("a.b", 1)).await.unwrap();
    bus.publish(number("a.c", 2)).await.unwrap();
    bus.assert_published("a.+", 2);
    bus.assert_payloads("a.c", &[Number { n: 2 }]);
    bus.assert_published_only(&["a.#"]);
    assert_eq!(bus.published_on("b").len(), 0);
    assert_eq!(bus.published()[0].time().to_string(), "2026-01-01T00:00:00Z");
}

#[tokio::test]
#[should_panic(expected = "expected 1 events on a, published 0: []")]
async fn a_missing_event_fails_the_assertion() {
    TestBus::start().await.assert_published("a", 1);
}

#[tokio::test]
#[should_panic(expected = "published beside [\"a\"]: [\"b\"]")]
async fn an_unexpected_event_fails_the_assertion() {
    let bus = TestBus::start().await;
    bus.publish(number("b", 1)).await.unwrap();
    bus.assert_published_only(&["a"]);
}

#[tokio::test]
#[should_panic(expected = "1 running")]
async fn an_event_that_still_runs_fails_the_balance() {
    let bus = TestBus::start().await;
    let gate = Gate::closed();
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a").to(recorder.scripted(&Script::new([Step::Wait(gate.clone())]))).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    gate.reached(1).await;
    bus.assert_balanced();
}

#[tokio::test]
async fn hanging_handlers_are_cut_short_when_virtual_grace_is_over() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a").to(recorder.scripted(&Script::new([Step::Hang]))).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    recorder.wait_for(1).await;
    let clock = bus.clock().clone();
    let finish = tokio::spawn(bus.finish());
    while !finish.is_finished() {
        clock.advance_to_next();
        tokio::task::yield_now().await;
    }
    assert_eq!(finish.await.unwrap().tally.abandoned, 1);
}

#[test]
fn clones_of_a_clock_are_the_same_clock() {
    let clock = ManualClock::new();
    let (copy, before) = (clock.clone(), clock.now());
    copy.advance(Duration::from_secs(1));
    assert_eq!(clock.now() - before, Duration::from_secs(1));
}

/// A waker whose end looks at the clock, as the end of a task with a timer of its own does.
struct LooksAtTheClock(ManualClock);

impl Wake for LooksAtTheClock {
    fn wake(self: Arc<Self>) {}
}

impl Drop for LooksAtTheClock {
    fn drop(&mut self) {
        _ = self.0.sleepers();
    }
}

#[test]
fn a_waker_may_use_the_clock_when_it_is_dropped() {
    let clock = ManualClock::new();
    let mut sleep = clock.sleep_until(clock.now() + Duration::from_secs(1));
    for _ in 0..2 {
        let waker = Waker::from(Arc::new(LooksAtTheClock(clock.clone())));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(sleep);
    assert_eq!(clock.sleepers(), 0);
}

/// Notes its number when it is woken.
struct Notes(u32, Arc<Mutex<Vec<u32>>>);

impl Wake for Notes {
    fn wake(self: Arc<Self>) {
        self.1.lock().push(self.0);
    }
}

#[test]
fn sleepers_are_woken_in_the_order_in_which_they_are_due() {
    let (clock, woken) = (ManualClock::new(), Arc::new(Mutex::new(Vec::new())));
    let sleeps: Vec<_> = [3, 1, 4, 2]
        .into_iter()
        .map(|seconds| {
            let mut sleep = clock.sleep_until(clock.now() + Duration::from_secs(u64::from(seconds)));
            let waker = Waker::from(Arc::new(Notes(seconds, Arc::clone(&woken))));
            assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            sleep
        })
        .collect();
    clock.advance(Duration::from_secs(3));
    assert_eq!(*woken.lock(), [1, 2, 3]);
    assert_eq!(clock.sleepers(), 1);
    drop(sleeps);
}

#[test]
fn a_clock_that_is_moved_too_far_stops_at_its_end() {
    let clock = ManualClock::new();
    let start = clock.now();
    clock.advance(Duration::MAX);
    let end = clock.now();
    clock.advance(Duration::MAX);
    assert!(end > start);
    assert_eq!(clock.now(), end);
}

#[tokio::test]
async fn a_long_chain_of_handlers_comes_to_rest_without_time() {
    let bus = TestBus::start().await;
    let hop = async |number: Payload<Number>| {
        // Each hop takes a few turns of the runtime, so that the chain outlasts any fixed number of them.
        tokio::task::yield_now().await;
        (number.n > 0).then(|| Event::new("hop", Number { n: number.n - 1 }))
    };
    bus.subscribe("hop").name("hops").to(hop).await.unwrap();
    bus.publish(number("hop", 200)).await.unwrap();
    assert!(bus.settle_within(Duration::ZERO).await);
    bus.assert_handled("hops", 201);
    bus.finish().await;
}

#[tokio::test]
async fn handlers_that_feed_themselves_for_ever_do_not_keep_a_test_from_ending() {
    let bus = TestBus::start().await;
    let again = async |_: Payload<Number>| Event::new("again", Number { n: 0 });
    let subscription = bus.subscribe("again").to(again).await.unwrap();
    bus.publish(number("again", 0)).await.unwrap();
    assert!(!bus.settle_within(Duration::from_secs(1)).await);
    subscription.abort();
}

#[tokio::test]
#[should_panic(expected = "published beside [\"a\"]: [\"b\"]")]
async fn an_unexpected_event_is_found_when_its_id_is_that_of_an_expected_one() {
    let bus = TestBus::start().await;
    bus.publish(number("a", 1)).await.unwrap();
    let id = bus.published()[0].id();
    bus.publish(number("b", 1).id(id)).await.unwrap();
    bus.assert_published_only(&["a"]);
}

#[tokio::test]
async fn a_step_can_emit_and_what_follows_a_script_can_be_chosen() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::emit(|| number("out", 7))]).then(Step::Fail("down"));
    bus.subscribe("in").name("worker").to(recorder.scripted(&script)).await.unwrap();
    for n in 0..3 {
        bus.publish(number("in", n)).await.unwrap();
    }
    bus.settle().await;
    bus.assert_payloads("out", &[Number { n: 7 }]);
    bus.assert_outcomes("worker", &["done", "failed", "failed"]);
    bus.finish().await;
}

#[tokio::test]
async fn a_bus_may_share_its_clock_with_the_state_of_its_handlers() {
    let clock = ManualClock::new();
    let state: Arc<dyn Clock> = Arc::new(clock.clone());
    let bus = TestBus::build_on(clock, |builder| builder.state(state)).await;
    let wait = async |_: Payload<Number>, State(clock): State<Arc<dyn Clock>>| {
        clock.sleep_until(clock.now() + Duration::from_secs(3_600)).await;
    };
    bus.subscribe("a").name("waiter").to(wait).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    assert!(bus.settle_within(Duration::from_secs(3_600)).await);
    bus.assert_handled("waiter", 1);
    bus.finish().await;
}

#[tokio::test]
#[should_panic(expected = "expected 2 events handled by waiter, handled 0")]
async fn a_missing_handling_fails_the_assertion() {
    TestBus::start().await.assert_handled("waiter", 2);
}

#[tokio::test]
#[should_panic(expected = "payloads published on a")]
async fn another_payload_fails_the_assertion() {
    let bus = TestBus::start().await;
    bus.publish(number("a", 1)).await.unwrap();
    bus.assert_payloads("a", &[Number { n: 2 }]);
}

#[tokio::test]
#[should_panic(expected = "outcomes of worker")]
async fn another_outcome_fails_the_assertion() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    bus.subscribe("a").name("worker").to(recorder.handler()).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    bus.settle().await;
    bus.assert_outcomes("worker", &["failed"]);
}

#[tokio::test]
#[should_panic(expected = "1 timers are left")]
async fn a_timer_that_is_left_behind_fails_the_finish() {
    let bus = TestBus::start().await;
    let clock = bus.clock().clone();
    let mut sleep = clock.sleep_until(clock.now() + Duration::from_secs(1));
    assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    bus.finish().await;
}
