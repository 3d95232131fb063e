//! A durable subscription goes on where it stood.

use busway_engine::{Lag, StartAt, Stream};
use busway_testkit::{Gate, ManualClock, Recorder, Script, Step, TestBus};
use std::time::Duration;

use super::{dir, numbers, open, open_on, order, publish, stock};
use crate::world::{Number, ends, number, turns};

#[tokio::test]
async fn after_a_restart_only_what_was_not_settled_is_attempted_again() {
    let dir = dir();
    let recorder = Recorder::<Number>::new();
    let bus = open(&dir).await;
    publish(&bus, 0..5).await;
    let gate = Gate::closed();
    let script = Script::new([Step::Done, Step::Done, Step::Wait(gate.clone())]);
    stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    gate.reached(1).await;
    // Without a shutdown: the third is cut short.
    drop(bus);
    recorder.wait_for(3).await;
    _ = recorder.take();

    let bus = reopened(&dir).await;
    stock(&bus).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    let again = recorder.payloads();
    // What was decided a moment before the end may not have been stored: at least once.
    assert!(again.len() >= 3 && again == numbers(5 - u32::try_from(again.len()).unwrap()..5), "{again:?}");
    assert!(recorder.deliveries().iter().all(|delivery| delivery.attempt() == 1), "nothing is charged");
    bus.finish().await;
}

/// The bus before ends in the background: its directory is free when the store's writer has ended.
async fn reopened(dir: &tempfile::TempDir) -> TestBus {
    let opens = async {
        loop {
            let builder = super::with_orders(busway_engine::Bus::open(dir.path()));
            match builder.start().await {
                Ok(bus) => return bus.shutdown(Duration::from_secs(1)).await,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            turns().await;
        }
    };
    ends(opens).await;
    open(dir).await
}

#[tokio::test]
async fn events_that_finished_out_of_order_are_not_handled_again() {
    let dir = dir();
    let recorder = Recorder::<Number>::new();
    let bus = open(&dir).await;
    for n in 0..6 {
        bus.publish(order(&format!("key-{n}"), n)).await.unwrap();
    }
    let gate = Gate::closed();
    let script = Script::new([Step::Wait(gate.clone())]);
    let subscription = stock(&bus).concurrency(2).to(recorder.scripted(&script)).await.unwrap();
    recorder.wait_for(6).await;
    turns().await;
    assert_eq!(subscription.stats().done, 5, "0 is at the gate, the others are done");
    let report = bus.shutdown(Duration::ZERO);
    let clock = bus.clock().clone();
    let (report, ()) = tokio::join!(report, async {
        while !clock.advance_to_next() {
            turns().await;
        }
    });
    assert!(!report.is_drained() && report.left[0].events == 1, "{report}");
    drop(bus);
    _ = recorder.take();

    let bus = open(&dir).await;
    stock(&bus).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&numbers([0]));
    bus.finish().await;
}

#[tokio::test]
async fn a_new_subscription_begins_where_it_is_told_and_a_known_one_where_it_stands() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = open_on(&clock, &dir).await;
    for n in 0..6 {
        publish(&bus, [n]).await;
        clock.advance(Duration::from_secs(10));
    }
    let time = busway_engine::Clock::utc(&clock);
    let third = busway_event::Timestamp::from_nanos(time.as_nanos() - 30_000_000_000);
    let starts = [
        ("stored", StartAt::Stored, 6),
        ("latest", StartAt::Latest, 6),
        ("earliest", StartAt::Earliest, 0),
        ("offset", StartAt::Offset(4), 4),
        ("beyond", StartAt::Offset(99), 6),
        ("time", StartAt::Time(third), 3),
    ];
    let mut recorders = Vec::new();
    for (name, start_at, first) in starts {
        let recorder = Recorder::<Number>::new();
        bus.subscribe("orders.#").durable(name).start_at(start_at).to(recorder.handler()).await.unwrap();
        recorders.push((name, recorder, first));
    }
    publish(&bus, [6]).await;
    bus.settle().await;
    for (_, recorder, first) in &recorders {
        recorder.assert_payloads(&numbers(*first..7));
    }
    bus.finish().await;

    let bus = open_on(&clock, &dir).await;
    for (name, recorder, _) in &recorders {
        _ = recorder.take();
        let builder = bus.subscribe("orders.#").durable(*name).start_at(StartAt::Earliest);
        builder.to(recorder.handler()).await.unwrap();
    }
    publish(&bus, [7]).await;
    bus.settle().await;
    recorders.iter().for_each(|(_, recorder, _)| recorder.assert_payloads(&numbers([7])));
    bus.finish().await;
}

#[tokio::test]
async fn what_the_filter_leaves_out_counts_as_settled() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let builder = bus.subscribe("orders.paid").durable("paid");
    let subscription = builder.to(recorder.handler()).await.unwrap();
    publish(&bus, 0..20).await;
    bus.publish(number("orders.paid", 20)).await.unwrap();
    publish(&bus, 21..30).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([20]));
    assert_eq!((subscription.lag().events, subscription.lag().age), (0, None));
    bus.finish().await;
}

#[tokio::test]
async fn the_lag_is_what_is_not_settled_and_the_age_of_the_oldest() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = open_on(&clock, &dir).await;
    let gate = Gate::closed();
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Done, Step::Wait(gate.clone())]);
    let subscription = stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, 0..2).await;
    clock.advance(Duration::from_secs(40));
    publish(&bus, 2..4).await;
    gate.reached(1).await;
    let Lag { events, age, .. } = subscription.lag();
    assert_eq!((events, age), (3, Some(Duration::from_secs(40))));
    subscription.pause();
    gate.open();
    bus.settle().await;
    assert_eq!(subscription.lag().events, 2);
    assert_eq!(recorder.count(), 2, "paused: nothing more is started");
    publish(&bus, [4]).await;
    subscription.resume();
    bus.settle().await;
    recorder.assert_payloads(&numbers(0..5));
    assert_eq!(subscription.lag().events, 0);
    bus.finish().await;
}

#[tokio::test]
async fn a_subscription_that_stops_goes_on_in_the_same_process_where_it_stood() {
    let dir = dir();
    let bus = TestBus::open(dir.path(), |builder| {
        builder.stream(Stream::new("orders").capture("orders.#").partitions(3))
    })
    .await;
    let recorder = Recorder::<Number>::new();
    for n in 0..30 {
        bus.publish(order(&format!("key-{n}"), n)).await.unwrap();
    }
    let gate = Gate::closed();
    let script = Script::new([Step::Done, Step::Done, Step::Wait(gate.clone())]);
    let subscription = stock(&bus).to(recorder.scripted(&script)).await.unwrap();
    gate.reached(1).await;
    let stopping = tokio::spawn(subscription.stop());
    turns().await;
    gate.open();
    let stats = ends(stopping).await.unwrap();
    assert_eq!((stats.done, stats.running, recorder.count()), (3, 0, 3), "{stats}");
    let again = stock(&bus).concurrency(8).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    assert_eq!(again.stats().done, 27);
    let mut all: Vec<u32> = recorder.payloads().iter().map(|number| number.n).collect();
    all.sort_unstable();
    assert_eq!(all, (0..30).collect::<Vec<_>>(), "each once");
    bus.finish().await;
}
