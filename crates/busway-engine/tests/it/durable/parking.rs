//! A failing event is parked in the store, and attempted again when it is due.

use std::time::Duration;

use busway_engine::Clock as _;
use busway_event::Timestamp;
use busway_middleware::Outcome;
use busway_reliability::Retry;
use busway_testkit::{ManualClock, Recorder, Script, Step, TestBus};

use super::{dir, numbers, open, open_on, order, publish, stock};
use crate::world::{Number, number};

async fn publish_of(bus: &TestBus, key: &str, numbers: impl IntoIterator<Item = u32>) {
    for n in numbers {
        bus.publish(order(key, n)).await.unwrap();
    }
}

/// Fails so often, for sure as far apart as it may: the jitter is drawn from nothing.
fn retry() -> Retry {
    Retry::default().first_delay(Duration::from_secs(10)).longest_delay(Duration::from_secs(10))
}

#[tokio::test]
async fn a_parked_event_survives_a_restart_with_its_due_time_and_its_attempts() {
    let dir = dir();
    let clock = ManualClock::new();
    let recorder = Recorder::<Number>::new();
    let bus = open_on(&clock, &dir).await;
    let due = busway_engine::Clock::utc(&clock).saturating_add(Duration::from_secs(30));
    let later = move |_: busway_middleware::Payload<Number>| std::future::ready(Outcome::RetryAt(due));
    stock(&bus).to(later).await.unwrap();
    bus.publish(order("A-1", 1)).await.unwrap();
    bus.publish(order("A-1", 2)).await.unwrap();
    bus.publish(order("B-7", 3)).await.unwrap();
    bus.settle().await;
    let stats = bus.stats();
    let stats = stats.durable("stock").unwrap();
    assert_eq!((stats.failed, stats.parked), (2, 3), "2 is parked behind 1, unattempted");
    bus.finish().await;

    clock.advance(Duration::from_secs(20));
    let bus = open_on(&clock, &dir).await;
    stock(&bus).to(recorder.handler()).await.unwrap();
    publish(&bus, [4]).await;
    bus.settle().await;
    recorder.assert_payloads(&numbers([4]));
    clock.advance(Duration::from_millis(9_999));
    bus.settle().await;
    assert_eq!(recorder.count(), 1, "a millisecond too early");
    clock.advance(Duration::from_millis(1));
    bus.settle().await;
    let mut again: Vec<_> =
        recorder.deliveries()[1..].iter().map(|it| (it.offset().unwrap(), it.attempt())).collect();
    again.sort_unstable();
    assert_eq!(again, [(0, 2), (1, 1), (2, 2)]);
    assert_eq!(bus.stats().durable("stock").unwrap().parked, 0);
    bus.finish().await;

    let bus = open_on(&clock, &dir).await;
    let nothing = Recorder::<Number>::new();
    stock(&bus).to(nothing.handler()).await.unwrap();
    bus.settle().await;
    assert_eq!(nothing.count(), 0);
    bus.finish().await;
}

#[tokio::test]
async fn what_a_clock_far_ahead_has_parked_waits_no_longer_than_it_was_to_behind_the_next_start() {
    let (dir, clock) = (dir(), ManualClock::new());
    let right = clock.utc();
    clock.set_utc(right.saturating_add(Duration::from_secs(365 * 86_400)));
    let bus = open_on(&clock, &dir).await;
    let fails = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("no connection")]);
    stock(&bus).retry(retry()).to(fails.scripted(&script)).await.unwrap();
    publish_of(&bus, "A-1", [1, 2]).await;
    bus.settle().await;
    assert_eq!(bus.stats().durable("stock").unwrap().parked, 2, "2 is parked behind 1");
    bus.finish().await;
    clock.set_utc(right);
    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).retry(retry()).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    clock.advance(Duration::from_secs(10));
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 2]));
    bus.finish().await;
}

#[tokio::test]
async fn a_failing_event_is_attempted_again_within_its_delay_and_its_followers_come_behind_it() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("not yet"), Step::Panic("oh"), Step::Fail("not yet")]);
    let subscription = stock(&bus).retry(retry()).to(recorder.scripted(&script)).await.unwrap();
    for n in 0..3 {
        bus.publish(order("A-1", n)).await.unwrap();
    }
    for failures in 1..=3 {
        bus.settle().await;
        assert_eq!((subscription.stats().failed, subscription.stats().parked), (failures, 3));
        bus.clock().advance(Duration::from_secs(10));
    }
    bus.settle().await;
    let attempts: Vec<_> =
        recorder.deliveries().iter().map(|it| (it.offset().unwrap(), it.attempt())).collect();
    assert_eq!(attempts, [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (2, 1)]);
    bus.assert_outcomes("stock", &["failed", "failed", "failed", "done", "done", "done"]);
    assert_eq!(subscription.stats().parked, 0);
    bus.finish().await;
}

#[tokio::test]
async fn a_time_that_is_over_is_now_and_skipping_settles() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let past =
        async |_: busway_middleware::Payload<Number>, delivery: busway_middleware::Delivery| match delivery
            .attempt()
        {
            1 => Outcome::RetryAt(Timestamp::from_nanos(5)),
            _ => Outcome::Skip,
        };
    let subscription = stock(&bus).to(past).await.unwrap();
    bus.subscribe("orders.#").durable("other").to(recorder.handler()).await.unwrap();
    bus.publish(number("orders.created", 1)).await.unwrap();
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!((stats.failed, stats.skipped, stats.parked), (1, 1, 0), "{stats}");
    recorder.assert_payloads(&numbers([1]));
    bus.finish().await;
}

#[tokio::test]
async fn a_parked_event_that_is_damaged_when_it_is_due_is_a_dead_letter_and_counted() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    let fails = Recorder::<Number>::new();
    stock(&bus).retry(retry()).to(fails.scripted(&Script::new([Step::Fail("not yet")]))).await.unwrap();
    publish_of(&bus, "A-1", [77_777_777]).await;
    publish_of(&bus, "B-7", 0..64).await;
    bus.settle().await;
    bus.finish().await;
    flip(&dir, b"77777777");

    let bus = open_on(&clock, &dir).await;
    let recorder = Recorder::<Number>::new();
    let subscription = stock(&bus).retry(retry()).to(recorder.handler()).await.unwrap();
    clock.advance(Duration::from_secs(10));
    bus.settle().await;
    assert_eq!((recorder.count(), subscription.stats().dead, subscription.stats().parked), (0, 1, 0));
    assert_eq!(bus.dead_letters().count("stock").await.unwrap(), 1);
    bus.finish().await;
}

/// Flips a bit wherever these bytes are in the store's file.
fn flip(dir: &tempfile::TempDir, found: &[u8]) {
    let file = dir.path().join("data.mdb");
    let mut bytes = std::fs::read(&file).unwrap();
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(found)).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| bytes[*at] ^= 1);
    std::fs::write(&file, bytes).unwrap();
}
