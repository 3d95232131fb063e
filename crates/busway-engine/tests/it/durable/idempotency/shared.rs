//! A store of keys that several processes share: here two buses.

use std::num::NonZeroU32;
use std::time::Duration;

use busway_engine::DurableSubscription;
use busway_middleware::{Outcome, Payload};
use busway_reliability::{Idempotency, OnUnreachable, Rate, Retry};
use busway_testkit::{Gate, ManualClock, Recorder, Script, SharedKeys, Step, TestBus};

use super::super::{dir, numbers, open_on, stock};
use super::{once, publish, steps};
use crate::world::{Number, turns};

pub(super) fn shared(keys: &SharedKeys) -> Idempotency {
    once().store(keys.store())
}

#[tokio::test]
async fn what_one_process_has_done_the_other_skips_and_then_knows_by_itself() {
    let (one, other, clock) = (dir(), dir(), ManualClock::new());
    let (keys, recorder) = (SharedKeys::new(&clock), Recorder::<Number>::new());
    let one = open_on(&clock, &one).await;
    let other = open_on(&clock, &other).await;
    stock(&one).idempotent(shared(&keys)).to(recorder.handler()).await.unwrap();
    let second = stock(&other).idempotent(shared(&keys)).to(recorder.handler()).await.unwrap();
    publish(&one, [("A", 1)]).await;
    one.settle().await;
    publish(&other, [("A", 2), ("A", 3), ("A", 4)]).await;
    other.settle().await;
    recorder.assert_payloads(&numbers([1]));
    let first = steps(&second);
    assert_eq!((first.misses, first.store_hits, first.local_hits), (1, 1, 2), "{first}");
    let calls = keys.calls();
    clock.advance(Duration::from_secs(61));
    publish(&other, [("A", 5)]).await;
    other.settle().await;
    assert_eq!(keys.calls(), calls + 1, "the cache has forgotten it, the store has not");
    assert_eq!(recorder.count(), 1);
    one.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn a_lease_of_another_process_is_waited_for_and_runs_out_when_that_has_died() {
    let (one, other, clock) = (dir(), dir(), ManualClock::new());
    let (keys, gate) = (SharedKeys::new(&clock), Gate::closed());
    let dies = open_on(&clock, &one).await;
    let script = Script::new([Step::Wait(gate.clone())]);
    let stuck = Recorder::<Number>::new();
    stock(&dies).idempotent(shared(&keys)).to(stuck.scripted(&script)).await.unwrap();
    publish(&dies, [("A", 1)]).await;
    gate.reached(1).await;
    // Its lease is never given back.
    drop(dies);
    turns().await;

    let (recorder, other) = (Recorder::<Number>::new(), open_on(&clock, &other).await);
    let subscription = stock(&other).idempotent(shared(&keys)).to(recorder.handler()).await.unwrap();
    publish(&other, [("A", 2)]).await;
    for _ in 0..29 {
        other.settle().await;
        assert_eq!((recorder.count(), subscription.stats().parked), (0, 1));
        clock.advance(Duration::from_secs(1));
    }
    other.settle().await;
    clock.advance(Duration::from_secs(1));
    other.settle().await;
    recorder.assert_payloads(&numbers([2]));
    assert_eq!(recorder.deliveries()[0].attempt(), 1, "waiting is charged nothing");
    other.finish().await;
}

#[tokio::test]
async fn while_the_store_cannot_be_reached_events_wait_uncharged() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let keys = SharedKeys::new(&clock);
    let bus = open_on(&clock, &dir).await;
    let subscription = stock(&bus).idempotent(shared(&keys)).to(recorder.handler()).await.unwrap();
    keys.set_reachable(false);
    publish(&bus, [("A", 1), ("B", 2)]).await;
    for _ in 0..100 {
        assert!(ticks(&clock).await);
    }
    assert_eq!((recorder.count(), subscription.stats().parked), (0, 0), "they wait in the log");
    keys.set_reachable(true);
    assert!(ticks(&clock).await);
    bus.settle().await;
    let attempts: Vec<u32> = recorder.deliveries().iter().map(busway_middleware::Delivery::attempt).collect();
    assert_eq!(attempts, [1, 1]);
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.dead, stats.failed), (2, 0, 0), "{stats}");
    assert!(steps(&subscription).unreachable >= 100, "{}", steps(&subscription));
    bus.finish().await;
}

#[tokio::test]
async fn events_pass_an_unreachable_store_only_when_that_is_asked_for_and_are_counted() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let keys = SharedKeys::new(&clock);
    let bus = open_on(&clock, &dir).await;
    let passing = shared(&keys).on_unreachable(OnUnreachable::Pass);
    let subscription = stock(&bus).idempotent(passing).to(recorder.handler()).await.unwrap();
    keys.set_reachable(false);
    publish(&bus, [("A", 1), ("B", 2), ("A", 3)]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 2]));
    let steps = steps(&subscription);
    assert_eq!((steps.passed, steps.local_hits), (2, 1), "what this process did it knows: {steps}");
    bus.finish().await;
}

#[tokio::test]
async fn an_effect_that_the_store_could_not_be_told_of_is_told_later_and_not_repeated() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let keys = SharedKeys::new(&clock);
    let (bus, subscription) = handled_behind_the_stores_back(&dir, &clock, &keys, &recorder).await;
    for _ in 0..5 {
        assert!(ticks(&clock).await);
    }
    assert_eq!(
        (subscription.stats().done, recorder.count()),
        (0, 1),
        "it is not settled before the store knows"
    );
    keys.set_reachable(true);
    assert!(ticks(&clock).await);
    bus.settle().await;
    assert_eq!((subscription.stats().done, recorder.count()), (1, 1));
    publish(&bus, [("A", 2)]).await;
    bus.settle().await;
    assert_eq!(recorder.count(), 1);
    bus.finish().await;
}

/// A bus on which an event was handled that a store, which is away, could not be told of.
pub(super) async fn handled_behind_the_stores_back(
    dir: &tempfile::TempDir,
    clock: &ManualClock,
    keys: &SharedKeys,
    recorder: &Recorder<Number>,
) -> (TestBus, DurableSubscription) {
    let (gate, bus) = (Gate::closed(), open_on(clock, dir).await);
    let script = Script::new([Step::Wait(gate.clone())]);
    let subscription = stock(&bus).idempotent(shared(keys)).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, [("A", 1)]).await;
    gate.reached(1).await;
    keys.set_reachable(false);
    gate.open();
    while steps(&subscription).unreachable == 0 {
        turns().await;
    }
    (bus, subscription)
}

/// An effect of one life of the bus is not repeated in the next.
pub(super) async fn is_settled_in_the_next_life(
    dir: &tempfile::TempDir,
    clock: &ManualClock,
    keys: &SharedKeys,
    recorder: &Recorder<Number>,
) {
    let bus = open_on(clock, dir).await;
    let subscription = stock(&bus).idempotent(shared(keys)).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    assert_eq!((recorder.count(), subscription.stats().done), (1, 0), "it is settled");
    bus.finish().await;
}

/// Whoever waits for the clock asks again.
pub(super) async fn ticks(clock: &ManualClock) -> bool {
    for _ in 0..1_000 {
        if clock.advance_to_next() {
            turns().await;
            return true;
        }
        turns().await;
    }
    false
}

#[tokio::test]
async fn a_failure_gives_the_key_back_to_the_store() {
    let (one, other, clock) = (dir(), dir(), ManualClock::new());
    let (keys, recorder) = (SharedKeys::new(&clock), Recorder::<Number>::new());
    let (one, other) = (open_on(&clock, &one).await, open_on(&clock, &other).await);
    let fails = |_: Payload<Number>| std::future::ready(Outcome::dead("no"));
    let first = stock(&one).idempotent(shared(&keys)).to(fails).await.unwrap();
    stock(&other).idempotent(shared(&keys)).to(recorder.handler()).await.unwrap();
    publish(&one, [("A", 1)]).await;
    one.settle().await;
    assert_eq!(steps(&first).released, 1);
    publish(&other, [("A", 2)]).await;
    other.settle().await;
    recorder.assert_payloads(&numbers([2]));
    one.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn one_key_is_attempted_again_no_more_often_than_its_rate_here_and_by_all_processes_together() {
    let rate = Rate::new(1, Duration::from_secs(60)).unwrap();
    for is_shared in [false, true] {
        let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
        let once = once().retry_rate(rate, NonZeroU32::MIN);
        let once = if is_shared { once.store(SharedKeys::new(&clock).store()) } else { once };
        let bus = open_on(&clock, &dir).await;
        let script = Script::new((0..3).map(|_| Step::Fail("no")));
        let retry =
            Retry::default().first_delay(Duration::from_secs(1)).longest_delay(Duration::from_secs(1));
        let builder = stock(&bus).retry(retry).idempotent(once);
        let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
        publish(&bus, [("A", 1)]).await;
        let mut attempts = Vec::new();
        for second in 0..180 {
            bus.settle().await;
            if recorder.count() > attempts.len() {
                attempts.push(second);
            }
            clock.advance(Duration::from_secs(1));
        }
        // The first, the one that the burst allows, and then one a minute.
        assert_eq!(attempts.len(), 4, "{attempts:?}, {}", steps(&subscription));
        assert!(attempts[1] <= 2 && (60..65).contains(&attempts[2]), "{attempts:?}");
        assert!((120..125).contains(&attempts[3]), "{attempts:?}");
        let stats = subscription.stats();
        assert_eq!((stats.done, stats.failed), (1, 3), "what waits is charged nothing: {stats}");
        assert!(steps(&subscription).throttled >= 2);
        bus.finish().await;
    }
}
