//! A delayed event is published once, when it is due.

use busway_engine::schedule::Unscheduled;
use busway_engine::{Clock as _, Durability, Stream};
use busway_event::{EventId, Timestamp};
use busway_middleware::Payload;
use busway_testkit::{ManualClock, Recorder, TestBus};
use tempfile::TempDir;

use super::{NONE, handled, later, order, seconds, taken};
use crate::durable::{dir, open_on, stock};
use crate::world::{Number, number, turns};

#[tokio::test]
async fn it_is_published_when_it_is_due_once_and_in_the_order_of_the_due_times() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, recorder) = handled(&clock, &dir).await;
    let receipt = bus.publish(order(3).delay(seconds(30))).await.unwrap();
    assert_eq!(
        (receipt.due, receipt.position, receipt.durability),
        (Some(later(&clock, 30)), None, Durability::Synced)
    );
    assert_eq!(receipt.offered, 1);
    bus.publish(order(1).at(later(&clock, 10))).await.unwrap();
    let batch = vec![order(2).delay(seconds(10)), order(0)];
    let receipts = bus.publish_batch(batch).await.unwrap();
    let said: Vec<String> = receipts.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["synced, scheduled for 2026-01-01T00:00:10Z", "synced at orders/0/0"]);
    // Being idle does not wait for what is not due.
    assert_eq!(taken(&bus, &recorder).await, [0]);
    assert_eq!(bus.stats().published, 1);
    clock.advance(seconds(9));
    assert_eq!(taken(&bus, &recorder).await, NONE);
    clock.advance(seconds(1));
    assert_eq!(taken(&bus, &recorder).await, [1, 2]);
    clock.advance(seconds(3_600));
    assert_eq!(taken(&bus, &recorder).await, [3]);
    clock.advance(seconds(3_600));
    assert_eq!(taken(&bus, &recorder).await, NONE);
    assert_eq!(bus.stats().published, 4);
    let found = bus.lookup(receipt.id).await.unwrap().unwrap();
    assert_eq!(found.offset, 3);
    bus.finish().await;
}

#[tokio::test]
async fn what_is_due_already_is_published_at_once() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, recorder) = handled(&clock, &dir).await;
    for draft in
        [order(1).delay(seconds(0)), order(2).at(clock.utc()), order(3).at(Timestamp::from_nanos(i64::MIN))]
    {
        let receipt = bus.publish(draft).await.unwrap();
        assert!(receipt.due.is_none() && receipt.position.is_some());
    }
    assert_eq!(taken(&bus, &recorder).await, [1, 2, 3]);
    bus.finish().await;
}

#[tokio::test]
async fn ephemeral_subscribers_and_emitted_events_are_no_exception() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = open_on(&clock, &dir).await;
    let emitted = async |order: Payload<Number>| number("orders.remind", order.n + 100).delay(seconds(60));
    bus.subscribe("orders.created").durable("remind").to(emitted).await.unwrap();
    let recorder = Recorder::<Number>::new();
    bus.subscribe("orders.remind").to(recorder.handler()).await.unwrap();
    bus.publish(order(1)).await.unwrap();
    assert_eq!(taken(&bus, &recorder).await, NONE);
    clock.advance(seconds(60));
    assert_eq!(taken(&bus, &recorder).await, [101]);
    bus.finish().await;
}

#[tokio::test]
async fn after_a_restart_before_it_is_due_it_waits_on_and_behind_it_is_published_at_once() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, _) = handled(&clock, &dir).await;
    for (n, delay) in [(1, 10), (2, 100)] {
        bus.publish(order(n).delay(seconds(delay))).await.unwrap();
    }
    bus.finish().await;
    let (bus, recorder) = handled(&clock, &dir).await;
    assert_eq!(taken(&bus, &recorder).await, NONE);
    clock.advance(seconds(10));
    assert_eq!(taken(&bus, &recorder).await, [1]);
    bus.finish().await;
    // Down while it comes due.
    clock.advance(seconds(1_000));
    let (bus, recorder) = handled(&clock, &dir).await;
    assert_eq!(taken(&bus, &recorder).await, [2]);
    bus.finish().await;
    let (bus, recorder) = handled(&clock, &dir).await;
    assert_eq!(taken(&bus, &recorder).await, NONE);
    bus.finish().await;
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_delays_nothing_and_one_that_is_set_forward_makes_due() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, recorder) = handled(&clock, &dir).await;
    let started = clock.utc();
    bus.publish(order(1).delay(seconds(30))).await.unwrap();
    bus.publish(order(2).at(later(&clock, 60))).await.unwrap();
    bus.settle().await;
    clock.set_utc(Timestamp::from_nanos(0));
    bus.publish(order(3).delay(seconds(90))).await.unwrap();
    clock.advance(seconds(30));
    assert_eq!(taken(&bus, &recorder).await, [1], "half a minute has passed, whatever the wall clock says");
    clock.advance(seconds(30));
    assert_eq!(taken(&bus, &recorder).await, [2]);
    clock.set_utc(started.saturating_add(seconds(80)));
    clock.advance(seconds(5));
    assert_eq!(taken(&bus, &recorder).await, NONE);
    // Ahead of the time to which it was set back from: noticed within a minute.
    bus.publish(order(4).at(started.saturating_add(seconds(86_400)))).await.unwrap();
    clock.set_utc(started.saturating_add(seconds(90_000)));
    clock.advance(seconds(60));
    assert_eq!(taken(&bus, &recorder).await, [3, 4]);
    bus.finish().await;
}

/// At the next start the event 1 comes a minute later, whatever was left of its delay.
async fn begins_anew(clock: &ManualClock, dir: &TempDir) {
    let (bus, recorder) = handled(clock, dir).await;
    assert_eq!(taken(&bus, &recorder).await, NONE);
    turns().await;
    clock.advance(seconds(60));
    assert_eq!(taken(&bus, &recorder).await, [1]);
    bus.finish().await;
}

#[tokio::test]
async fn a_delay_that_a_clock_far_ahead_has_begun_begins_anew_at_the_next_start() {
    let (dir, clock) = (dir(), ManualClock::new());
    let right = clock.utc();
    clock.set_utc(right.saturating_add(seconds(365 * 86_400)));
    let (bus, _) = handled(&clock, &dir).await;
    bus.publish(order(1).delay(seconds(60))).await.unwrap();
    bus.finish().await;
    clock.set_utc(right);
    begins_anew(&clock, &dir).await;
}

#[tokio::test]
async fn a_delay_that_was_begun_when_such_a_clock_had_been_set_right_begins_anew_too() {
    let (dir, clock) = (dir(), ManualClock::new());
    let right = clock.utc();
    clock.set_utc(right.saturating_add(seconds(365 * 86_400)));
    let (bus, _) = handled(&clock, &dir).await;
    clock.set_utc(right);
    let receipt = bus.publish(order(1).delay(seconds(60))).await.unwrap();
    assert!(
        receipt.due.unwrap() > right.saturating_add(seconds(86_400)),
        "the schedule goes on from where it stood"
    );
    bus.finish().await;
    begins_anew(&clock, &dir).await;
}

#[tokio::test]
async fn an_event_is_listed_and_taken_back_before_it_is_due_and_never_behind() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, recorder) = handled(&clock, &dir).await;
    let one = bus.publish(order(1).delay(seconds(10)).key("A-1")).await.unwrap();
    let two = bus.publish(order(2).delay(seconds(5))).await.unwrap();
    let listed = bus.scheduled(10).await.unwrap();
    let said: Vec<_> =
        listed.events.iter().map(|event| (event.id, event.due, event.topic.as_str())).collect();
    assert_eq!(
        said,
        [(two.id, two.due.unwrap(), "orders.created"), (one.id, one.due.unwrap(), "orders.created")]
    );
    assert_eq!(listed.events[1].key.as_ref().unwrap().as_str(), "A-1");
    assert_eq!(bus.scheduled(1).await.unwrap().events.len(), 1);
    assert_eq!(bus.scheduled_for(one.id).await.unwrap(), one.due);
    let due = one.due.unwrap();
    assert_eq!(bus.unschedule(one.id).await.unwrap(), Unscheduled::TakenBack { due });
    assert_eq!(bus.unschedule(one.id).await.unwrap(), Unscheduled::NotWaiting);
    clock.advance(seconds(20));
    assert_eq!(taken(&bus, &recorder).await, [2]);
    assert_eq!(bus.unschedule(two.id).await.unwrap(), Unscheduled::NotWaiting, "it was published");
    bus.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_taken_back_while_it_comes_due_is_taken_back_or_published() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, recorder) = handled(&clock, &dir).await;
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(bus.publish(order(n).delay(seconds(1 + u64::from(n)))).await.unwrap().id);
    }
    let moves = {
        let clock = clock.clone();
        tokio::spawn(async move {
            for _ in 0..201 {
                clock.advance(seconds(1));
                tokio::task::yield_now().await;
            }
        })
    };
    let mut kept = Vec::new();
    for (n, id) in (0..).zip(ids) {
        if bus.unschedule(id).await.unwrap() == Unscheduled::NotWaiting {
            kept.push(n);
        }
    }
    moves.await.unwrap();
    assert_eq!(taken(&bus, &recorder).await, kept);
    bus.finish().await;
}

#[tokio::test]
async fn an_id_that_is_repeated_waits_once_and_has_its_first_receipt() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, recorder) = handled(&clock, &dir).await;
    let given = |seconds: u64| order(7).id(EventId::foreign("shop", "7")).delay(super::seconds(seconds));
    let first = bus.publish(given(10)).await.unwrap();
    assert_eq!(bus.publish(given(500)).await.unwrap().due, first.due);
    assert_eq!(bus.publish(order(7).id(EventId::foreign("shop", "7"))).await.unwrap().due, first.due);
    let refused = bus.publish(order(8).id(EventId::foreign("shop", "7"))).await.unwrap_err();
    let reason = std::error::Error::source(refused.reason().unwrap()).unwrap().to_string();
    assert!(reason.contains("was given to another event, which is due at 2026-01-01T00:00:10Z"), "{reason}");
    clock.advance(seconds(10));
    assert_eq!(taken(&bus, &recorder).await, [7]);
    let again = bus.publish(given(10)).await.unwrap();
    assert_eq!((again.due, again.to_string()), (None, "synced at orders/0/0".to_owned()));
    clock.advance(seconds(600));
    assert_eq!(taken(&bus, &recorder).await, NONE);
    bus.finish().await;
}

#[tokio::test]
async fn nothing_is_published_by_a_bus_that_shuts_down_and_all_of_it_by_the_next() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, _) = handled(&clock, &dir).await;
    for n in 0..3 {
        bus.publish(order(n).delay(seconds(10))).await.unwrap();
    }
    let shutdown = bus.shutdown(seconds(5));
    clock.advance(seconds(10));
    assert!(shutdown.await.is_drained());
    assert!(bus.published().is_empty());
    drop(bus);
    let (bus, recorder) = handled(&clock, &dir).await;
    assert_eq!(taken(&bus, &recorder).await, [0, 1, 2]);
    bus.finish().await;
    assert_eq!(clock.sleepers(), 0, "no timer is left behind");
}

#[tokio::test]
async fn thousands_of_events_of_many_partitions_are_published_once_each() {
    let (dir, clock) = (dir(), ManualClock::new());
    let partitioned = |builder: busway_engine::BusBuilder| {
        builder.stream(Stream::new("orders").capture("orders.#").partitions(4))
    };
    let bus = TestBus::open_on(clock.clone(), dir.path(), partitioned).await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    let drafts =
        (0..3_000).map(|n| order(n).key(format!("key-{}", n % 7)).delay(seconds(10 + u64::from(n % 3))));
    bus.publish_batch(drafts.collect()).await.unwrap();
    clock.advance(seconds(60));
    let mut all = taken(&bus, &recorder).await;
    all.sort_unstable();
    assert_eq!(all, (0..3_000).collect::<Vec<_>>());
    bus.finish().await;
}
