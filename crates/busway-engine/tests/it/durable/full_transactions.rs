//! Transactions of handlers where the disk is nearly full.

use busway_engine::{Refusal, Refused, StartAt, in_store};
use busway_testkit::TestBus;

use super::transactions::{count, count_in_store, open, total, with_totals};
use super::{dir, order, publish, stock};

#[tokio::test]
async fn a_transactional_handler_settles_on_a_disk_that_is_nearly_full() {
    let dir = dir();
    let bus = open(&dir).await;
    publish(&bus, 1..=4).await;
    bus.finish().await;

    let reserved = async |bytes| {
        TestBus::open(dir.path(), |builder| with_totals(builder).store_reserve_bytes(bytes)).await
    };
    let bus = reserved(u64::MAX).await;
    let refused = bus.publish(order("A", 5)).await.unwrap_err();
    let Some(&Refused::Store(Refusal::StorageFull { free, .. })) = refused.reason() else {
        panic!("{refused:?}")
    };
    bus.finish().await;

    let bus = reserved(free / 2 * 3).await;
    let counting = stock(&bus).to(count).await.unwrap();
    let in_store_too = bus.subscribe("orders.#").durable("in-store").start_at(StartAt::Earliest);
    let in_store_too = in_store_too.to(in_store(count_in_store)).await.unwrap();
    bus.settle().await;
    assert_eq!(total(&bus), 20);
    assert_eq!((counting.stats().done, in_store_too.stats().done), (4, 4));
    bus.publish(order("A", 5)).await.unwrap_err();
    bus.finish().await;
}
