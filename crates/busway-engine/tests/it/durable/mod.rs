//! Durable topics and subscriptions: what a bus with a store promises.

mod abandoned;
mod at_most_once;
mod batch_transactions;
mod batches;
pub(crate) mod breakers;
mod building;
mod conflicts;
mod cursors;
mod dead_letters;
mod drops;
mod fallbacks;
mod faults;
mod full_letters;
mod full_transactions;
mod groups;
mod hangs;
mod history;
mod idempotency;
mod keeping;
mod letters;
mod mistakes;
mod operations;
mod order;
mod parking;
mod priorities;
mod publishing;
mod redrives;
mod relay;
mod removed_letters;
mod restart;
mod retries;
mod settings;
mod shutdown;
mod storm;
mod time_to_live;
mod transactions;
mod unsynced;

use std::path::Path;

use busway_engine::{BusBuilder, DurableBuilder, StartAt, Stream};
use busway_event::Draft;
use busway_testkit::{ManualClock, TestBus};
use tempfile::TempDir;

use crate::world::{Number, number};

pub(crate) fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// With a stream of one partition.
pub(crate) fn with_orders(builder: BusBuilder) -> BusBuilder {
    builder.stream(Stream::new("orders").capture("orders.#"))
}

pub(crate) async fn open(dir: impl AsRef<Path>) -> TestBus {
    TestBus::open(dir.as_ref(), with_orders).await
}

/// The same on a clock that goes on.
pub(crate) async fn open_on(clock: &ManualClock, dir: impl AsRef<Path>) -> TestBus {
    TestBus::open_on(clock.clone(), dir.as_ref(), with_orders).await
}

/// A durable subscription to all orders, from the first one on.
pub(crate) fn stock(bus: &TestBus) -> DurableBuilder {
    bus.subscribe("orders.#").durable("stock").start_at(StartAt::Earliest)
}

/// An order of a customer.
pub(crate) fn order(key: &str, n: u32) -> Draft<Number> {
    number("orders.created", n).key(key)
}

/// Publishes orders without a key, one after the other.
pub(crate) async fn publish(bus: &TestBus, numbers: impl IntoIterator<Item = u32>) {
    for n in numbers {
        bus.publish(number("orders.created", n)).await.unwrap();
    }
}

pub(crate) fn numbers(numbers: impl IntoIterator<Item = u32>) -> Vec<Number> {
    numbers.into_iter().map(|n| Number { n }).collect()
}
