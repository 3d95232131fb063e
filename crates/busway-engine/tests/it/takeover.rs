//! A subscription in the place of another one.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Publisher, SubscribeBuilder, SubscribeProblem, Subscription};
use busway_middleware::{AnyHandler, Ephemeral, Payload, inline};
use busway_reliability::Overflow;
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};

use crate::world::{Number, number};

/// A subscription that is at work with event 1 and goes on when the gate is opened, and what it has handled.
async fn busy(bus: &TestBus, subscribe: SubscribeBuilder) -> (Subscription, Recorder<Number>, Gate) {
    let (recorder, gate) = (Recorder::new(), Gate::closed());
    let script = Script::new([Step::Wait(gate.clone())]);
    let subscription = subscribe.to(recorder.scripted(&script)).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    gate.reached(1).await;
    (subscription, recorder, gate)
}

async fn until_alone(bus: &TestBus) {
    while bus.stats().subscriptions.len() > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_bears_the_same_name_and_has_what_comes_from_then_on() {
    let bus = TestBus::start().await;
    let (first, second) = (Recorder::<Number>::new(), Recorder::<Number>::new());
    let old = bus.subscribe("a.+").name("a").to(first.handler()).await.unwrap();
    bus.publish(number("a.b", 1)).await.unwrap();
    bus.settle().await;
    let new = bus.subscribe("a.#").name("a").taking_over(&old).to(second.handler()).await.unwrap();
    assert_eq!(bus.publish(number("a.b", 2)).await.unwrap().offered, 1);
    bus.settle().await;
    assert_eq!((first.count(), second.count()), (1, 1));
    until_alone(&bus).await;
    assert_eq!(new.stats().done, 1);
    let report = bus.finish().await;
    assert!(report.is_drained());
}

#[tokio::test]
async fn one_that_never_had_an_event_gives_way_without_being_made() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let unused: AnyHandler<Ephemeral> = Recorder::<Number>::new().handler();
    let mut subscription = bus.subscribe("a").name("a").to(unused).await.unwrap();
    for _ in 0..3 {
        subscription =
            bus.subscribe("a").name("a").taking_over(&subscription).to(recorder.handler()).await.unwrap();
        assert_eq!(bus.stats().subscriptions.len(), 1);
    }
    bus.publish(number("a", 1)).await.unwrap();
    bus.settle().await;
    assert_eq!(recorder.count(), 1);
}

#[tokio::test]
async fn the_third_waits_for_the_first_by_way_of_the_second() {
    let bus = TestBus::start().await;
    let (one, _, gate) = busy(&bus, bus.subscribe("a").name("a")).await;
    let (second, third) = (Recorder::<Number>::new(), Recorder::<Number>::new());
    let two = bus.subscribe("a").name("a").taking_over(&one).to(second.handler()).await.unwrap();
    bus.publish(number("a", 2)).await.unwrap();
    let three = bus.subscribe("a").name("a").taking_over(&two).to(third.handler()).await.unwrap();
    bus.publish(number("a", 3)).await.unwrap();
    bus.settle_within(Duration::ZERO).await;
    assert_eq!((second.count(), third.count()), (0, 0));
    gate.open();
    bus.settle().await;
    assert_eq!((second.count(), third.count()), (1, 1));
    assert_eq!(three.stats().done, 1);
    bus.assert_balanced();
}

#[tokio::test]
async fn a_shutdown_meanwhile_handles_what_both_have() {
    let bus = TestBus::start().await;
    let (old, first, gate) = busy(&bus, bus.subscribe("a")).await;
    let second = Recorder::<Number>::new();
    _ = bus.subscribe("a").taking_over(&old).to(second.handler()).await.unwrap();
    bus.publish(number("a", 2)).await.unwrap();
    let shutdown = bus.shutdown(Duration::from_secs(60));
    tokio::pin!(shutdown);
    assert!(futures_util::poll!(shutdown.as_mut()).is_pending());
    gate.open();
    assert!(shutdown.await.is_drained());
    assert_eq!((first.count(), second.count()), (1, 1));
}

#[tokio::test]
async fn one_that_is_paused_leaves_its_place_paused() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let old = bus.subscribe("a").name("a").to(recorder.handler()).await.unwrap();
    old.pause();
    bus.publish(number("a", 1)).await.unwrap();
    let new = bus.subscribe("a").name("a").taking_over(&old).to(recorder.handler()).await.unwrap();
    bus.publish(number("a", 2)).await.unwrap();
    until_alone(&bus).await;
    assert_eq!(recorder.count(), 1, "the old one has handled what it had");
    new.resume();
    bus.settle().await;
    assert_eq!(recorder.count(), 2);
}

#[tokio::test]
async fn one_that_does_not_begin_leaves_the_old_one_as_it_is() {
    let bus = TestBus::start().await;
    let recorder = Recorder::<Number>::new();
    let old = bus.subscribe("a").name("a").to(recorder.handler()).await.unwrap();
    let wrong = bus.subscribe("a..b").name("a").taking_over(&old);
    let handler: AnyHandler<Ephemeral> = recorder.handler();
    assert!(matches!(wrong.problems_with(&handler)[..], [SubscribeProblem::Filter(_)]));
    assert!(wrong.to(handler).await.is_err());
    bus.publish(number("a", 1)).await.unwrap();
    bus.settle().await;
    assert_eq!(recorder.count(), 1);
}

#[tokio::test]
async fn inline_handlers_take_over_too() {
    let bus = TestBus::start().await;
    let old = bus.subscribe("a").name("a").to(inline(|| {})).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    let new = bus.subscribe("a").name("a").taking_over(&old).to(inline(|| {})).await.unwrap();
    bus.publish(number("a", 2)).await.unwrap();
    until_alone(&bus).await;
    assert_eq!(new.stats().done, 1);
    bus.assert_balanced();
}

#[tokio::test]
async fn who_asks_for_something_else_takes_the_place_of_a_whole_group() {
    let bus = TestBus::start().await;
    let (first, second) = (Recorder::<Number>::new(), Recorder::<Number>::new());
    let one = bus.subscribe("a").group("g").to(first.handler()).await.unwrap();
    let two = bus.subscribe("a").group("g").to(first.handler()).await.unwrap();
    for value in 0..4 {
        bus.publish(number("a", value)).await.unwrap();
    }
    let wider = || bus.subscribe("a").group("g").concurrency(2);
    let one = wider().taking_over(&one).to(second.handler()).await.unwrap();
    let two = wider().taking_over(&two).to(second.handler()).await.unwrap();
    for value in 4..8 {
        bus.publish(number("a", value)).await.unwrap();
    }
    bus.settle().await;
    assert_eq!((first.count(), second.count()), (4, 4));
    until_alone(&bus).await;
    assert_eq!((one.stats().done, two.stats().done), (4, 4), "both are of the one group that is left");
    bus.assert_balanced();
}

#[tokio::test]
async fn the_first_of_many_keeps_none_of_those_behind_it_alive() {
    let bus = TestBus::start().await;
    // Each handler has one.
    let token = Arc::new(());
    let handler = || {
        let token = Arc::clone(&token);
        move |_: Payload<Number>| {
            drop(Arc::clone(&token));
            std::future::ready(())
        }
    };
    let first = bus.subscribe("a").name("a").to(handler()).await.unwrap();
    bus.publish(number("a", 0)).await.unwrap();
    let mut last = bus.subscribe("a").name("a").taking_over(&first).to(handler()).await.unwrap();
    for n in 1..20 {
        bus.publish(number("a", n)).await.unwrap();
        last = bus.subscribe("a").name("a").taking_over(&last).to(handler()).await.unwrap();
        bus.settle().await;
        until_alone(&bus).await;
    }
    // Of the test, the first, the last, and what this thread remembers of the routing table.
    let mut turns = 0;
    while Arc::strong_count(&token) > 4 {
        turns += 1;
        assert!(turns < 100_000, "{} handlers are alive", Arc::strong_count(&token) - 1);
        tokio::task::yield_now().await;
    }
    assert_eq!(first.name(), last.name());
}

#[tokio::test]
async fn one_that_is_stopped_while_it_waits_for_the_one_before_handles_what_it_has_behind_that() {
    let bus = TestBus::start().await;
    let (one, _, gate) = busy(&bus, bus.subscribe("a").name("a")).await;
    let second = Recorder::<Number>::new();
    let two = bus.subscribe("a").name("a").taking_over(&one).to(second.handler()).await.unwrap();
    bus.publish(number("a", 2)).await.unwrap();
    two.pause();
    two.resume();
    let stopping = async { two.stop().await };
    let opening = async {
        bus.settle_within(Duration::ZERO).await;
        assert_eq!(second.count(), 0, "it runs beside the one before");
        gate.open();
    };
    let (stats, ()) = tokio::join!(stopping, opening);
    assert_eq!((stats.done, second.count()), (1, 1));
    bus.assert_balanced();
}

#[tokio::test]
async fn a_handler_whose_successor_waits_for_it_does_not_wait_for_room_there() {
    let bus = TestBus::start().await;
    let gate = Gate::closed();
    let inside = gate.clone();
    let publishes = move |_: Payload<Number>, publisher: Publisher| {
        let gate = inside.clone();
        async move {
            gate.pass().await;
            publisher.publish(number("a", 3)).await.map(drop).map_err(|error| error.to_string())
        }
    };
    let second = Recorder::<Number>::new();
    let one = bus.subscribe("a").name("a").to(publishes).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    gate.reached(1).await;
    let two = bus.subscribe("a").name("a").capacity(1).overflow(Overflow::Block(None)).taking_over(&one);
    let two = two.to(second.handler()).await.unwrap();
    bus.publish(number("a", 2)).await.unwrap();
    gate.open();
    bus.settle().await;
    assert_eq!((two.stats().done, two.stats().tally.dropped), (1, 1));
    bus.assert_balanced();
}

#[tokio::test]
async fn of_two_that_take_one_place_the_second_begins_beside_the_first() {
    for had_events in [false, true] {
        let bus = TestBus::start().await;
        let gate = Gate::closed();
        let script = Script::new([Step::Wait(gate.clone())]);
        let (first, second, third) =
            (Recorder::<Number>::new(), Recorder::<Number>::new(), Recorder::<Number>::new());
        let one = bus.subscribe("a").to(first.scripted(&script)).await.unwrap();
        if had_events {
            bus.publish(number("a", 1)).await.unwrap();
            gate.reached(1).await;
        }
        let two = bus.subscribe("a").taking_over(&one).to(second.handler()).await.unwrap();
        let three = bus.subscribe("a").taking_over(&one).to(third.handler()).await.unwrap();
        // Each of them has it, and has it once.
        assert_eq!(bus.publish(number("a", 2)).await.unwrap().offered, 2);
        gate.open();
        bus.settle().await;
        assert_eq!((first.count(), second.count(), third.count()), (usize::from(had_events), 1, 1));
        two.stop().await;
        assert_eq!(bus.publish(number("a", 3)).await.unwrap().offered, 1);
        bus.settle().await;
        assert_eq!((second.count(), third.count()), (1, 2));
        three.stop().await;
        assert_eq!(bus.publish(number("a", 4)).await.unwrap().offered, 0);
        bus.assert_balanced();
    }
}

#[tokio::test]
async fn what_comes_meanwhile_and_finds_no_room_is_dropped_by_the_policy_of_the_new_one() {
    for (overflow, kept) in [(Overflow::DropNewest, [2, 3]), (Overflow::DropOldest, [4, 5])] {
        let bus = TestBus::start().await;
        let (old, first, gate) = busy(&bus, bus.subscribe("a")).await;
        let second = Recorder::<Number>::new();
        let new = bus.subscribe("a").capacity(2).overflow(overflow).taking_over(&old);
        let new = new.to(second.handler()).await.unwrap();
        for n in 2..=5 {
            bus.publish(number("a", n)).await.unwrap();
        }
        gate.open();
        bus.settle().await;
        assert_eq!(first.count(), 1);
        second.assert_payloads(&kept.map(|n| Number { n }));
        let tally = new.stats().tally;
        assert_eq!((tally.delivered, tally.dropped), (2, 2), "{overflow:?}: {tally:?}");
        bus.assert_balanced();
    }
}

#[tokio::test]
async fn a_member_whose_place_was_taken_may_be_stopped_again_and_its_group_goes_on() {
    let bus = TestBus::start().await;
    let (first, second) = (Recorder::<Number>::new(), Recorder::<Number>::new());
    let one = bus.subscribe("a").group("g").to(first.handler()).await.unwrap();
    let two = bus.subscribe("a").group("g").taking_over(&one).to(second.handler()).await.unwrap();
    bus.idle().await;
    one.stop().await;
    bus.publish(number("a", 1)).await.unwrap();
    bus.settle().await;
    assert_eq!((first.count(), second.count()), (0, 1));
    two.stop().await;
    assert_eq!(bus.publish(number("a", 2)).await.unwrap().offered, 0);
}

#[tokio::test]
async fn a_stop_of_one_that_waits_for_its_place_waits_for_the_one_before() {
    let bus = TestBus::start().await;
    let (one, first, gate) = busy(&bus, bus.subscribe("a").name("a")).await;
    let second = Recorder::<Number>::new();
    bus.publish(number("a", 2)).await.unwrap();
    let two = bus.subscribe("a").name("a").taking_over(&one).to(second.handler()).await.unwrap();
    let stopping = two.stop();
    tokio::pin!(stopping);
    assert!(futures_util::poll!(&mut stopping).is_pending());
    // Nothing new reaches it all the same.
    assert_eq!(bus.publish(number("a", 3)).await.unwrap().offered, 0);
    gate.open();
    stopping.await;
    assert_eq!((first.count(), second.count()), (2, 0));
    bus.subscribe("a").name("a").to(second.handler()).await.unwrap();
    bus.assert_balanced();
}
