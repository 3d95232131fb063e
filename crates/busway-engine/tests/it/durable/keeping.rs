//! Backup, verification, export and import of a bus that goes on.

use std::io::Cursor;
use std::sync::mpsc;
use std::time::Duration;

use busway_engine::{
    Audit, AuditKey, BackupError, Bus, Clock as _, Export, Import, ImportCause, Retention, StartAt,
    StoreError, Stream,
};
use busway_testkit::{ManualClock, Recorder, TestBus};

use crate::world::{Number, turns};

use super::{dir, numbers, open, publish, stock, with_orders};

#[tokio::test]
async fn a_backup_of_a_running_bus_opens_as_the_bus_it_was() {
    let (here, there) = (dir(), dir());
    let bus = open(&here).await;
    publish(&bus, 0..50).await;
    let backup = bus.backup(there.path().join("copy")).await.unwrap();
    publish(&bus, 50..60).await;
    let error = bus.backup(&backup.path).await.unwrap_err();
    assert!(matches!(&error, StoreError::Failed(BackupError::NotEmpty { .. })), "{error}");
    let verified = bus.verify().await.unwrap();
    assert!(verified.is_sound() && verified.events == 60, "{verified:?}");
    let copy = open(&backup.path).await;
    let seen = Recorder::<Number>::new();
    stock(&copy).to(seen.handler()).await.unwrap();
    copy.idle().await;
    assert_eq!(seen.payloads(), numbers(0..50));
    copy.finish().await;
    bus.finish().await;
}

#[tokio::test]
async fn what_is_exported_is_imported_into_another_bus_and_handled_there_once() {
    let (here, there) = (dir(), dir());
    let bus = open(&here).await;
    publish(&bus, 0..600).await;
    let (exported, lines) = bus.export(Export::stream("orders"), Vec::new()).await.unwrap();
    assert_eq!((exported.events, exported.ends), (600, vec![(0, 600)]));
    bus.finish().await;

    let other = open(&there).await;
    let seen = Recorder::<Number>::new();
    stock(&other).to(seen.handler()).await.unwrap();
    for stored in [600, 0] {
        let imported = other.import(Import::stream("orders"), Cursor::new(lines.clone())).await.unwrap();
        assert_eq!((imported.stored, imported.repeated), (stored, 600 - stored));
    }
    other.idle().await;
    assert_eq!(seen.payloads(), numbers(0..600));
    let error = other.import(Import::stream("orders"), Cursor::new("{}\n")).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Failed(error) if matches!(error.source, ImportCause::Line(_))),
        "{error}"
    );
    other.finish().await;
}

#[tokio::test]
async fn heads_of_an_audit_stream_are_given_out_and_verified_against() {
    let dir = dir();
    let (sender, heads) = mpsc::channel();
    let audit = Audit::forever().key(AuditKey::new([7; 32])).heads(10, Duration::from_secs(60));
    let build = |builder: busway_engine::BusBuilder| {
        builder
            .stream(Stream::new("orders").capture("orders.#").audit(audit))
            .on_audit_head(move |head| sender.send(head.clone()).unwrap())
    };
    let bus = TestBus::open(dir.path(), build).await;
    publish(&bus, 0..25).await;
    let heads: Vec<_> = heads.try_iter().collect();
    assert_eq!(heads.iter().map(|head| head.offset).collect::<Vec<_>>(), [0, 10, 20]);
    assert_eq!(bus.audit_heads("orders").await.unwrap().unwrap(), heads[2..]);
    let verified = bus.verify_against(heads).await.unwrap();
    assert!(verified.is_sound() && verified.audits[0].heads == 3, "{verified:?}");
    bus.finish().await;
}

#[tokio::test]
async fn a_stream_that_nobody_publishes_to_any_more_has_its_head_all_the_same() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (sender, heads) = mpsc::channel();
    let audit = Audit::forever().key(AuditKey::new([7; 32])).heads(1_000, Duration::from_secs(30));
    let build = |builder: busway_engine::BusBuilder| {
        builder
            .stream(Stream::new("orders").capture("orders.#").audit(audit))
            .on_audit_head(move |head| sender.send(head.clone()).unwrap())
    };
    let bus = TestBus::open_on(clock.clone(), dir.path(), build).await;
    publish(&bus, 0..3).await;
    assert_eq!(heads.try_iter().map(|head| head.offset).collect::<Vec<_>>(), [0], "of the first");
    turns().await;
    clock.advance(Duration::from_secs(61));
    let last = tokio::task::spawn_blocking(move || heads.recv().unwrap()).await.unwrap();
    assert_eq!(last.offset, 2);
    bus.finish().await;
}

#[tokio::test]
async fn heads_go_on_behind_a_wall_clock_that_was_ahead_for_a_while() {
    let (dir, clock) = (dir(), ManualClock::new());
    let (sender, heads) = mpsc::channel();
    let build = || {
        let audit = Audit::forever().key(AuditKey::new([7; 32])).heads(1_000, Duration::from_secs(30));
        let sender = sender.clone();
        move |builder: busway_engine::BusBuilder| {
            builder
                .stream(Stream::new("orders").capture("orders.#").audit(audit))
                .on_audit_head(move |head| sender.send(head.offset).unwrap())
        }
    };
    let (right, day) = (clock.utc(), Duration::from_secs(86_400));
    let bus = TestBus::open_on(clock.clone(), dir.path(), build()).await;
    clock.set_utc(right.saturating_add(day));
    publish(&bus, 0..3).await;
    clock.set_utc(right);
    publish(&bus, [3]).await;
    publish(&bus, [4]).await;
    clock.set_utc(right.saturating_add(Duration::from_secs(31)));
    publish(&bus, [5]).await;
    clock.set_utc(right.saturating_add(2 * day));
    publish(&bus, [6]).await;
    bus.finish().await;
    clock.set_utc(right.saturating_add(Duration::from_secs(40)));
    let bus = TestBus::open_on(clock.clone(), dir.path(), build()).await;
    publish(&bus, [7]).await;
    publish(&bus, [8]).await;
    assert_eq!(heads.try_iter().collect::<Vec<_>>(), [0, 3, 5, 6, 7]);
    bus.finish().await;
}

#[tokio::test]
async fn a_wall_clock_that_is_ahead_for_a_while_lets_nothing_go_before_its_time() {
    let (dir, clock) = (dir(), ManualClock::new());
    let hour = Duration::from_secs(3_600);
    let build = |builder: busway_engine::BusBuilder| {
        let retention = Retention::forever().age(hour);
        builder.stream(Stream::new("orders").capture("orders.#").retention(retention))
    };
    let bus = TestBus::open_on(clock.clone(), dir.path(), build).await;
    for n in 0..4 {
        publish(&bus, [n]).await;
        clock.advance(Duration::from_secs(600));
    }
    let right = clock.utc();
    clock.set_utc(right.saturating_add(hour * 24 * 365));
    publish(&bus, [4]).await;
    clock.advance(Duration::from_secs(60));
    bus.settle().await;
    publish(&bus, [5]).await;
    clock.set_utc(right.saturating_add(Duration::from_secs(120)));
    clock.advance(Duration::from_secs(60));
    bus.settle().await;
    publish(&bus, [6]).await;
    let kept = async |bus: &TestBus, name: &str| {
        let seen = Recorder::<Number>::new();
        let all = bus.subscribe("orders.#").durable(name).start_at(StartAt::Earliest);
        let subscription = all.to(seen.handler()).await.unwrap();
        bus.settle().await;
        subscription.stop().await;
        bus.cursor(name).remove().await.unwrap();
        seen.payloads()
    };
    assert_eq!(kept(&bus, "one").await, numbers(0..7));
    bus.finish().await;
    // What was stored while it was ahead says so still, and moves nothing.
    let bus = TestBus::open_on(clock.clone(), dir.path(), build).await;
    publish(&bus, [7]).await;
    assert_eq!(kept(&bus, "two").await, numbers(0..8));
    // And time passes.
    bus.finish().await;
    clock.advance(hour);
    let bus = TestBus::open_on(clock.clone(), dir.path(), build).await;
    publish(&bus, [8]).await;
    let left = kept(&bus, "three").await;
    assert!(left.len() < 7 && left.last() == numbers([8]).last(), "{left:?}");
    bus.finish().await;
}

#[tokio::test]
async fn a_bus_in_memory_or_closed_says_so() {
    let dir = dir();
    let bus = Bus::memory().start().await.unwrap();
    assert!(matches!(bus.verify().await.unwrap_err(), StoreError::NoStore));
    assert!(matches!(bus.backup(dir.path()).await.unwrap_err(), StoreError::NoStore));
    let bus = with_orders(Bus::open(dir.path())).start().await.unwrap();
    bus.shutdown(Duration::ZERO).await;
    assert!(matches!(bus.verify().await.unwrap_err(), StoreError::Closed));
    assert!(matches!(bus.audit_heads("orders").await.unwrap_err(), StoreError::Closed));
}
