//! Transactions of batches: one for all events of a call, stored as a whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Bus, Tx, TxError};
use busway_middleware::{Batch, BoxError, Delivery, Middleware, Next, Outcome, Stage, batch};
use busway_reliability::Order;

use super::batches::{Calls, noted, publish_all};
use super::transactions::{add, total};
use super::{dir, order, stock};
use crate::world::Number;

/// Counts a batch in one transaction.
async fn count_all(orders: Batch<Number>, mut tx: Tx) -> Result<(), TxError> {
    orders.iter().try_for_each(|order| add(&mut tx, order.payload().n))
}

#[tokio::test]
async fn a_transaction_of_a_batch_is_exact_over_conflicts_and_restarts() {
    let dir = dir();
    for round in 0..3_u32 {
        let bus = super::transactions::open(&dir).await;
        let counting = stock(&bus).concurrency(3).to(batch(count_all).max(16)).await.unwrap();
        publish_all(&bus, round * 200..(round + 1) * 200).await;
        bus.settle().await;
        let all = (round + 1) * 200;
        assert_eq!(total(&bus), u64::from(all * (all - 1) / 2));
        assert_eq!((counting.stats().done, counting.stats().failed), (200, 0), "{}", counting.stats());
        bus.finish().await;
    }
}

#[tokio::test]
async fn a_transaction_of_a_batch_is_stored_as_a_whole_or_again_without_those_that_failed() {
    let dir = dir();
    let bus = super::transactions::open(&dir).await;
    let calls = Calls::default();
    let notes = Arc::clone(&calls);
    // Writes for all of them, whatever it says of each.
    let handler = batch(move |orders: Batch<Number>, mut tx: Tx| {
        let outcome = |n: u32| match n {
            3 => Outcome::failed("not yet"),
            5 => Outcome::Skip,
            _ => Outcome::Done,
        };
        let outcomes: Vec<Outcome> = noted(&notes, &orders).into_iter().map(outcome).collect();
        let added = orders.iter().try_for_each(|order| add(&mut tx, order.payload().n));
        std::future::ready(added.map(|()| outcomes))
    });
    publish_all(&bus, 0..7).await;
    let counting = stock(&bus).to(handler).await.unwrap();
    bus.settle().await;
    assert_eq!(*calls.lock(), [vec![0, 1, 2, 3, 4, 5, 6], vec![0, 1, 2, 4, 6]]);
    assert_eq!(total(&bus), 1 + 2 + 4 + 6, "of the second call alone");
    let stats = counting.stats();
    assert_eq!([stats.done, stats.failed, stats.skipped, stats.parked], [5, 1, 1, 1], "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn an_event_that_was_in_two_calls_is_counted_once() {
    struct TwiceForThree;
    impl Middleware for TwiceForThree {
        async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
            if delivery.offset() == Some(3) {
                _ = next.run(delivery).await;
            }
            next.run(delivery).await
        }
    }
    let dir = dir();
    let bus = super::transactions::open(&dir).await;
    publish_all(&bus, 0..6).await;
    let counting = stock(&bus).middleware(Stage::User, "twice", TwiceForThree);
    let counting = counting.to(batch(count_all)).await.unwrap();
    bus.settle().await;
    assert_eq!((total(&bus), counting.stats().done, counting.stats().failed), (15, 6, 0));
    bus.finish().await;
}

#[tokio::test]
async fn a_batch_whose_reads_have_changed_runs_again_and_one_that_fails_or_panics_stores_nothing() {
    let dir = dir();
    let bus = super::transactions::open(&dir).await;
    let (calls, other) = (Calls::default(), Bus::clone(&bus));
    let notes = Arc::clone(&calls);
    let handler = batch(move |orders: Batch<Number>, mut tx: Tx| {
        noted(&notes, &orders);
        let (call, other) = (notes.lock().len(), other.clone());
        async move {
            orders.iter().try_for_each(|order| add(&mut tx, order.payload().n))?;
            match call {
                1 => _ = other.transaction(|tx| add(tx, 100)).await?,
                3 => return Err("no connection".into()),
                4 => panic!("a bug"),
                _ => {}
            }
            Ok::<(), BoxError>(())
        }
    });
    let counting = stock(&bus).order(Order::None).to(handler).await.unwrap();
    publish_all(&bus, [1, 2]).await;
    bus.settle().await;
    assert_eq!((total(&bus), calls.lock().len()), (103, 2));
    let stats = counting.stats();
    assert_eq!((stats.done, stats.failed, stats.conflicts), (2, 0, 1), "{stats}");
    publish_all(&bus, [3]).await;
    for failed in 1..=2 {
        bus.settle().await;
        assert_eq!((total(&bus), counting.stats().failed), (103, failed));
        bus.clock().advance(Duration::from_secs(60));
    }
    bus.settle().await;
    assert_eq!((total(&bus), counting.stats().done), (106, 3));
    bus.finish().await;
}

#[tokio::test]
async fn members_of_a_group_may_handle_batches_and_single_events() {
    let dir = dir();
    let bus = super::transactions::open(&dir).await;
    let members = || stock(&bus).group("workers");
    members().concurrency(2).to(batch(count_all).max(8)).await.unwrap();
    members().to(super::transactions::count).await.unwrap();
    let drafts = (0..300).map(|n| order(&format!("key-{}", n % 40), n)).collect();
    bus.publish_batch(drafts).await.unwrap();
    bus.settle().await;
    assert_eq!((total(&bus), bus.stats().durable("stock").unwrap().done), (300 * 299 / 2, 300));
    bus.finish().await;
}

#[tokio::test]
async fn a_batch_handler_with_a_transaction_casts_a_shadow_event_by_event() {
    let dir = dir();
    let bus = super::transactions::open(&dir).await;
    publish_all(&bus, 0..3).await;
    let mut writes = Vec::new();
    let shadows = bus.history("orders.#").shadow(batch(count_all), |_, shadow| {
        writes.push((shadow.outcome, shadow.writes.len()));
    });
    assert_eq!(shadows.await.unwrap(), 3);
    assert_eq!((writes, total(&bus)), (vec![("done", 1); 3], 0));
    bus.finish().await;
}
