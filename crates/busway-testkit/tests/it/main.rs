//! The test kit keeps its own promises: it records, holds, moves time, and its assertions fail when they should.
#![expect(clippy::disallowed_methods, reason = "a test may have tasks of its own")]

use std::time::Duration;

use busway_engine::{Clock, Settings};
use busway_event::{Draft, Event, EventType};
use busway_middleware::Payload;
use busway_testkit::{Gate, ManualClock, Recorder, Script, Step, TestBus};

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
