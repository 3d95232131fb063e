//! What is asked for twice happens once.

mod batches;
mod effects;
mod emits;
mod endings;
mod ephemeral;
mod guarded;
mod renewed;
mod shared;
mod silent;
mod slow;

use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Clock as _, DurableSubscription, IdempotencyStats, StartAt, SubscribeProblem};
use busway_event::Draft;
use busway_middleware::{Delivery, Outcome, Payload};
use busway_reliability::{Idempotency, IdempotencyKey, OnNoKey, Retry};
use busway_testkit::{Gate, ManualClock, Recorder, Script, Step, TestBus};
use parking_lot::Mutex;

use super::{dir, numbers, open, open_on, stock};
use crate::world::{Number, number, turns};

/// By the business's own name for what has happened.
pub(super) fn once() -> Idempotency {
    Idempotency::by_metadata(["bizId"])
}

/// An event of its own, with an id of its own, about something that has happened.
pub(super) fn about(biz_id: &str, n: u32) -> Draft<Number> {
    number("orders.created", n).meta("bizId", biz_id)
}

pub(super) async fn publish(bus: &TestBus, events: impl IntoIterator<Item = (&str, u32)>) {
    for (biz_id, n) in events {
        bus.publish(about(biz_id, n)).await.unwrap();
    }
}

pub(super) fn steps(subscription: &DurableSubscription) -> IdempotencyStats {
    subscription.stats().idempotency.unwrap()
}

#[tokio::test]
async fn a_duplicate_is_settled_as_skipped_and_counted() {
    let (dir, recorder) = (dir(), Recorder::<Number>::new());
    let bus = open(&dir).await;
    let subscription = stock(&bus).idempotent(once()).to(recorder.handler()).await.unwrap();
    publish(&bus, [("A", 1), ("B", 2), ("A", 3), ("A", 4), ("B", 5)]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 2]));
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.skipped, stats.failed, stats.parked), (2, 3, 0, 0), "{stats}");
    let steps = steps(&subscription);
    assert_eq!((steps.misses, steps.leased, steps.store_hits, steps.released), (2, 2, 3, 0), "{steps}");
    let described = bus.describe().to_string();
    assert!(described.contains("idempotent = metadata bizId for 86400s"), "{described}");
    bus.finish().await;
}

#[tokio::test]
async fn keys_that_are_done_are_so_after_a_restart_until_their_time_is_over() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let ttl = Duration::from_secs(3_600);
    for (round, handled) in [(0_u32, 1), (1, 1), (2, 2)] {
        let bus = open_on(&clock, &dir).await;
        let subscription = stock(&bus).idempotent(once().ttl(ttl)).to(recorder.handler()).await.unwrap();
        publish(&bus, [("A", round)]).await;
        bus.settle().await;
        assert_eq!(recorder.count(), handled, "round {round}: {}", steps(&subscription));
        bus.finish().await;
        clock.advance(if round == 0 { Duration::from_secs(3_599) } else { Duration::from_secs(1) });
    }
}

#[tokio::test]
async fn keys_that_are_done_outlive_a_wall_clock_that_was_ahead_for_a_moment() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let (right, ttl) = (clock.utc(), Duration::from_secs(3_600));
    for round in 0_u32..2 {
        let bus = open_on(&clock, &dir).await;
        // No key is done by it: one that is would hold up those behind it.
        clock.set_utc(if round == 0 { right.saturating_add(2 * ttl) } else { right });
        let subscription = stock(&bus).idempotent(once().ttl(ttl)).to(recorder.handler()).await.unwrap();
        clock.set_utc(right);
        for key in ["A", "B", "C"] {
            publish(&bus, [(key, round)]).await;
            bus.settle().await;
        }
        assert_eq!(recorder.count(), 3, "round {round}: {}", steps(&subscription));
        bus.finish().await;
    }
}

#[tokio::test]
async fn ids_that_are_done_are_so_after_a_restart_and_newer_ones_are_new() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let by_id = || Idempotency::by_id();
    for round in 0_u32..3 {
        let bus = open_on(&clock, &dir).await;
        let subscription = stock(&bus).idempotent(by_id()).to(recorder.handler()).await.unwrap();
        for n in 0..5 {
            bus.publish(number("orders.created", round * 5 + n)).await.unwrap();
        }
        bus.settle().await;
        let seen = recorder.count();
        assert_eq!(seen, usize::try_from(round + 1).unwrap() * 5);
        // All of them once more, those of the rounds before too.
        bus.cursor("stock").seek(StartAt::Earliest).await.unwrap();
        bus.settle().await;
        assert_eq!(recorder.count(), seen, "round {round}: {}", steps(&subscription));
        bus.finish().await;
        clock.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn a_failure_leaves_nothing_and_the_next_attempt_handles_the_event() {
    let (dir, recorder) = (dir(), Recorder::<Number>::new());
    let bus = open(&dir).await;
    let script = Script::new([Step::Fail("not yet"), Step::Panic("oh"), Step::Done]);
    let retry = Retry::default().first_delay(Duration::from_secs(1)).longest_delay(Duration::from_secs(1));
    let subscription =
        stock(&bus).retry(retry).idempotent(once()).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, [("A", 1)]).await;
    for _ in 0..3 {
        bus.settle().await;
        bus.clock().advance(Duration::from_secs(1));
    }
    publish(&bus, [("A", 2)]).await;
    bus.settle().await;
    let attempts: Vec<u32> = recorder.deliveries().iter().map(Delivery::attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    let steps = steps(&subscription);
    assert_eq!((steps.leased, steps.released, steps.store_hits), (3, 2, 1), "{steps}");
    bus.finish().await;
}

#[tokio::test]
async fn what_its_handler_skips_or_gives_up_is_not_done() {
    let (dir, recorder) = (dir(), Recorder::<Number>::new());
    let bus = open(&dir).await;
    let script = Script::new([Step::Skip, Step::Dead("no such order"), Step::Done]);
    let subscription = stock(&bus).idempotent(once()).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, [("A", 1), ("A", 2), ("A", 3), ("A", 4)]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 2, 3]));
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.skipped, stats.dead), (1, 2, 1), "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn a_concurrent_duplicate_waits_uncharged_until_the_other_one_has_ended_and_is_not_dropped() {
    let (dir, gate) = (dir(), Gate::closed());
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Wait(gate.clone()), Step::Done]);
    let subscription =
        stock(&bus).concurrency(4).idempotent(once()).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, [("A", 1), ("A", 2), ("A", 3), ("B", 4)]).await;
    gate.reached(1).await;
    while subscription.stats().parked < 2 || subscription.stats().done < 1 {
        turns().await;
    }
    recorder.wait_for(2).await;
    assert_eq!(steps(&subscription).busy, 2, "they found the lease, and B was not delayed");
    gate.open();
    // No time has passed: they have their turn when the key is let go, not when a clock says so.
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 4]));
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.skipped, stats.failed, stats.parked), (2, 2, 0, 0), "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn a_duplicate_that_waited_handles_the_event_when_the_other_one_has_failed() {
    let (dir, gate, attempts) = (dir(), Gate::closed(), Arc::new(Mutex::new(Vec::new())));
    let bus = open(&dir).await;
    let (waits, noted) = (gate.clone(), Arc::clone(&attempts));
    let handler = move |number: Payload<Number>, delivery: Delivery| {
        noted.lock().push((number.n, delivery.attempt()));
        let gate = waits.clone();
        async move {
            if number.n > 1 {
                return Outcome::Done;
            }
            gate.pass().await;
            Outcome::dead("broken")
        }
    };
    let subscription = stock(&bus).concurrency(2).idempotent(once()).to(handler).await.unwrap();
    publish(&bus, [("A", 1), ("A", 2)]).await;
    gate.reached(1).await;
    while subscription.stats().parked < 1 {
        turns().await;
    }
    gate.open();
    bus.settle().await;
    assert_eq!(*attempts.lock(), [(1, 1), (2, 1)], "the second one was charged nothing for waiting");
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.dead, stats.skipped), (1, 1, 0), "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn an_event_without_its_key_is_given_up_with_an_error_that_names_the_path() {
    let (dir, recorder) = (dir(), Recorder::<Number>::new());
    let bus = open(&dir).await;
    let by_pointer = stock(&bus).idempotent(Idempotency::by_pointer("/order/id"));
    let subscription = by_pointer.to(recorder.handler()).await.unwrap();
    publish(&bus, [("A", 1)]).await;
    bus.settle().await;
    let stats = subscription.stats();
    let error = stats.last_failure.unwrap().error;
    assert_eq!((stats.dead, recorder.count()), (1, 0));
    assert!(error.contains("/order/id") && error.contains("not in the payload"), "{error}");
    assert_eq!(steps(&subscription).no_key, 1);
    subscription.stop().await;

    let patient = bus.subscribe("orders.#").durable("patient").start_at(StartAt::Earliest);
    let retry = Idempotency::by_pointers(["/n", "/m"]).on_no_key(OnNoKey::Retry);
    let subscription = patient.idempotent(retry).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    assert_eq!((subscription.stats().failed, subscription.stats().parked), (1, 1));
    bus.finish().await;
}

#[tokio::test]
async fn keys_come_from_the_payload_too() {
    let (dir, recorder) = (dir(), Recorder::<Number>::new());
    let bus = open(&dir).await;
    stock(&bus).idempotent(Idempotency::by_pointer("/n")).to(recorder.handler()).await.unwrap();
    publish(&bus, [("A", 1), ("B", 1), ("C", 2)]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 2]));
    bus.finish().await;
}

/// Numbers of the same ten are one; nine has no key.
fn by_tens() -> Idempotency {
    Idempotency::by(|event| {
        let number = event.typed::<Number>().ok()?.payload().n;
        (number != 9).then(|| IdempotencyKey::of([(number / 10).to_be_bytes()]))
    })
}

#[tokio::test]
async fn keys_come_from_a_function_too() {
    let (dir, recorder, in_memory) = (dir(), Recorder::<Number>::new(), Recorder::<Number>::new());
    let bus = open(&dir).await;
    let durable = stock(&bus).idempotent(by_tens()).to(recorder.handler()).await.unwrap();
    let ephemeral = bus.subscribe("orders.#").idempotent(by_tens()).to(in_memory.handler()).await.unwrap();
    publish(&bus, [("A", 1), ("B", 2), ("C", 11), ("D", 9), ("E", 12)]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 11]));
    in_memory.assert_payloads(&numbers([1, 11]));
    let stats = durable.stats();
    assert_eq!((stats.done, stats.skipped, stats.dead, steps(&durable).no_key), (2, 2, 1, 1), "{stats}");
    let stats = ephemeral.stats();
    assert_eq!((stats.done, stats.skipped, stats.dead), (2, 2, 1), "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn everything_wrong_with_its_idempotency_is_said_at_once() {
    let dir = dir();
    let bus = open(&dir).await;
    let wrong = Idempotency::by_pointer("order").ttl(Duration::ZERO).keys_max(0);
    let error = stock(&bus).idempotent(wrong.clone()).to(async || {}).await.unwrap_err();
    assert_eq!(error.problems().len(), 3, "{error}");
    let error = bus.subscribe("orders.#").idempotent(wrong).group("g").to(async || {}).await.unwrap_err();
    assert_eq!(error.problems().len(), 4, "{error}");
    assert!(error.problems().contains(&SubscribeProblem::IdempotentInGroup));
    bus.finish().await;
}

#[tokio::test]
async fn members_of_a_group_share_their_keys_and_want_the_same() {
    let (dir, recorder) = (dir(), Recorder::<Number>::new());
    let bus = open(&dir).await;
    let member = || stock(&bus).group("g");
    member().idempotent(once()).to(recorder.handler()).await.unwrap();
    member().idempotent(once()).to(recorder.handler()).await.unwrap();
    let error = member().to(recorder.handler()).await.unwrap_err();
    assert!(error.to_string().contains("idempotent"), "{error}");
    publish(&bus, (0..40).map(|n| (["A", "B"][n % 2], u32::try_from(n).unwrap()))).await;
    bus.settle().await;
    assert_eq!(recorder.count(), 2);
    bus.finish().await;
}
