//! Durability by contract: what a publish waits for, and what its receipt says was reached.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use busway_engine::{AtCap, Bus, Durability, PublishError, Refusal, Refused, Retention, Stream};
use busway_event::{Event, EventId, Raw};
use busway_middleware::BoxError;
use busway_persistence::{Store, StoreOptions};
use busway_testkit::{ManualClock, Recorder, TestBus};
use tokio::task::JoinHandle;

use super::{dir, numbers, open, open_on, order, stock, with_orders};
use crate::world::{Number, ends, number};

const MEMORY: Durability = Durability::Memory;
const SYNCED: Durability = Durability::Synced;

/// Holds up the store's writer until it is let go: nothing is committed meanwhile.
async fn held_up(bus: &TestBus) -> (mpsc::Sender<()>, JoinHandle<()>) {
    let (lets_go, held) = mpsc::channel::<()>();
    let (begins, begun) = mpsc::channel();
    let bus = Bus::clone(bus);
    let held_up = tokio::spawn(async move {
        let transaction = bus.transaction(move |_| {
            _ = begins.send(());
            _ = held.recv();
            Ok::<(), BoxError>(())
        });
        // It takes longer than it may.
        drop(transaction.await);
    });
    ends(async {
        while begun.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    (lets_go, held_up)
}

/// How many events a process that starts now would find, had this one died.
fn found_behind_a_crash(of: &Path) -> u64 {
    let left = dir();
    for name in ["manifest", "data.mdb"] {
        std::fs::copy(of.join(name), left.path().join(name)).unwrap();
    }
    let options = StoreOptions::new().stream(Stream::new("orders").capture("orders.#")).reserve_bytes(0);
    let store = Store::open(left.path(), options).unwrap();
    store.bounds(0).unwrap().1
}

#[tokio::test]
async fn in_memory_an_event_is_accepted_before_it_is_stored_and_lost_by_a_crash_until_then() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    let (lets_go, held_up) = held_up(&bus).await;
    for n in 0..3 {
        let receipt = ends(bus.publish(order("A-1", n).durability(MEMORY))).await.unwrap();
        assert_eq!((receipt.durability, &receipt.position, receipt.offered), (MEMORY, &None, 1));
        assert_eq!(receipt.to_string(), "in memory, offered to 1 subscription");
    }
    let tried = bus.try_publish(order("A-1", 3).durability(MEMORY)).unwrap();
    assert_eq!(tried.durability, MEMORY);
    assert_eq!((recorder.count(), bus.stats().published), (0, 0));
    assert_eq!(found_behind_a_crash(dir.path()), 0, "a crash loses them, as their receipts say");
    drop(lets_go);
    ends(held_up).await.unwrap();
    // Behind them, as it was published.
    let synced = bus.publish(order("A-1", 4)).await.unwrap();
    assert_eq!(synced.to_string(), "synced at orders/0/4");
    assert_eq!(found_behind_a_crash(dir.path()), 5);
    bus.settle().await;
    recorder.assert_payloads(&numbers(0..5));
    assert_eq!((bus.stats().published, bus.stats().unstored), (5, 0));
    bus.finish().await;
}

#[tokio::test]
async fn a_shutdown_stores_what_was_accepted() {
    let dir = dir();
    let bus = open(&dir).await;
    for n in 0..500 {
        bus.publish(order("A-1", n).durability(MEMORY)).await.unwrap();
    }
    assert!(bus.finish().await.is_drained());
    assert_eq!(found_behind_a_crash(dir.path()), 500);
}

#[tokio::test]
async fn the_draft_says_it_before_the_stream_and_the_stream_before_the_bus() {
    let dir = dir();
    let streams = |builder: busway_engine::BusBuilder| {
        let stream = |name: &str| Stream::new(name).capture(&format!("{name}.#"));
        builder
            .durability(MEMORY)
            .stream(stream("ticks"))
            .stream(stream("orders").durability(SYNCED))
            .stream(stream("clicks").durability(Durability::Written))
    };
    let bus = TestBus::open(dir.path(), streams).await;
    let reached = async |draft| bus.publish(draft).await.unwrap().durability;
    assert_eq!(reached(number("ticks.a", 1)).await, MEMORY);
    assert_eq!(reached(number("ticks.a", 1).durability(SYNCED)).await, SYNCED);
    assert_eq!(reached(number("orders.a", 1)).await, SYNCED);
    assert_eq!(reached(number("orders.a", 1).durability(MEMORY)).await, MEMORY);
    assert_eq!(reached(number("clicks.a", 1)).await, SYNCED, "a store has nothing in between");
    assert_eq!(reached(number("ticks.a", 1).durability(Durability::Written)).await, SYNCED);
    let publisher = bus.publisher::<Number>("ticks.b").unwrap();
    assert_eq!(publisher.publish(Number { n: 1 }).await.unwrap().durability, MEMORY);
    let described = bus.describe();
    let streams: Vec<String> =
        described.streams.iter().map(|stream| format!("{}: {}", stream.name, stream.durability)).collect();
    assert_eq!(
        streams,
        [
            "ticks: durability = memory (bus)",
            "orders: durability = storage (stream)",
            "clicks: durability = a transport (stream)"
        ]
    );
    assert!(described.to_string().contains("\nstream orders: durability = storage (stream)\n"));
    bus.finish().await;
    let bus = TestBus::open(dir.path(), with_orders).await;
    assert_eq!(bus.describe().streams[0].durability.to_string(), "durability = storage (default)");
    bus.finish().await;
}

#[tokio::test]
async fn what_no_stream_captures_is_in_memory_or_refused() {
    let dir = dir();
    for bus in [open(&dir).await, TestBus::start().await] {
        assert_eq!(bus.publish(number("mails.a", 1).durability(MEMORY)).await.unwrap().durability, MEMORY);
        for durability in [Durability::Written, SYNCED] {
            let error = bus.publish(number("mails.a", 2).durability(durability)).await.unwrap_err();
            let PublishError::Refused { event, reason, .. } = error else { panic!("{error:?}") };
            assert_eq!((event.payload().n, event.head().durability()), (2, Some(durability)));
            assert!(matches!(reason, Refused::NotDurable { .. }), "{reason}");
        }
        let error = bus.try_publish(number("mails.a", 3).durability(SYNCED)).unwrap_err();
        assert_eq!(
            error.reason().unwrap().to_string(),
            "it is to be in storage, and no stream captures \"mails.a\": begin with Bus::open(path), declare one with .stream(Stream::new(…).capture(…)), or publish it without .durability(…)"
        );
        bus.finish().await;
    }
}

#[tokio::test]
async fn a_batch_survives_what_the_strongest_of_its_wishes_says() {
    let dir = dir();
    let bus = open(&dir).await;
    let memory = |n| order("A-1", n).durability(MEMORY);
    let receipts = bus.publish_batch(vec![memory(0), memory(1)]).await.unwrap();
    assert!(receipts.iter().all(|receipt| receipt.durability == MEMORY && receipt.position.is_none()));
    let receipts = bus.publish_batch(vec![memory(2), order("A-1", 3)]).await.unwrap();
    let texts: Vec<String> = receipts.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["synced at orders/0/2", "synced at orders/0/3"]);
    bus.finish().await;
}

#[tokio::test]
async fn an_id_is_stored_once_and_another_event_under_it_is_lost_and_counted() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    stock(&bus).to(recorder.handler()).await.unwrap();
    let id = EventId::foreign("shop", "7");
    let named = |n| order("A-1", n).id(id).durability(MEMORY);
    for draft in [named(1), named(1)] {
        assert_eq!(bus.publish(draft).await.unwrap().id, id);
    }
    bus.settle().await;
    assert_eq!(bus.stats().unstored, 0);
    // The first publish could not know its offset; one that waits is told it.
    assert_eq!(bus.publish(named(1).durability(SYNCED)).await.unwrap().to_string(), "synced at orders/0/0");
    assert_eq!(bus.publish(named(2)).await.unwrap().durability, MEMORY);
    bus.settle().await;
    assert_eq!(bus.stats().unstored, 1);
    // It was the event's own fault: the next one is accepted as before.
    assert_eq!(bus.publish(order("A-1", 3).durability(MEMORY)).await.unwrap().durability, MEMORY);
    bus.settle().await;
    recorder.assert_payloads(&numbers([1, 3]));
    bus.finish().await;
}

/// Orders are in memory, and there may be a mebibyte of them; nothing is asked of payments.
fn capped(builder: busway_engine::BusBuilder) -> busway_engine::BusBuilder {
    let retention = Retention::forever().bytes(100_000).cap(1 << 20, AtCap::RefusePublish);
    let orders = Stream::new("orders").capture("orders.#").retention(retention).durability(MEMORY);
    builder.stream(orders).stream(Stream::new("payments").capture("payments.#"))
}

fn large() -> busway_event::Draft<Raw> {
    Event::new("orders.created", Raw::from(vec![7; 60_000]))
}

#[tokio::test]
async fn without_room_what_was_accepted_is_counted_and_what_comes_then_is_refused_until_there_is_room() {
    let dir = dir();
    let bus = TestBus::open(dir.path(), capped).await;
    let reader = stock(&bus).to(async || {}).await.unwrap();
    reader.pause();
    let (mut accepted, mut error) = (0, None);
    while error.is_none() && accepted < 1_000 {
        match bus.publish(large()).await {
            Ok(_) => accepted += 1,
            Err(refused) => error = Some(refused),
        }
        // Each is decided before the next comes.
        bus.settle().await;
    }
    let error = error.unwrap();
    assert!(matches!(error.reason(), Some(Refused::Store(Refusal::Capped { .. }))), "{error:?}");
    assert_eq!((bus.stats().unstored, bus.stats().published), (1, accepted - 1));
    // Refused for as long as there is no room, and not lost, whatever is stored elsewhere.
    for n in 0..3 {
        assert!(bus.publish(large()).await.is_err());
        assert!(bus.try_publish(large()).is_err());
        bus.publish(number("payments.made", n)).await.unwrap();
    }
    assert_eq!(bus.stats().unstored, 1);
    // Now and then one is tried.
    bus.clock().advance(Duration::from_secs(1));
    assert_eq!(bus.try_publish(large()).unwrap().durability, MEMORY);
    assert!(bus.try_publish(large()).is_err());
    bus.settle().await;
    assert_eq!(bus.stats().unstored, 2);
    reader.resume();
    bus.settle().await;
    assert!(bus.try_publish(large()).is_err(), "nobody knows yet that there is room");
    bus.clock().advance(Duration::from_secs(1));
    for _ in 0..2 {
        assert_eq!(bus.try_publish(large()).unwrap().durability, MEMORY);
        bus.settle().await;
    }
    assert_eq!(bus.stats().unstored, 2);
    bus.finish().await;
}

#[tokio::test]
async fn behind_a_refusal_the_first_that_is_waited_for_opens_the_way_for_others() {
    let dir = dir();
    let bus = TestBus::open(dir.path(), capped).await;
    let reader = stock(&bus).to(async || {}).await.unwrap();
    reader.pause();
    while bus.stats().unstored == 0 {
        bus.publish(large()).await.unwrap();
        bus.settle().await;
    }
    reader.resume();
    bus.settle().await;
    let first = bus.publish(large()).await.unwrap();
    assert_eq!(first.durability, SYNCED, "waited for, because the one before found no room");
    assert_eq!(bus.publish(large()).await.unwrap().durability, MEMORY);
    bus.settle().await;
    assert_eq!(bus.stats().unstored, 1);
    bus.finish().await;
}

#[tokio::test]
async fn a_publish_step_may_ask_for_more_than_the_stream_does() {
    let dir = dir();
    let asks = |head: &mut busway_event::DraftHead| {
        if head.key() == Some("dear") {
            head.set_durability(SYNCED);
        }
        Ok(())
    };
    let in_memory = |builder: busway_engine::BusBuilder| {
        let builder =
            builder.publish_middleware(busway_middleware::publish::PublishStage::User, "asks", asks);
        builder.stream(Stream::new("orders").capture("orders.#").durability(MEMORY))
    };
    let bus = TestBus::open(dir.path(), in_memory).await;
    assert_eq!(bus.publish(order("cheap", 1)).await.unwrap().durability, MEMORY);
    assert_eq!(bus.publish(order("dear", 2)).await.unwrap().durability, SYNCED);
    let batch = bus.publish_batch(vec![order("cheap", 3), order("dear", 4)]).await.unwrap();
    assert!(batch.iter().all(|receipt| receipt.durability == SYNCED));
    bus.finish().await;
}

#[tokio::test]
async fn the_drafts_of_a_refused_batch_come_back_as_they_were_given() {
    let dir = dir();
    let bus = open(&dir).await;
    let given = || order("A-1", 1).delay(Duration::from_secs(60)).durability(MEMORY);
    let invalid = order("A-1", 2).ttl(Duration::ZERO);
    let captured_by_none = number("elsewhere", 3);
    for other in [invalid, captured_by_none] {
        let error = bus.publish_batch(vec![given(), other]).await.unwrap_err();
        let PublishError::Refused { event, .. } = error else { panic!("{error:?}") };
        assert_eq!(format!("{:?}", event[0]), format!("{:?}", given()));
    }
    bus.finish().await;
}

#[tokio::test]
async fn in_a_transaction_an_event_is_stored_with_it_whatever_it_asks_for() {
    let dir = dir();
    let bus = open(&dir).await;
    let work = |tx: &mut busway_engine::StoreTx<'_>| tx.publish(order("A-1", 1).durability(MEMORY)).map(drop);
    let transacted = bus.transaction(work).await.unwrap();
    assert_eq!(transacted.receipts[0].to_string(), "synced at orders/0/0");
    assert_eq!(found_behind_a_crash(dir.path()), 1);
    bus.finish().await;
}

#[tokio::test]
async fn a_delayed_event_may_be_scheduled_without_waiting_too() {
    let (dir, clock, recorder) = (dir(), ManualClock::new(), Recorder::<Number>::new());
    let bus = open_on(&clock, &dir).await;
    stock(&bus).to(recorder.handler()).await.unwrap();
    let delayed = order("A-1", 1).delay(Duration::from_secs(30)).durability(MEMORY);
    let receipt = bus.publish(delayed).await.unwrap();
    assert_eq!((receipt.durability, receipt.due.is_some()), (MEMORY, true));
    assert!(receipt.to_string().starts_with("in memory, to be scheduled for "), "{receipt}");
    bus.settle().await;
    assert_eq!(recorder.count(), 0);
    clock.advance(Duration::from_secs(30));
    ends(async {
        while recorder.count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    bus.finish().await;
}
