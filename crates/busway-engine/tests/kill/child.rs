//! The process that is killed: a bus with a durable subscription, and a publisher a key.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use busway_engine::{Bus, Retention, StartAt, Stream};
use busway_event::Event;
use busway_event::Raw;
use futures_util::future::join_all;

/// Publishes so many events of each key, waits until all are handled, shuts down.
pub(crate) fn work(dir: &Path, first: u64, events: u64, bytes: u64) {
    // The test harness has begun a line of its own.
    say("");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        say("STARTING");
        let bus = Bus::open(dir).stream(stream()).store_map_bytes(MAP_BYTES).store_reserve_bytes(0);
        let bus = bus.start().await.unwrap();
        let handler = |event: Event<Raw>| {
            say(&format!("HANDLED {}.", number_of(&event.payload().0)));
            std::future::ready(())
        };
        let reader = bus.subscribe("orders.#").durable("reader").start_at(StartAt::Earliest).concurrency(4);
        reader.to(handler).await.unwrap();
        join_all((0..KEYS).map(|key| publish(&bus, key, first, events, bytes))).await;
        bus.idle().await;
        say("CLOSING");
        let report = bus.shutdown(Duration::from_secs(10)).await;
        assert!(report.is_drained(), "{report}");
        say("CLOSED");
    });
}

/// One after the other: so the events of a key have an order.
async fn publish(bus: &Bus, key: u64, first: u64, events: u64, bytes: u64) {
    for turn in 0..events {
        let number = first + turn * KEYS + key;
        let size = usize::try_from(bytes / 2 + number * 37 % bytes.max(1)).unwrap();
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(8 + size, 7);
        let draft = Event::new("orders.created", Raw::from(payload)).key(format!("key-{key}"));
        let receipt = bus.publish(draft).await.unwrap();
        let place = receipt.position.unwrap();
        say(&format!("ACK {number} {} {}.", place.partition, place.offset));
    }
}

pub(crate) fn number_of(payload: &[u8]) -> u64 {
    u64::from_be_bytes(*payload.first_chunk().unwrap())
}

pub(crate) fn stream() -> Stream {
    Stream::new("orders").capture("orders.#").partitions(2).retention(Retention::forever().count(200))
}

fn say(line: &str) {
    // One call, so that a line is whole or missing.
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The number of an event's key is the remainder of its own.
pub(crate) const KEYS: u64 = 4;
const MAP_BYTES: usize = 128 << 10;
