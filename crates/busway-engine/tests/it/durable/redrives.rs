//! Dead letters that are given again while their subscription begins, is sent elsewhere, or does not run.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use busway_engine::{DeadLetterError, DeadLetterId, DeadLetterOperation, Redrive, Selection, StartAt};
use busway_event::Priority;
use busway_middleware::{BoxError, Payload};
use busway_reliability::{Order, Retry};
use busway_testkit::{Gate, ManualClock, Recorder, Script, Step, TestBus};

use super::breakers::{CREATED, PAID, publish_on};
use super::{dir, numbers, open_on, order, publish, stock};
use crate::world::{Number, ends, number, turns};

/// A store with letters of so many orders, and nobody who runs.
pub(super) async fn with_letters(clock: &ManualClock, dir: &tempfile::TempDir, count: u32) {
    let bus = open_on(clock, dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Dead("no such order"));
    stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    let orders = (0..count).map(|n| number("orders.created", n)).collect();
    bus.publish_batch(orders).await.unwrap();
    bus.settle().await;
    bus.finish().await;
}

pub(super) fn id(offset: u64) -> DeadLetterId {
    format!("stock/orders/0/{offset}").parse().unwrap()
}

async fn redrive(bus: &TestBus, offset: u64) {
    bus.dead_letters().redrive(&id(offset), Redrive::default()).await.unwrap();
}

async fn is_over(future: &mut Pin<&mut impl Future>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

/// To the store and back: so often that whatever does not wait for something else is done.
const TRIPS: usize = 32;

const ROUNDS: u32 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_is_given_again_while_its_subscription_begins_is_delivered_once() {
    let (dir, clock) = (dir(), ManualClock::new());
    with_letters(&clock, &dir, ROUNDS).await;
    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    for round in 0..ROUNDS {
        let begins = async {
            // Each round a little later than the one before.
            for _ in 0..round % 8 {
                tokio::task::yield_now().await;
            }
            stock(&bus).to(recorder.handler()).await.unwrap()
        };
        let (subscription, ()) = tokio::join!(begins, redrive(&bus, round.into()));
        bus.settle().await;
        assert_eq!(recorder.take().len(), 1, "round {round}");
        assert_eq!(subscription.stats().parked, 0, "round {round}");
        subscription.stop().await;
    }
    assert_eq!(bus.dead_letters().count("stock").await.unwrap(), 0);
    bus.finish().await;
}

#[tokio::test]
async fn a_redrive_waits_for_a_seek_that_nobody_waits_for() {
    let (dir, clock) = (dir(), ManualClock::new());
    with_letters(&clock, &dir, 1).await;
    let bus = open_on(&clock, &dir).await;
    let gate = Gate::default();
    let (recorder, script) = (Recorder::<Number>::new(), Script::new([Step::Wait(gate.clone())]));
    stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    // The seek waits for a handler.
    publish(&bus, [1_000]).await;
    gate.reached(1).await;
    let cursor = bus.cursor("stock");
    {
        let mut seek = pin!(cursor.seek(StartAt::Latest));
        // It asks the store twice before it is handed over; these ask behind it.
        for _ in 0..TRIPS {
            assert!(!is_over(&mut seek).await, "a handler runs");
            cursor.standing().await.unwrap();
        }
    }
    {
        let mut redrive = pin!(redrive(&bus, 0));
        for _ in 0..TRIPS {
            assert!(
                !is_over(&mut redrive).await,
                "what the seek finds in the store would not be what is there"
            );
            // A commit: what is asked of the writer before it is done when this is.
            bus.dead_letters().discard(Selection::all().text("nothing")).await.unwrap();
        }
        gate.open();
        ends(redrive).await;
    }
    ends(bus.settle()).await;
    recorder.assert_payloads(&numbers([1_000, 0]));
    bus.finish().await;
}

#[tokio::test]
async fn a_letter_that_is_given_again_while_nobody_runs_is_of_the_lane_of_who_comes() {
    let (dir, clock) = (dir(), ManualClock::new());
    let by_key = |bus: &TestBus| stock(bus).order(Order::Key).concurrency(8);
    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    let dead = Script::new([Step::Dead("no such order")]);
    by_key(&bus).to(recorder.scripted(&dead)).await.unwrap();
    bus.publish(order("A-1", 0).priority(Priority::P0)).await.unwrap();
    bus.settle().await;
    bus.finish().await;
    let bus = open_on(&clock, &dir).await;
    redrive(&bus, 0).await;
    let _ = recorder.take();
    let gate = Gate::default();
    let script = Script::new([Step::Wait(gate.clone())]);
    by_key(&bus).to(recorder.scripted(&script)).await.unwrap();
    gate.reached(1).await;
    bus.publish(order("A-1", 1).priority(Priority::P3)).await.unwrap();
    turns().await;
    recorder.assert_payloads(&numbers([0]));
    gate.open();
    bus.settle().await;
    recorder.assert_payloads(&numbers([0, 1]));
    bus.finish().await;
}

/// Lets time go on until a redrive has come to its end.
async fn ended(
    bus: &TestBus,
    mut redrive: Pin<&mut impl Future<Output = Result<DeadLetterOperation, DeadLetterError>>>,
) -> DeadLetterOperation {
    ends(async {
        loop {
            tokio::select! {
                biased;
                operation = &mut redrive => break operation.unwrap(),
                () = bus.settle() => bus.clock().advance(Duration::from_millis(100)),
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_redrive_is_not_stopped_by_what_fails_of_another_one() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    let dead = Script::default().then(Step::Dead("no such order"));
    let before = stock(&bus).to(Recorder::<Number>::new().scripted(&dead)).await.unwrap();
    publish_on(&bus, PAID, 0..10).await;
    publish_on(&bus, CREATED, 10..20).await;
    bus.settle().await;
    before.stop().await;
    let handler = async |payload: Payload<Number>| match payload.n {
        10.. => Err::<(), BoxError>("still down".into()),
        _ => Ok(()),
    };
    let subscription = stock(&bus).retry(Retry::never()).to(handler).await.unwrap();
    let letters = bus.dead_letters();
    let paid = Selection::all().topics(PAID).unwrap();
    let mut good = pin!(letters.redrive(paid, Redrive::default().per_second(10).stop_after(3)));
    while subscription.stats().replayed == 0 {
        assert!(!is_over(&mut good).await, "there are nine more");
        turns().await;
    }
    for offset in 10..15 {
        redrive(&bus, offset).await;
    }
    bus.settle().await;
    assert_eq!(subscription.stats().dead, 5, "five of another redrive have failed alike");
    let operation = ended(&bus, good).await;
    assert_eq!((operation.letters, &operation.stopped), (10, &None), "{operation}");
    // Its own are heard of.
    let created = Selection::all().topics(CREATED).unwrap();
    let bad = pin!(letters.redrive(created, Redrive::default().per_second(10).stop_after(3)));
    let operation = ended(&bus, bad).await;
    assert!(operation.stopped.is_some() && operation.letters < 10, "{operation}");
    bus.finish().await;
}

#[tokio::test]
async fn a_redrive_waits_while_as_many_events_are_parked_as_may_be() {
    let (dir, clock) = (dir(), ManualClock::new());
    with_letters(&clock, &dir, 10).await;
    let bus = open_on(&clock, &dir).await;
    let gate = Gate::default();
    let (recorder, script) = (Recorder::<Number>::new(), Script::new([Step::Wait(gate.clone())]));
    stock(&bus).parked_max(4).to(recorder.scripted(&script)).await.unwrap();
    {
        let letters = bus.dead_letters();
        let mut redrive = pin!(letters.redrive(Selection::all(), Redrive::default().unlimited()));
        loop {
            assert!(!is_over(&mut redrive).await, "six have no room");
            let begun = bus.dead_letters().operations(None, 1).await.unwrap();
            if begun.iter().any(|operation| operation.letters == 4) {
                break;
            }
        }
        for _ in 0..5 {
            assert!(!is_over(&mut redrive).await, "six have no room still");
            clock.advance(Duration::from_secs(1));
            turns().await;
        }
        let begun = bus.dead_letters().operations(None, 1).await.unwrap();
        assert_eq!((begun[0].letters, begun[0].ended), (4, None), "{begun:?}");
        let one = bus.dead_letters().redrive(&id(9), Redrive::default()).await.unwrap_err();
        assert!(matches!(one, DeadLetterError::ParkedFull { .. }) && one.is_transient(), "{one}");
        gate.open();
        let operation = ends(async {
            loop {
                tokio::select! {
                    biased;
                    operation = &mut redrive => break operation.unwrap(),
                    () = bus.settle() => clock.advance(Duration::from_secs(1)),
                }
            }
        })
        .await;
        assert_eq!((operation.letters, operation.ended.is_some()), (10, true), "{operation}");
    }
    bus.settle().await;
    recorder.assert_payloads(&numbers(0..10));
    bus.finish().await;
}
