//! With another bus as the broker: its cursor, groups and dead letters are real.

use std::time::Duration;

use busway_engine::transport::LocalTransport;
use busway_engine::{Bus, Selection, StartAt, Stream};
use busway_event::{Event, Raw};
use busway_middleware::{Outcome, Payload};
use busway_reliability::{Idempotency, Retry};
use busway_testkit::Recorder;
use tempfile::TempDir;

use super::{memory, until};
use crate::world::ends;

async fn broker(folder: &TempDir) -> Bus {
    let stream = Stream::new("orders").capture("orders.#");
    Bus::open(folder.path()).stream(stream).producer("shop").start().await.unwrap()
}

async fn publish(bus: &Bus, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let draft = Event::new("orders.made", Raw::from(number.to_string())).key(format!("k{}", number % 5));
        bus.publish(draft).await.unwrap();
    }
}

fn raw(numbers: std::ops::Range<u32>) -> Vec<Raw> {
    numbers.map(|number| Raw::from(number.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_goes_on_where_it_stood_in_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let there = broker(&folder).await;
    let transport = LocalTransport::new(&there);
    let (first, second) = (Recorder::<Raw>::new(), Recorder::<Raw>::new());
    publish(&there, 0..20).await;
    let here = memory().await;
    let stock = here.subscribe("orders.#").on(&transport, "orders", "stock").start_at(StartAt::Earliest);
    let stock = stock.to(first.handler()).await.unwrap();
    first.wait_for(20).await;
    assert_eq!(ends(stock.stop()).await.subscription.done, 20);
    publish(&there, 20..30).await;
    let here = memory().await;
    let stock = here.subscribe("orders.#").on(&transport, "orders", "stock");
    let _stock = stock.to(second.handler()).await.unwrap();
    second.wait_for(10).await;
    // Events of different keys come as they like.
    assert_eq!((sorted(&first), sorted(&second)), (raw(0..20), raw(20..30)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_the_events_and_each_is_handled_once_and_in_order_of_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let there = broker(&folder).await;
    let transport = LocalTransport::new(&there);
    let seen = Recorder::<Raw>::new();
    let buses = [memory().await, memory().await, memory().await];
    for (number, bus) in buses.iter().enumerate() {
        let stock = bus.subscribe("orders.#").concurrency(4).on(&transport, "orders", "stock");
        stock.member(format!("m{number}")).to(seen.handler()).await.unwrap();
    }
    publish(&there, 0..300).await;
    seen.wait_for(300).await;
    let all = seen.payloads();
    for key in 0..5 {
        let of_key: Vec<u32> = all.iter().map(number).filter(|number| number % 5 == key).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
    assert_eq!(sorted(&seen), raw(0..300));
}

fn sorted(seen: &Recorder<Raw>) -> Vec<Raw> {
    let mut all = seen.payloads();
    all.sort_by_key(number);
    all
}

fn number(payload: &Raw) -> u32 {
    std::str::from_utf8(&payload.0).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_is_with_the_dead_letters_of_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let there = broker(&folder).await;
    let transport = LocalTransport::new(&there);
    let here = memory().await;
    let fails = async |_: Payload<Raw>| Outcome::failed("no stock");
    let stock = here.subscribe("orders.#").retry(Retry::never()).on(&transport, "orders", "stock");
    let _stock = stock.to(fails).await.unwrap();
    publish(&there, 0..1).await;
    let letters = there.dead_letters();
    let kept = async {
        loop {
            // Counted when it is decided, and there when it is stored.
            if let [letter] = &*letters.list(&Selection::all()).await.unwrap().letters {
                return letter.reason.clone();
            }
        }
    };
    assert!(ends(kept).await.contains("no stock"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotent_handler_skips_what_was_published_twice() {
    let folder = tempfile::tempdir().unwrap();
    let there = broker(&folder).await;
    let transport = LocalTransport::new(&there);
    let (here, seen) = (memory().await, Recorder::<Raw>::new());
    let once = Idempotency::by_metadata(["order"]);
    let stock = here.subscribe("orders.#").idempotent(once).on(&transport, "orders", "stock");
    let stock = stock.to(seen.handler()).await.unwrap();
    for _ in 0..3 {
        let draft = Event::new("orders.made", Raw::from("7")).meta("order", "7");
        there.publish(draft).await.unwrap();
    }
    until(|| there.stats().durable("stock").is_some_and(|stock| stock.done == 3)).await;
    // The broker hears of an event before it is counted here.
    until(|| stock.stats().subscription.skipped == 2).await;
    assert_eq!(seen.count(), 1);
    assert!(ends(here.shutdown(Duration::from_secs(10))).await.is_drained());
}
