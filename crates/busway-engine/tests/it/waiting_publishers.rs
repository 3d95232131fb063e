//! Publishers that wait for room: who is freed when, and what becomes of their events however the wait ends.

use std::time::Duration;

use busway_engine::{Bus, Receipt, Refused, Subscription};
use busway_event::{Draft, Event, Priority};
use busway_middleware::Payload;
use busway_reliability::Overflow;
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};
use tokio::task::JoinHandle;

use crate::world::{Number, account, assert_settled, number, turns};

const SECOND: Duration = Duration::from_secs(1);

/// A subscription with one place in each queue, whose first event is held at the gate.
async fn held(bus: &TestBus, topic: &str, overflow: Overflow) -> (Subscription, Recorder<Number>, Gate) {
    let (recorder, gate) = (Recorder::new(), Gate::closed());
    let script = Script::new([Step::Wait(gate.clone())]);
    let builder = bus.subscribe(topic).name(topic).capacity(1).overflow(overflow);
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    bus.publish(number(topic, 0)).await.unwrap();
    gate.reached(1).await;
    (subscription, recorder, gate)
}

type Publishing = JoinHandle<Result<Receipt, (Refused, Draft<Number>)>>;

/// Publishes in a task of its own; returns when that task has come as far as it can.
async fn publishing(bus: &Bus, draft: Draft<Number>) -> Publishing {
    let bus = bus.clone();
    let task = tokio::spawn(async move {
        bus.publish(draft)
            .await
            .map_err(|error| (error.reason().unwrap().clone(), error.into_event().unwrap()))
    });
    turns().await;
    task
}

#[tokio::test]
async fn giving_up_in_front_of_two_full_subscriptions_is_counted_by_both() {
    let bus = TestBus::start().await;
    let (one, _, first) = held(&bus, "a.one", Overflow::Block(None)).await;
    let (two, _, second) = held(&bus, "a.two", Overflow::Block(None)).await;
    let paused = bus.subscribe("b").capacity(1).overflow(Overflow::Block(None));
    let paused = paused.to(async |_: Payload<Number>| {}).await.unwrap();
    let other = bus.subscribe("b").capacity(1).overflow(Overflow::Block(None));
    let other = other.to(async |_: Payload<Number>| {}).await.unwrap();
    paused.pause();
    other.pause();
    bus.publish(number("b", 0)).await.unwrap();
    let task = publishing(&bus, number("b", 1)).await;
    assert!(!task.is_finished());
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(account(&paused.stats().tally), [2, 0, 1, 0, 0]);
    assert_eq!(account(&other.stats().tally), [2, 0, 1, 0, 0], "the second one must know of it too");
    paused.resume();
    other.resume();
    first.open();
    second.open();
    assert!(bus.settle_within(SECOND).await, "something waits for ever");
    [one, two, paused, other].iter().for_each(|subscription| assert_settled(&subscription.stats()));
}

#[tokio::test]
async fn the_deadlines_of_two_full_subscriptions_run_at_once() {
    let bus = TestBus::start().await;
    let patient = bus.subscribe("a").capacity(1).overflow(Overflow::Block(Some(5 * SECOND)));
    let patient = patient.to(async |_: Payload<Number>| {}).await.unwrap();
    let hasty = bus.subscribe("a").capacity(1).overflow(Overflow::Block(Some(SECOND)));
    let hasty = hasty.to(async |_: Payload<Number>| {}).await.unwrap();
    patient.pause();
    hasty.pause();
    bus.publish(number("a", 0)).await.unwrap();
    let task = publishing(&bus, number("a", 1)).await;
    bus.clock().advance(SECOND);
    turns().await;
    assert_eq!(hasty.stats().tally.dropped, 1, "its second is over");
    bus.clock().advance(4 * SECOND);
    turns().await;
    assert_eq!(patient.stats().tally.dropped, 1, "its five seconds are over");
    assert!(task.is_finished(), "nobody is left to wait for");
    assert_eq!(task.await.unwrap().unwrap().offered, 2);
}

#[tokio::test]
async fn a_full_subscription_does_not_keep_another_one_from_taking_the_event_when_it_has_room() {
    let bus = TestBus::start().await;
    let stuck = bus.subscribe("a").capacity(1).overflow(Overflow::Block(None));
    let stuck = stuck.to(async |_: Payload<Number>| {}).await.unwrap();
    let quick = bus.subscribe("a").capacity(1).overflow(Overflow::Block(None));
    let quick = quick.to(async |_: Payload<Number>| {}).await.unwrap();
    stuck.pause();
    quick.pause();
    bus.publish(number("a", 0)).await.unwrap();
    let task = publishing(&bus, number("a", 1)).await;
    quick.resume();
    turns().await;
    assert_eq!(quick.stats().done, 2, "it has room, and another one's pause is not its own");
    stuck.resume();
    assert_eq!(task.await.unwrap().unwrap().offered, 2);
}

#[tokio::test]
async fn a_place_of_one_priority_frees_the_publisher_that_waits_for_it() {
    let bus = TestBus::start().await;
    let (subscription, _recorder, gate) = held(&bus, "a", Overflow::Block(None)).await;
    let least = |n| number("a", n).priority(Priority::P3);
    let most = |n| number("a", n).priority(Priority::P0);
    bus.publish(least(1)).await.unwrap();
    bus.publish(most(2)).await.unwrap();
    // The one that came first waits for a place that does not come free yet.
    let for_least = publishing(&bus, least(3)).await;
    let for_most = publishing(&bus, most(4)).await;
    subscription.pause();
    gate.open();
    turns().await;
    assert!(!for_least.is_finished() && !for_most.is_finished());
    let holding = Gate::closed();
    let next = holding.clone();
    let held_by_middleware = crate::world::AtGate(next);
    subscription.middleware(busway_middleware::Stage::User).add("hold", held_by_middleware).unwrap();
    subscription.resume();
    holding.reached(1).await;
    turns().await;
    // The urgent event is with the handler: its place is free, that of the other is not.
    assert!(for_most.is_finished(), "there is room for it");
    assert!(!for_least.is_finished());
    holding.open();
    bus.settle().await;
    for_most.await.unwrap().unwrap();
    for_least.await.unwrap().unwrap();
    assert_eq!(subscription.stats().done, 5);
}

#[tokio::test]
async fn a_heavy_event_that_leaves_makes_room_for_all_the_light_ones_that_fit() {
    use busway_event::Raw;
    let bus = TestBus::start().await;
    let gate = Gate::closed();
    let builder = bus.subscribe("a").capacity(8).capacity_bytes(8_000).overflow(Overflow::Block(None));
    let builder =
        builder.middleware(busway_middleware::Stage::User, "hold", crate::world::AtGate(gate.clone()));
    let subscription = builder.to(async |_: Payload<Raw>| {}).await.unwrap();
    let weighing = |bytes: usize| Event::new("a", Raw::from(vec![0_u8; bytes]));
    bus.publish(weighing(7_000)).await.unwrap();
    gate.reached(1).await;
    bus.publish(weighing(7_000)).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let (inner, draft) = (Bus::clone(&bus), weighing(2_000));
        waiting.push(tokio::spawn(async move { inner.publish(draft).await }));
        turns().await;
    }
    assert!(waiting.iter().all(|task| !task.is_finished()));
    gate.open_one();
    gate.reached(2).await;
    turns().await;
    let freed = waiting.iter().filter(|task| task.is_finished()).count();
    assert_eq!(freed, 3, "{} of 8000 bytes are used", subscription.stats().queued_bytes);
    gate.open();
    bus.settle().await;
}

#[tokio::test]
async fn publishers_are_freed_in_the_order_in_which_they_came() {
    let bus = TestBus::start().await;
    let (subscription, recorder, gate) = held(&bus, "a", Overflow::Block(None)).await;
    bus.publish(number("a", 1)).await.unwrap();
    let mut tasks = Vec::new();
    for n in 2..10 {
        tasks.push(publishing(&bus, number("a", n)).await);
    }
    gate.open();
    bus.settle().await;
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    recorder.assert_payloads(&(0..10).map(|n| Number { n }).collect::<Vec<_>>());
    assert_eq!(account(&subscription.stats().tally), [10, 10, 0, 0, 0]);
}

#[tokio::test]
async fn one_that_gives_up_lets_the_next_one_have_its_turn() {
    let bus = TestBus::start().await;
    let (subscription, recorder, gate) = held(&bus, "a", Overflow::Block(None)).await;
    bus.publish(number("a", 1)).await.unwrap();
    let first = publishing(&bus, number("a", 2)).await;
    let second = publishing(&bus, number("a", 3)).await;
    gate.open();
    // Dropped between its wake-up and its next turn, or before: either way the place is not lost.
    first.abort();
    second.await.unwrap().unwrap();
    bus.settle().await;
    assert!(recorder.payloads().contains(&Number { n: 3 }));
    assert_settled(&subscription.stats());
}

#[tokio::test]
async fn a_shutdown_gives_waiting_publishers_their_events_back() {
    let bus = TestBus::start().await;
    let (_subscription, _recorder, _gate) = held(&bus, "a", Overflow::Block(None)).await;
    bus.publish(number("a", 1)).await.unwrap();
    let task = publishing(&bus, number("a", 2).key("k").meta("tenant", "acme")).await;
    let inner = Bus::clone(&bus);
    let shutdown = tokio::spawn(async move { inner.shutdown(Duration::ZERO).await });
    turns().await;
    while !shutdown.is_finished() && bus.clock().advance_to_next() {
        turns().await;
    }
    let report = shutdown.await.unwrap();
    assert_eq!(report.tally.offered, report.tally.settled(), "{report}");
    let (reason, event) = task.await.unwrap().unwrap_err();
    assert_eq!(reason, Refused::Closed);
    assert_eq!((event.payload().n, event.head().key()), (2, Some("k")));
    assert_eq!(event.head().metadata().get("tenant"), Some("acme"));
    assert_eq!(report.tally, bus.stats().tally, "the account was closed with the report");
}

#[tokio::test]
async fn the_end_of_the_bus_gives_a_waiting_publisher_handle_its_event_back() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let paused = bus.subscribe("a").capacity(1).overflow(Overflow::Block(None));
    let paused = paused.to(async |_: Payload<Number>| {}).await.unwrap();
    paused.pause();
    let publisher = bus.publisher::<Number>("a").unwrap();
    publisher.publish(Number { n: 1 }).await.unwrap();
    let task = tokio::spawn(async move { publisher.publish(Number { n: 2 }).await });
    turns().await;
    drop(bus);
    let refused = task.await.unwrap().unwrap_err();
    assert_eq!(refused.reason().unwrap(), &Refused::Closed);
    assert_eq!(refused.into_event().unwrap().into_payload().n, 2);
    paused.ended().await;
    assert_eq!(account(&paused.stats().tally), [2, 0, 0, 0, 2]);
}

#[tokio::test]
async fn aborting_a_subscription_settles_the_events_of_waiting_publishers_in_the_sum_of_the_bus() {
    let bus = TestBus::start().await;
    let paused = bus.subscribe("a").capacity(1).overflow(Overflow::Block(None));
    let paused = paused.to(async |_: Payload<Number>| {}).await.unwrap();
    paused.pause();
    bus.publish(number("a", 1)).await.unwrap();
    let task = publishing(&bus, number("a", 2)).await;
    paused.abort();
    _ = bus.stats();
    turns().await;
    assert!(task.is_finished());
    assert_eq!(account(&bus.stats().tally), [2, 0, 0, 0, 2]);
}

#[tokio::test]
async fn aborting_cuts_short_a_handler_whose_events_wait_for_room() {
    let bus = TestBus::start().await;
    let full = bus.subscribe("full").capacity(1).overflow(Overflow::Block(None));
    let full = full.to(async |_: Payload<Number>| {}).await.unwrap();
    full.pause();
    bus.publish(number("full", 0)).await.unwrap();
    let emitting =
        bus.subscribe("a").to(async |n: Payload<Number>| number("full", n.n)).await.unwrap().scoped();
    bus.publish(number("a", 1)).await.unwrap();
    turns().await;
    assert_eq!(emitting.stats().running, 1, "it waits for room");
    drop(emitting);
    turns().await;
    full.resume();
    bus.settle().await;
    assert_eq!(bus.stats().tally.abandoned, 1, "the handler was cut short: {}", bus.stats().tally);
    bus.finish().await;
}

#[tokio::test]
async fn the_end_of_a_subscription_is_not_told_as_the_end_of_the_bus() {
    let bus = TestBus::start().await;
    let paused = bus.subscribe("a").capacity(1).overflow(Overflow::Block(None));
    let paused = paused.to(async |_: Payload<Number>| {}).await.unwrap();
    paused.pause();
    bus.publish(number("a", 1)).await.unwrap();
    let task = publishing(&bus, number("a", 2)).await;
    paused.abort();
    turns().await;
    // It was offered and is in the account as abandoned; the bus is as open as before.
    assert_eq!(task.await.unwrap().map(|receipt| receipt.offered).map_err(|(reason, _)| reason), Ok(1));
    assert_eq!(bus.publish(number("a", 3)).await.unwrap().offered, 0);
}
