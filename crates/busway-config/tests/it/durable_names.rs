//! Another name in the store for a route.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use busway_engine::Bus;
use busway_event::Event;
use busway_middleware::Payload;
use busway_testkit::Gate;
use futures_util::FutureExt as _;

use crate::world::{Number, Seen, config, publish};

/// A bus with a store whose handler `slow` waits at the gate.
async fn started(path: &Path, route: &str) -> (Bus, Seen, Gate) {
    let (seen, gate) = (Seen::default(), Gate::closed());
    let (noted, at) = (seen.clone(), gate.clone());
    let slow = move |number: Payload<Number>| {
        let (noted, at) = (noted.clone(), at.clone());
        async move {
            at.pass().await;
            noted.note("slow", number.0);
        }
    };
    let builder = seen.register(Bus::open(path).producer("shop"), "one").handler("slow", slow);
    (config(&text(route)).configure(builder).start().await.unwrap(), seen, gate)
}

fn text(route: &str) -> String {
    format!(
        "streams: {{ orders: {{ capture: [orders.#], partitions: 2 }} }}
routes: {{ stock: {{ filter: orders.#, {route} }} }}"
    )
}

async fn seen_so_many(seen: &Seen, count: usize) -> Vec<(&'static str, u64)> {
    let wait = async {
        while seen.len() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
    let mut seen = seen.take();
    seen.sort_unstable();
    seen
}

/// While the old one ends, and a handler of it runs, ten events come.
async fn into(before: &str, after: &str) -> (Bus, Vec<(&'static str, u64)>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (bus, seen, gate) = started(folder.path(), before).await;
    bus.publish(Event::new("orders.made", Number(0)).key("A-1")).await.unwrap();
    gate.reached(1).await;
    let wanted = config(&text(after));
    let mut applying = Box::pin(wanted.apply(&bus));
    assert!((&mut applying).now_or_never().is_none(), "a handler runs");
    for number in 1..=10 {
        publish(&bus, "orders.made", number).await;
    }
    gate.open();
    applying.await.unwrap();
    let seen = seen_so_many(&seen, 11).await;
    (bus, seen, folder)
}

fn all() -> Vec<(&'static str, u64)> {
    let mut all: Vec<_> = (1..=10).map(|number| ("one", number)).collect();
    all.push(("slow", 0));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_while_the_old_one_ends_is_handled_under_the_new_name() {
    let (bus, seen, _folder) =
        into("handler: slow, durable: stock", "handler: one, durable: other, start_at: latest").await;
    assert_eq!(seen, all());
    let standing = bus.cursor("stock").standing().await.unwrap();
    let settled: u64 = standing.partitions.iter().map(|partition| partition.next.offset).sum();
    assert_eq!(settled, 1, "the rest is not the old one's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_while_one_in_memory_ends_is_handled_by_the_durable_one() {
    let (_bus, seen, _folder) = into("handler: slow", "handler: one, durable: stock").await;
    assert_eq!(seen, all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_in_memory_was_not_offered_yet_is_handled_by_the_durable_one() {
    let folder = tempfile::tempdir().unwrap();
    let block = "handler: slow, limits: { capacity: 1, overflow: block }";
    let (bus, seen, gate) = started(folder.path(), block).await;
    for number in 0..=10 {
        bus.publish(Event::new("orders.made", Number(number)).key("A-1")).await.unwrap();
    }
    gate.reached(1).await;
    let wanted = config(&text("handler: one, durable: stock"));
    let mut applying = Box::pin(wanted.apply(&bus));
    assert!((&mut applying).now_or_never().is_none(), "a handler runs");
    gate.open();
    applying.await.unwrap();
    bus.idle().await;
    let seen: BTreeSet<u64> = seen.take().into_iter().map(|(_, number)| number).collect();
    assert_eq!(seen, (0..=10).collect(), "all of them were acknowledged");
}
