//! At most once: what has come to its handler never comes to it again.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Redrive, StartAt, Stopping, SubscribeProblem, Tx};
use busway_event::Draft;
use busway_middleware::{Batch, BoxError, Payload, batch};
use busway_reliability::Idempotency;
use busway_testkit::{ManualClock, Recorder, Script, Step};
use tokio::sync::Notify;

use super::letters::{id, left, with_letters};
use super::{dir, numbers, open, open_on, publish, stock};
use crate::world::{Number, ends, number, turns};

#[tokio::test]
async fn an_event_whose_process_died_in_its_handler_is_not_attempted_again_and_its_control_is() {
    let (dir, copy) = (dir(), dir());
    let bus = open(&dir).await;
    let begun = Arc::new(Notify::new());
    let hangs = || {
        let begun = Arc::clone(&begun);
        move |_: Payload<Number>| {
            begun.notify_one();
            std::future::pending::<()>()
        }
    };
    let control = bus.subscribe("orders.#").durable("control").start_at(StartAt::Earliest);
    control.to(hangs()).await.unwrap();
    publish(&bus, [1, 2]).await;
    ends(begun.notified()).await;
    stock(&bus).at_most_once().to(hangs()).await.unwrap();
    ends(begun.notified()).await;
    // As a kill would leave it here: both handlers have begun, and neither has ended.
    let left = bus.backup(copy.path().join("left")).await.unwrap();
    drop(bus);

    let bus = open(&left.path).await;
    let (once, again) = (Recorder::<Number>::new(), Recorder::<Number>::new());
    stock(&bus).at_most_once().to(once.handler()).await.unwrap();
    bus.subscribe("orders.#").durable("control").to(again.handler()).await.unwrap();
    bus.settle().await;
    once.assert_payloads(&numbers([2]));
    again.assert_payloads(&numbers([1, 2]));
    bus.finish().await;
}

#[tokio::test]
async fn an_event_whose_handler_failed_or_was_cut_short_is_counted_and_not_attempted_again() {
    let dir = dir();
    let bus = open(&dir).await;
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    let handler = move |order: Payload<Number>| {
        let begins = Arc::clone(&begins);
        async move {
            match order.n {
                1 => return Err(BoxError::from("no connection")),
                2 => panic!("a bug"),
                3 => return Ok(()),
                _ => begins.notify_one(),
            }
            std::future::pending().await
        }
    };
    let once = stock(&bus).at_most_once().to(handler).await.unwrap();
    publish(&bus, 1..=3).await;
    bus.settle().await;
    let stats = once.stats();
    assert_eq!((stats.done, stats.discarded, stats.failed, stats.parked), (1, 2, 0, 0), "{stats}");
    publish(&bus, [4]).await;
    ends(begun.notified()).await;
    let clock = bus.clock().clone();
    let passes = async {
        turns().await;
        clock.advance(Duration::from_secs(1));
    };
    let (report, ()) = ends(async { tokio::join!(bus.shutdown(Duration::ZERO), passes) }).await;
    assert!(report.left.is_empty(), "nothing of it is attempted again: {report}");
    assert_eq!(once.stats().cut_short, 0, "{}", once.stats());
    let stats = once.stats();
    assert_eq!((stats.dead, stats.discarded), (3, 3), "{stats}");
    drop(bus);

    let bus = open_on(&clock, &dir).await;
    let seen = Recorder::<Number>::new();
    stock(&bus).at_most_once().to(seen.handler()).await.unwrap();
    publish(&bus, [5]).await;
    bus.settle().await;
    seen.assert_payloads(&numbers([5]));
    bus.finish().await;
}

#[tokio::test]
async fn an_event_whose_handler_fails_because_it_is_told_to_stop_is_not_attempted_again_either() {
    let dir = dir();
    let bus = open(&dir).await;
    let obeys = async |stopping: Stopping| {
        stopping.stopped().await;
        Err::<(), BoxError>("stopped".into())
    };
    let once = stock(&bus).at_most_once().to(obeys).await.unwrap();
    publish(&bus, [1]).await;
    turns().await;
    let clock = bus.clock().clone();
    let shutdown = async { tokio::join!(bus.shutdown(Duration::from_secs(5)), passes_five_seconds(&clock)) };
    ends(shutdown).await;
    assert_eq!(once.stats().discarded, 1, "{}", once.stats());
    drop(bus);

    let bus = open_on(&clock, &dir).await;
    let seen = Recorder::<Number>::new();
    stock(&bus).at_most_once().to(seen.handler()).await.unwrap();
    bus.settle().await;
    seen.assert_payloads(&[]);
    bus.finish().await;
}

async fn passes_five_seconds(clock: &ManualClock) {
    turns().await;
    clock.advance(Duration::from_secs(5));
}

#[tokio::test]
async fn a_letter_of_an_earlier_time_that_fails_again_is_a_letter_again() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = open_on(&clock, &dir).await;
    _ = with_letters(&bus, 1).await;
    bus.finish().await;

    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no connection")]);
    let once = stock(&bus).at_most_once().to(recorder.scripted(&script)).await.unwrap();
    for (attempts, left_over) in [(2, vec![0]), (3, vec![])] {
        bus.dead_letters().redrive(&id(0), Redrive::default()).await.unwrap();
        bus.settle().await;
        assert_eq!((recorder.count(), left(&bus).await), (attempts - 1, left_over));
    }
    assert_eq!((once.stats().discarded, once.stats().done), (0, 1), "{}", once.stats());
    bus.finish().await;
}

#[tokio::test]
async fn what_its_handler_returns_is_published_behind_it() {
    let dir = dir();
    let bus = open(&dir).await;
    let answer = |order: Payload<Number>| async move { number("orders.answered", order.n + 10) };
    let once = bus.subscribe("orders.created").durable("stock").start_at(StartAt::Earliest);
    once.at_most_once().to(answer).await.unwrap();
    let answers = Recorder::<Number>::new();
    bus.subscribe("orders.answered").durable("answers").to(answers.handler()).await.unwrap();
    publish(&bus, [1, 2]).await;
    bus.settle().await;
    answers.assert_payloads(&numbers([11, 12]));
    bus.finish().await;
}

#[tokio::test]
async fn what_is_stored_with_a_settlement_behind_the_handler_is_refused() {
    let dir = dir();
    let bus = open(&dir).await;
    let in_a_transaction = async |_: Payload<Number>, _: Tx| -> Option<Draft<Number>> { None };
    let refused = stock(&bus).at_most_once().to(in_a_transaction).await.unwrap_err();
    assert!(
        matches!(refused.problems(), [SubscribeProblem::AtMostOnce { with: "a transaction" }]),
        "{refused}"
    );
    let many = batch(async |_: Batch<Number>| {});
    let idempotent = stock(&bus).at_most_once().idempotent(Idempotency::by_id());
    let refused = idempotent.to(many).await.unwrap_err();
    assert_eq!(refused.problems().len(), 2, "{refused}");
    bus.finish().await;
}
