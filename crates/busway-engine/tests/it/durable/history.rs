//! Reading streams back, and what handlers would do with what is read.

use busway_engine::{
    Bus, BusBuilder, HistoryError, PastEvent, ReadTables as _, StartAt, StoreTx, Stream, Table, Tx, TxError,
    in_store,
};
use busway_event::Timestamp;
use busway_middleware::{BoxError, Delivery, Payload, blocking};
use busway_testkit::{ManualClock, Recorder, TestBus};
use std::time::Duration;

use super::dir;
use crate::world::{Number, number};

const TOTALS: Table<String, u64> = Table::new("totals");

fn two_partitions(builder: BusBuilder) -> BusBuilder {
    builder.stream(Stream::new("orders").capture("orders.#").partitions(2)).table(&TOTALS)
}

fn read(events: &[PastEvent]) -> Vec<u32> {
    events.iter().map(|past| past.event.typed::<Number>().unwrap().payload().n).collect()
}

fn sorted(mut numbers: Vec<u32>) -> Vec<u32> {
    numbers.sort_unstable();
    numbers
}

/// Orders 0 to 599 of six customers, one a second; every third is a cancellation.
async fn filled(clock: &ManualClock, dir: &tempfile::TempDir) -> TestBus {
    let bus = TestBus::open_on(clock.clone(), dir.path(), two_partitions).await;
    for n in 0..600 {
        let topic = if n % 3 == 0 { "orders.cancelled" } else { "orders.created" };
        bus.publish(number(topic, n).key(format!("customer-{}", n % 6))).await.unwrap();
        clock.advance(Duration::from_secs(1));
    }
    bus
}

#[tokio::test]
async fn streams_are_read_back_by_filter_key_offset_and_time() {
    let (dir, clock) = (dir(), ManualClock::new());
    let begun = busway_engine::Clock::utc(&clock);
    let bus = filled(&clock, &dir).await;
    let all = bus.history("orders.#").take(usize::MAX).await.unwrap();
    assert_eq!(sorted(read(&all)), (0..600).collect::<Vec<_>>());
    for partition in 0..2 {
        let offsets: Vec<u64> = all
            .iter()
            .filter(|past| past.position.partition == partition)
            .map(|past| past.position.offset)
            .collect();
        assert!(offsets.len() > 100 && offsets.is_sorted());
    }
    let cancelled = bus.history("orders.cancelled").take(usize::MAX).await.unwrap();
    assert_eq!(sorted(read(&cancelled)), (0..600).step_by(3).collect::<Vec<_>>());
    let of_one = bus.history("orders.#").key("customer-4").take(usize::MAX).await.unwrap();
    assert_eq!(read(&of_one), (4..600).step_by(6).collect::<Vec<_>>(), "in order");
    assert_eq!(read(&bus.history("orders.#").key("customer-4").take(3).await.unwrap()), [4, 10, 16]);
    let later = bus.history("orders.#").from(StartAt::Offset(all[0].position.offset + 7));
    assert_eq!(later.take(usize::MAX).await.unwrap().len(), 600 - 14);
    let at = |seconds| begun.saturating_add(Duration::from_secs(seconds));
    let between = bus.history("orders.#").from(StartAt::Time(at(100))).until(at(130));
    assert_eq!(sorted(read(&between.take(usize::MAX).await.unwrap())), (100..130).collect::<Vec<_>>());
    assert!(bus.history("orders.#").from(StartAt::Latest).take(9).await.unwrap().is_empty());
    bus.finish().await;
}

#[tokio::test]
async fn a_history_ends_where_the_log_ended_when_it_began() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = filled(&clock, &dir).await;
    let mut history = bus.history("orders.#");
    let mut seen = history.page().await.unwrap().unwrap().len();
    bus.publish(number("orders.created", 1_000)).await.unwrap();
    while let Some(page) = history.page().await.unwrap() {
        seen += page.len();
    }
    assert_eq!(seen, 600);
    assert!(history.page().await.unwrap().is_none());
    bus.finish().await;
}

#[tokio::test]
async fn what_cannot_be_read_back_is_said() {
    let memory = Bus::memory().start().await.unwrap();
    let error = memory.history("orders.#").page().await.unwrap_err();
    assert!(matches!(error, HistoryError::NoStore));
    let dir = dir();
    let bus = TestBus::open(dir.path(), two_partitions).await;
    let refused = bus.history("mail.#").page().await.unwrap_err();
    assert_eq!(refused.to_string(), "no stream captures topics of mail.#: declare one with .stream(…)");
    assert!(matches!(bus.history("orders.#.x").page().await, Err(HistoryError::Filter(_))));
    assert!(matches!(bus.history("orders.#").key("").page().await, Err(HistoryError::Key(_))));
    let needs = async |_: Payload<Number>, _: busway_middleware::State<u128>| {};
    let error = bus.history("orders.#").shadow(needs, |_, _| {}).await.unwrap_err();
    assert!(error.to_string().contains("State<u128>, which nobody provided"), "{error}");
    let left = Bus::clone(&bus);
    bus.finish().await;
    assert!(matches!(left.history("orders.#").page().await, Err(HistoryError::Closed)));
}

fn bill(tx: &mut impl busway_engine::WriteTables, n: u32, by: u32) -> Result<(), TxError> {
    tx.put(&TOTALS, "last", &u64::from(n * by))
}

#[tokio::test]
async fn a_shadow_stores_and_publishes_nothing_and_says_what_it_would_have_done() {
    let dir = dir();
    let bus = TestBus::open(dir.path(), two_partitions).await;
    let told = Recorder::<Number>::new();
    bus.subscribe("mail.sent").to(told.handler()).await.unwrap();
    for n in 0..4 {
        bus.publish(number("orders.created", n).key("A")).await.unwrap();
    }
    let recorded = |order: Payload<Number>, delivery: Delivery, mut tx: Tx| async move {
        assert!(delivery.is_replay() && delivery.position().is_some());
        bill(&mut tx, order.n, 2)?;
        match order.n {
            3 => Err(BoxError::from("no such customer")),
            n => Ok(number("mail.sent", n)),
        }
    };
    let in_the_store = |order: Payload<Number>, tx: &mut StoreTx<'_>| {
        bill(tx, order.n, 2)?;
        match order.n {
            3 => Err(BoxError::from("no such customer")),
            n => Ok(number("mail.sent", n)),
        }
    };
    let mut shadows = Vec::new();
    let seen =
        bus.history("orders.#").shadow(recorded, |past, shadow| shadows.push((past.position.offset, shadow)));
    assert_eq!(seen.await.unwrap(), 4);
    let (offset, second) = &shadows[1];
    assert_eq!((*offset, second.outcome, &second.error), (1, "done", &None));
    assert_eq!(
        (second.emits[0].topic.as_str(), second.emits[0].payload.as_slice()),
        ("mail.sent", &b"{\"n\":1}"[..])
    );
    assert_eq!((second.writes[0].table.as_str(), second.writes[0].key.as_slice()), ("totals", &b"last"[..]));
    assert_eq!(second.writes[0].value.as_deref(), Some(&b"2"[..]));
    let (_, last) = &shadows[3];
    assert_eq!(
        (last.outcome, last.error.as_deref(), last.writes.len()),
        ("failed", Some("no such customer"), 0)
    );

    let alike = bus.history("orders.#").compare(recorded, in_store(in_the_store)).await.unwrap();
    assert_eq!((alike.events, alike.alike), (4, 4), "{:?}", alike.differences);
    let other = |order: Payload<Number>, tx: &mut StoreTx<'_>| bill(tx, order.n, 3);
    let differs = bus.history("orders.#").compare(in_store(other), in_store(in_the_store)).await.unwrap();
    assert_eq!(differs.to_string(), "4 events, 0 alike, 4 not");
    assert_eq!(differs.differences[1].one.writes[0].value.as_deref(), Some(&b"3"[..]));
    let panics = blocking(|order: Payload<Number>| assert!(order.n < 3, "a bug"));
    let never = async |order: Payload<Number>| assert!(order.n < 3, "a bug");
    let comparison = bus.history("orders.#").compare(panics, never).await.unwrap();
    assert_eq!((comparison.events, comparison.alike), (4, 3));
    bus.settle().await;
    assert_eq!(told.count(), 0);
    assert_eq!(bus.read(|tables| tables.get(&TOTALS, "last")).unwrap(), None);
    assert_eq!(
        bus.history("orders.#").until(Timestamp::from_nanos(i64::MAX)).take(9).await.unwrap().len(),
        4
    );
    bus.finish().await;
}
