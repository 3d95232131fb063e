//! Transactions: what a handler does in the store is stored with the settlement of its event, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use busway_engine::{
    Bus, BusBuilder, ReadTables as _, Refused, StoreTx, Table, Timeout, TransactionError, Tx, TxError,
    WriteTables, in_store,
};
use busway_event::{Draft, Event, Raw};
use busway_middleware::{BoxError, Delivery, Emit, Payload, Stage, State};
use busway_testkit::{ManualClock, Recorder, TestBus};

use super::{dir, numbers, order, publish, stock, with_orders};
use crate::world::{Number, ends, number, turns};

pub(super) const TOTALS: Table<String, u64> = Table::new("totals");

pub(super) fn with_totals(builder: BusBuilder) -> BusBuilder {
    with_orders(builder).table(&TOTALS)
}

pub(super) async fn open(dir: &tempfile::TempDir) -> TestBus {
    TestBus::open(dir.path(), with_totals).await
}

pub(super) fn total(bus: &Bus) -> u64 {
    bus.read(|tables| Ok(tables.get(&TOTALS, "all")?.unwrap_or(0))).unwrap()
}

pub(super) fn add(tx: &mut impl WriteTables, n: u32) -> Result<(), TxError> {
    let before = tx.get(&TOTALS, "all")?.unwrap_or(0);
    tx.put(&TOTALS, "all", &(before + u64::from(n)))
}

pub(super) async fn count(order: Payload<Number>, mut tx: Tx) -> Result<(), TxError> {
    add(&mut tx, order.n)
}

#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
pub(super) fn count_in_store(order: Payload<Number>, tx: &mut StoreTx<'_>) -> Result<(), TxError> {
    add(tx, order.n)
}

#[tokio::test]
async fn what_handlers_count_is_exact_over_restarts_with_many_at_once() {
    let dir = dir();
    let bus = open(&dir).await;
    let counting = stock(&bus).concurrency(8).to(count).await.unwrap();
    let in_store_too = bus.subscribe("orders.#").durable("in-store").concurrency(8);
    let in_store_too = in_store_too.to(in_store(count_in_store)).await.unwrap();
    publish(&bus, 1..=40).await;
    bus.settle().await;
    assert_eq!(total(&bus), 2 * (1..=40).sum::<u64>());
    assert_eq!((counting.stats().done, counting.stats().failed), (40, 0), "{}", counting.stats());
    assert_eq!((in_store_too.stats().done, in_store_too.stats().conflicts), (40, 0));
    bus.finish().await;

    let bus = open(&dir).await;
    let counting = stock(&bus).to(count).await.unwrap();
    bus.subscribe("orders.#").durable("in-store").to(in_store(count_in_store)).await.unwrap();
    publish(&bus, [1_000]).await;
    bus.settle().await;
    assert_eq!(total(&bus), 2 * ((1..=40).sum::<u64>() + 1_000));
    assert_eq!(counting.stats().done, 1, "only what is new");
    bus.finish().await;
}

#[tokio::test]
async fn a_handler_whose_reads_have_changed_runs_again_and_that_is_no_attempt() {
    let dir = dir();
    let bus = open(&dir).await;
    let (runs, other) = (Arc::new(AtomicU32::new(0)), Bus::clone(&bus));
    let its_runs = Arc::clone(&runs);
    let handler = move |order: Payload<Number>, delivery: Delivery, mut tx: Tx| {
        let (run, other) = (its_runs.fetch_add(1, Ordering::Relaxed), other.clone());
        async move {
            assert_eq!(delivery.attempt(), 1);
            add(&mut tx, order.n)?;
            if run == 0 {
                other.transaction(|tx| add(tx, 100)).await?;
            }
            Ok::<(), BoxError>(())
        }
    };
    let counting = stock(&bus).to(handler).await.unwrap();
    publish(&bus, [1]).await;
    bus.settle().await;
    assert_eq!((total(&bus), runs.load(Ordering::Relaxed)), (101, 2));
    let stats = counting.stats();
    assert_eq!((stats.done, stats.failed, stats.conflicts), (1, 0, 1), "{stats}");
    bus.finish().await;
}

/// Fails, panics, and is done.
async fn third_time(order: Payload<Number>, delivery: Delivery, mut tx: Tx) -> Result<(), BoxError> {
    add(&mut tx, order.n)?;
    match delivery.attempt() {
        1 => Err("no connection".into()),
        2 => panic!("a bug"),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_stores_nothing_and_its_next_attempt_does() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = TestBus::open_on(clock.clone(), dir.path(), with_totals).await;
    let in_the_store = |order: Payload<Number>, delivery: Delivery, tx: &mut StoreTx<'_>| {
        add(tx, order.n)?;
        match delivery.attempt() {
            1 => Err(BoxError::from("no connection")),
            2 => panic!("a bug"),
            _ => Ok(()),
        }
    };
    let first = stock(&bus).to(third_time).await.unwrap();
    let second = bus.subscribe("orders.#").durable("second").to(in_store(in_the_store)).await.unwrap();
    publish(&bus, [5]).await;
    for _ in 0..2 {
        bus.settle().await;
        assert_eq!(total(&bus), 0);
        clock.advance(Duration::from_secs(60));
    }
    bus.settle().await;
    assert_eq!(total(&bus), 10);
    for stats in [first.stats(), second.stats()] {
        assert_eq!((stats.done, stats.failed, stats.parked), (1, 2, 0), "{stats}");
    }
    bus.finish().await;
}

#[tokio::test]
async fn events_that_are_emitted_are_stored_with_the_settlement_or_not_at_all() {
    let dir = dir();
    let bus = open(&dir).await;
    let billed = Recorder::<Number>::new();
    bus.subscribe("orders.billed").durable("billed").to(billed.handler()).await.unwrap();
    let told = Recorder::<Number>::new();
    bus.subscribe("mail.sent").to(told.handler()).await.unwrap();
    // By the return value, by the transaction, in the store; and one beside them that no stream captures.
    let returns = |order: Payload<Number>| async move { number("orders.billed", order.n) };
    let emits = |order: Payload<Number>, mut tx: Tx| async move {
        tx.publish(number("orders.billed", order.n + 10))?;
        Ok::<_, TxError>(number("mail.sent", order.n))
    };
    let in_the_store = |order: Payload<Number>, tx: &mut StoreTx<'_>| {
        tx.publish(number("orders.billed", order.n + 20))?;
        Ok::<_, TxError>(
            Emit::new().event(number("orders.billed", order.n + 30)).event(number("mail.sent", 2)),
        )
    };
    bus.subscribe("orders.created").durable("returns").to(returns).await.unwrap();
    bus.subscribe("orders.created").durable("emits").to(emits).await.unwrap();
    bus.subscribe("orders.created").durable("in-store").to(in_store(in_the_store)).await.unwrap();
    publish(&bus, [1]).await;
    bus.settle().await;
    let mut seen: Vec<u32> = billed.payloads().iter().map(|number| number.n).collect();
    seen.sort_unstable();
    assert_eq!(seen, [1, 11, 21, 31]);
    let mut seen: Vec<u32> = told.payloads().iter().map(|number| number.n).collect();
    seen.sort_unstable();
    assert_eq!(seen, [1, 2]);

    // One that cannot be stored takes the others with it, and the attempt fails.
    let broken = |order: Payload<Number>, mut tx: Tx| async move {
        add(&mut tx, order.n)?;
        Ok::<_, TxError>((number("orders.billed", 77), Event::new("not a topic", Raw::from(""))))
    };
    let broken = bus.subscribe("orders.broken").durable("broken").to(broken).await.unwrap();
    bus.publish(number("orders.broken", 3)).await.unwrap();
    bus.settle().await;
    assert_eq!((broken.stats().failed, total(&bus), billed.count()), (1, 0, 4));
    bus.finish().await;
}

#[tokio::test]
async fn what_has_not_begun_in_the_store_at_its_deadline_begins_with_the_next_attempt_only() {
    let dir = dir();
    let clock = ManualClock::new();
    let bus = TestBus::open_on(clock.clone(), dir.path(), with_totals).await;
    let builder = stock(&bus).middleware(Stage::Timeout, "timeout", Timeout::new(Duration::from_secs(1)));
    let counting = builder.to(in_store(count_in_store)).await.unwrap();
    counting.pause();
    bus.publish(order("A-1", 7)).await.unwrap();
    // The writer is held up by another transaction.
    let (lets_go, held) = std::sync::mpsc::channel::<()>();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let holder = Bus::clone(&bus);
    let holding = tokio::spawn(async move {
        let waits = move |_: &mut StoreTx<'_>| {
            begun.send(()).unwrap();
            held.recv().map_err(|_| TxError::other("nobody is there"))
        };
        holder.transaction(waits).await
    });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
    counting.resume();
    turns().await;
    // Its time is over while it waits for the writer: it does not begin any more, and the attempt ends when that is certain.
    clock.advance(Duration::from_secs(1));
    turns().await;
    assert_eq!((counting.stats().failed, counting.stats().running), (0, 1), "{}", counting.stats());
    lets_go.send(()).unwrap();
    _ = ends(holding).await.unwrap();
    bus.settle().await;
    assert_eq!((total(&bus), counting.stats().failed, counting.stats().parked), (0, 1, 1));
    clock.advance(Duration::from_secs(60));
    bus.settle().await;
    assert_eq!((total(&bus), counting.stats().done, counting.stats().parked), (7, 1, 0), "it counts once");
    bus.finish().await;

    let bus = TestBus::open_on(clock.clone(), dir.path(), with_totals).await;
    let counting = stock(&bus).to(in_store(count_in_store)).await.unwrap();
    clock.advance(Duration::from_secs(60));
    bus.settle().await;
    assert_eq!((total(&bus), counting.stats().done, counting.stats().parked), (7, 0, 0));
    bus.finish().await;
}

#[tokio::test]
async fn a_transaction_that_was_given_up_can_do_nothing_more() {
    let dir = dir();
    let bus = open(&dir).await;
    let kept = Arc::new(parking_lot::Mutex::new(None));
    let keeps = Arc::clone(&kept);
    let handler = move |order: Payload<Number>, mut tx: Tx| {
        let keeps = Arc::clone(&keeps);
        async move {
            add(&mut tx, order.n)?;
            *keeps.lock() = Some(tx);
            Ok::<(), TxError>(())
        }
    };
    stock(&bus).to(handler).await.unwrap();
    publish(&bus, [3]).await;
    bus.settle().await;
    let mut tx = kept.lock().take().unwrap();
    assert!(matches!(add(&mut tx, 5), Err(TxError::Ended)));
    assert!(matches!(tx.publish(number("orders.created", 1)), Err(TxError::Ended)));
    assert_eq!(total(&bus), 3);
    bus.finish().await;
}

#[tokio::test]
async fn a_producer_writes_tables_and_publishes_in_one_commit_or_not_at_all() {
    let dir = dir();
    let bus = open(&dir).await;
    let (stored, told) = (Recorder::<Number>::new(), Recorder::<Number>::new());
    stock(&bus).to(stored.handler()).await.unwrap();
    bus.subscribe("mail.sent").to(told.handler()).await.unwrap();
    let work = |tx: &mut StoreTx<'_>| {
        add(tx, 4)?;
        tx.publish(number("orders.created", 1))?;
        tx.publish(number("mail.sent", 2))?;
        tx.publish(number("orders.created", 3))?;
        tx.get(&TOTALS, "all")
    };
    let transacted = bus.transaction(work).await.unwrap();
    assert_eq!(transacted.value, Some(4));
    let receipts: Vec<String> = transacted.receipts.iter().map(ToString::to_string).collect();
    assert_eq!(
        receipts,
        ["synced at orders/0/0", "in memory, offered to 1 subscription", "synced at orders/0/1"]
    );
    let gives_up = |tx: &mut StoreTx<'_>| {
        add(tx, 4)?;
        tx.publish(number("orders.created", 9))?;
        tx.publish(number("mail.sent", 9))?;
        Err::<(), TxError>(TxError::other("no such customer"))
    };
    let Err(TransactionError::Aborted(reason)) = bus.transaction(gives_up).await else { panic!() };
    assert_eq!(reason.to_string(), "no such customer");
    let panics = |tx: &mut StoreTx<'_>| -> Result<(), TxError> {
        add(tx, 4)?;
        panic!("a bug")
    };
    let Err(TransactionError::Panicked { message }) = bus.transaction(panics).await else { panic!() };
    assert_eq!(message, "a bug");
    let same_id = |n| {
        move |tx: &mut StoreTx<'_>| {
            add(tx, 4)?;
            let id = busway_event::EventId::foreign("shop", "A-1");
            tx.publish(number("orders.created", n).id(id))
        }
    };
    bus.transaction(same_id(5)).await.unwrap();
    let error = bus.transaction(same_id(6)).await.unwrap_err();
    assert!(matches!(error, TransactionError::Refused(Refused::Store(_))), "{error:?}");
    bus.settle().await;
    stored.assert_payloads(&numbers([1, 3, 5]));
    told.assert_payloads(&numbers([2]));
    assert_eq!(total(&bus), 8);
    bus.finish().await;
}

#[tokio::test]
async fn a_middleware_that_runs_its_handler_again_gives_it_a_new_transaction() {
    struct Twice;
    impl busway_middleware::Middleware for Twice {
        async fn handle(
            &self,
            delivery: &mut Delivery,
            mut next: busway_middleware::Next<'_>,
        ) -> busway_middleware::Outcome {
            _ = next.run(delivery).await;
            next.run(delivery).await
        }
    }
    let dir = dir();
    let bus = open(&dir).await;
    stock(&bus).middleware(Stage::User, "twice", Twice).to(count).await.unwrap();
    let in_the_store = bus.subscribe("orders.#").durable("in-store").middleware(Stage::User, "twice", Twice);
    let in_the_store = in_the_store.to(in_store(count_in_store)).await.unwrap();
    publish(&bus, [3]).await;
    bus.settle().await;
    assert_eq!(total(&bus), 6, "each counts once");
    assert_eq!((in_the_store.stats().done, in_the_store.stats().failed), (1, 0));
    bus.finish().await;
}

#[tokio::test]
async fn handlers_in_the_store_keep_the_order_of_their_keys() {
    let dir = dir();
    let bus = open(&dir).await;
    let seen: Arc<parking_lot::Mutex<Vec<u32>>> = Arc::default();
    let handler =
        |order: Payload<Number>, seen: State<Arc<parking_lot::Mutex<Vec<u32>>>>, tx: &mut StoreTx<'_>| {
            seen.lock().push(order.n);
            add(tx, 1)
        };
    let builder = |builder: BusBuilder| with_totals(builder).state(Arc::clone(&seen));
    bus.finish().await;
    let bus = TestBus::open(dir.path(), builder).await;
    stock(&bus).concurrency(4).to(in_store(handler)).await.unwrap();
    let drafts: Vec<Draft<Number>> = (0..60).map(|n| order(&format!("key-{}", n % 3), n)).collect();
    bus.publish_batch(drafts).await.unwrap();
    bus.settle().await;
    let seen = seen.lock().clone();
    for key in 0..3 {
        let of_key: Vec<u32> = seen.iter().copied().filter(|n| n % 3 == key).collect();
        assert!(of_key.is_sorted_by(|one, next| one < next), "{of_key:?}");
        assert_eq!(of_key.len(), 20);
    }
    assert_eq!(total(&bus), 60);
    bus.finish().await;
}

#[tokio::test]
async fn each_receipt_of_a_transaction_is_that_of_its_own_event() {
    let (dir, clock) = (dir(), ManualClock::new());
    let bus = TestBus::open_on(clock.clone(), dir.path(), with_totals).await;
    let id = |name: &str| busway_event::EventId::foreign("shop", name);
    let waits = number("orders.created", 1).id(id("A")).delay(Duration::from_secs(60));
    bus.publish(waits).await.unwrap();
    bus.publish(number("orders.created", 2).id(id("B"))).await.unwrap();
    let work = move |tx: &mut StoreTx<'_>| {
        // It waits already, whatever is said now; and one that is there already, though it is to wait.
        tx.publish(number("orders.created", 1).id(id("A")).delay(Duration::from_secs(60)))?;
        tx.publish(number("orders.created", 2).id(id("B")))?;
        tx.publish(number("orders.created", 3).delay(Duration::from_secs(9)))?;
        tx.publish(number("mail.sent", 4))?;
        tx.publish(number("orders.created", 5))
    };
    let receipts = bus.transaction(work).await.unwrap().receipts;
    let texts: Vec<String> = receipts.iter().map(ToString::to_string).collect();
    assert!(
        texts[0].starts_with("synced, scheduled for ") && texts[2].starts_with("synced, scheduled for "),
        "{texts:?}"
    );
    assert_eq!([&texts[1], &texts[4]], ["synced at orders/0/0", "synced at orders/0/1"], "{texts:?}");
    assert!(texts[3].starts_with("in memory"), "{texts:?}");
    bus.finish().await;
}
