//! What cannot wait is refused with the remedy, and comes back; what finds no room waits.

use busway_engine::{PublishError, Refusal, Refused, Retention, Stream};
use busway_event::{DELAY_MAX, Due, Event, Invalid, Raw};
use busway_testkit::{ManualClock, Recorder, TestBus};

use super::{NONE, handled, order, seconds, taken};
use crate::durable::{dir, open_on, stock, with_orders};
use crate::world::{Number, number};

fn refused<T>(result: Result<busway_engine::Receipt, PublishError<T>>) -> (T, Refused) {
    match result.unwrap_err() {
        PublishError::Refused { event, reason, .. } => (*event, reason),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn without_a_store_or_a_stream_the_draft_comes_back_with_the_remedy() {
    let bus = TestBus::start().await;
    let (draft, reason) = refused(bus.publish(order(1).delay(seconds(5))).await);
    assert_eq!(
        reason.to_string(),
        "a delayed event has to be stored, and this bus lives in memory: begin with Bus::open(path) and declare a \
         stream that captures \"orders.created\""
    );
    assert_eq!(draft.head().due(), Some(Due::After(seconds(5))));
    assert!(matches!(refused(bus.try_publish(draft)).1, Refused::DelayNeedsStore { .. }));
    let batch = bus.publish_batch(vec![order(1), order(2).delay(seconds(1))]).await.unwrap_err();
    assert!(matches!(batch.reason(), Some(Refused::InBatch { index: 1, .. })), "{batch:?}");
    assert!(bus.scheduled(1).await.is_err() && bus.published().is_empty());
    bus.finish().await;

    let dir = dir();
    let bus = open_on(&ManualClock::new(), &dir).await;
    let (draft, reason) = refused(bus.publish(number("flights.landed", 1).delay(seconds(5))).await);
    assert!(
        reason.to_string().contains("no stream captures \"flights.landed\": declare one with"),
        "{reason}"
    );
    assert_eq!((draft.payload().n, reason.is_transient()), (1, false));
    let (_, reason) = refused(bus.try_publish(order(1).delay(seconds(5))));
    assert!(matches!(reason, Refused::NeedsCommit { .. }), "{reason}");
    let (draft, reason) = refused(bus.publish(order(1).delay(DELAY_MAX * 2)).await);
    assert_eq!(reason, Refused::Invalid(Invalid::DelayTooLong { delay: DELAY_MAX * 2, limit: DELAY_MAX }));
    assert_eq!(draft.head().due(), Some(Due::After(DELAY_MAX * 2)));
    assert_eq!(bus.scheduled(1).await.unwrap().events, []);
    bus.finish().await;
}

#[tokio::test]
async fn more_than_may_wait_is_refused_for_the_moment() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus =
        TestBus::open_on(clock.clone(), dir.path(), |builder| with_orders(builder).scheduled_max(2, 1 << 20))
            .await;
    for n in 0..2 {
        bus.publish(order(n).delay(seconds(5))).await.unwrap();
    }
    let (draft, reason) = refused(bus.publish(order(2).delay(seconds(5))).await);
    let Refused::Store(Refusal::ScheduleFull { events: 2, events_max: 2, .. }) = reason else {
        panic!("{reason}")
    };
    assert!(reason.is_transient());
    clock.advance(seconds(5));
    bus.settle().await;
    bus.publish(draft).await.unwrap();
    bus.finish().await;
}

#[tokio::test]
async fn what_is_due_for_a_full_partition_waits_and_is_published_when_there_is_room() {
    let (dir, clock) = (dir(), ManualClock::new());
    let open = async |cap| {
        let full = Retention::forever().cap(cap, busway_engine::AtCap::RefusePublish);
        let stream = Stream::new("orders").capture("orders.#").retention(full);
        TestBus::open_on(clock.clone(), dir.path(), |builder| builder.stream(stream)).await
    };
    let large = || Event::new("orders.created", Raw::from(vec![b'x'; 60_000]));
    let bus = open(256 << 10).await;
    for _ in 0..4 {
        bus.publish(large()).await.unwrap();
    }
    bus.publish(large().delay(seconds(1))).await.unwrap();
    clock.advance(seconds(1));
    bus.settle().await;
    assert_eq!((bus.scheduled(9).await.unwrap().events.len(), bus.stats().published), (1, 4));
    bus.finish().await;
    let bus = open(1 << 20).await;
    bus.settle().await;
    assert_eq!((bus.scheduled(9).await.unwrap().events.len(), bus.stats().published), (0, 1));
    bus.finish().await;
}

#[tokio::test]
async fn with_less_than_the_reserve_it_waits_and_is_published_when_there_is_space() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (bus, _) = handled(&clock, &dir).await;
    bus.publish(order(1).delay(seconds(5))).await.unwrap();
    bus.finish().await;
    clock.advance(seconds(5));
    let full = |builder| with_orders(builder).store_reserve_bytes(u64::MAX);
    let bus = TestBus::open_on(clock.clone(), dir.path(), full).await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(taken(&bus, &recorder).await, NONE);
        clock.advance(seconds(1));
    }
    assert_eq!(bus.scheduled(9).await.unwrap().events.len(), 1);
    bus.finish().await;
    let (bus, recorder) = handled(&clock, &dir).await;
    assert_eq!(taken(&bus, &recorder).await, [1]);
    bus.finish().await;
}
