//! Batches of an idempotent subscription.

use std::sync::Arc;

use busway_middleware::{Batch, batch};

use super::super::batches::{Calls, noted};
use super::super::{dir, open, stock};
use super::{once, publish, steps};
use crate::world::Number;

#[tokio::test]
async fn of_a_batch_each_key_is_handled_once_and_duplicates_in_it_wait_for_the_first() {
    let (dir, calls) = (dir(), Calls::default());
    let handler = || {
        let notes = Arc::clone(&calls);
        batch(move |orders: Batch<Number>| {
            noted(&notes, &orders);
            std::future::ready(())
        })
    };
    let bus = open(&dir).await;
    publish(&bus, [("A", 1), ("B", 2), ("A", 3), ("C", 4), ("B", 5)]).await;
    let subscription = stock(&bus).idempotent(once()).to(handler()).await.unwrap();
    bus.settle().await;
    assert_eq!(*calls.lock(), [vec![1, 2, 4]]);
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.skipped, stats.parked), (3, 2, 0), "{stats}");
    assert_eq!((steps(&subscription).busy, steps(&subscription).store_hits), (2, 2));
    bus.finish().await;

    let bus = open(&dir).await;
    publish(&bus, [("C", 6), ("D", 7)]).await;
    stock(&bus).idempotent(once()).to(handler()).await.unwrap();
    bus.settle().await;
    assert_eq!(*calls.lock(), [vec![1, 2, 4], vec![7]], "C is done in the store");
    bus.finish().await;
}
