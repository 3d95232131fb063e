//! Order: within a lane always, between lanes never in each other's way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use busway_event::Event;
use busway_middleware::{Delivery, Outcome};
use busway_reliability::Order;
use busway_testkit::{Recorder, Script, Step};
use parking_lot::Mutex;

use super::{dir, numbers, open, order, publish, stock};
use crate::world::{Number, ends, number, turns};

#[tokio::test]
async fn at_a_concurrency_of_one_events_are_handled_exactly_in_order() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    for n in 0..600 {
        // Keys and no keys among each other.
        let draft = number("orders.created", n);
        bus.publish(if n % 3 == 0 { draft } else { draft.key(format!("key-{}", n % 4)) }).await.unwrap();
    }
    stock(&bus).to(recorder.handler()).await.unwrap();
    bus.settle().await;
    recorder.assert_payloads(&numbers(0..600));
    bus.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_keeps_its_order_with_eight_handlers_and_failures() {
    let dir = dir();
    let bus = open(&dir).await;
    let done = Arc::new(Mutex::new(BTreeMap::<String, Vec<u32>>::new()));
    let running = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let (notes, busy) = (Arc::clone(&done), Arc::clone(&running));
    let handler = move |event: Event<Number>, delivery: Delivery| {
        let (notes, busy) = (Arc::clone(&notes), Arc::clone(&busy));
        async move {
            let key = event.key().unwrap().as_str().to_owned();
            *busy.lock().entry(key.clone()).or_default() += 1;
            assert_eq!(busy.lock()[&key], 1, "two of {key} at once");
            tokio::task::yield_now().await;
            *busy.lock().get_mut(&key).unwrap() -= 1;
            // Every seventh fails twice.
            if event.payload().n % 7 == 3 && delivery.attempt() < 3 {
                return Outcome::failed("not yet");
            }
            notes.lock().entry(key).or_default().push(event.payload().n);
            Outcome::Done
        }
    };
    stock(&bus).concurrency(8).to(handler).await.unwrap();
    let drafts: Vec<_> = (0..400).map(|n| order(&format!("key-{}", n % 10), n)).collect();
    for drafts in drafts.chunks(50) {
        bus.publish_batch(drafts.to_vec()).await.unwrap();
    }
    let settled = async {
        while bus.stats().durable("stock").unwrap().done < 400 {
            bus.settle().await;
            bus.clock().advance(Duration::from_secs(60));
        }
    };
    ends(settled).await;
    for (key, numbers) in done.lock().iter() {
        assert!(numbers.is_sorted() && numbers.len() == 40, "{key}: {numbers:?}");
    }
    assert_eq!(done.lock().len(), 10);
    let stats = bus.stats();
    let stats = stats.durable("stock").unwrap();
    assert_eq!((stats.done, stats.failed, stats.parked), (400, 2 * (3..400).step_by(7).count() as u64, 0));
}

#[tokio::test]
async fn a_failing_key_does_not_delay_its_neighbours() {
    let dir = dir();
    let bus = open(&dir).await;
    let attempted = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&attempted);
    let handler = move |event: Event<Number>| {
        let notes = Arc::clone(&notes);
        async move {
            notes.lock().push(event.payload().n);
            match event.key().is_some_and(|key| key.as_str() == "bad") {
                true => Outcome::failed("always"),
                false => Outcome::Done,
            }
        }
    };
    let subscription = stock(&bus).to(handler).await.unwrap();
    for n in 0..1_000 {
        let key = if n % 2 == 0 { "bad".to_owned() } else { format!("good-{}", n % 7) };
        bus.publish(order(&key, n)).await.unwrap();
    }
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!(
        (stats.done, stats.failed, stats.parked),
        (500, 1, 500),
        "one was attempted, the others wait behind it"
    );
    let odd: Vec<u32> = (0..1_000).filter(|n| n % 2 == 1).collect();
    assert_eq!(attempted.lock()[1..], odd[..]);
    bus.finish().await;
}

#[tokio::test]
async fn without_an_order_a_failing_event_holds_nobody_of_its_key() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Fail("not yet")]);
    let subscription = stock(&bus).order(Order::None).to(recorder.scripted(&script)).await.unwrap();
    for n in 0..4 {
        bus.publish(order("A-1", n)).await.unwrap();
    }
    bus.settle().await;
    assert_eq!((subscription.stats().done, subscription.stats().parked), (3, 1));
    bus.clock().advance(Duration::from_secs(1));
    bus.settle().await;
    recorder.assert_payloads(&numbers([0, 1, 2, 3, 0]));
    bus.finish().await;
}

#[tokio::test]
async fn many_keys_run_at_once_up_to_the_concurrency() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Hang);
    let subscription = stock(&bus).concurrency(4).to(recorder.scripted(&script)).await.unwrap();
    for n in 0..10 {
        bus.publish(order(&format!("key-{n}"), n)).await.unwrap();
    }
    recorder.wait_for(4).await;
    turns().await;
    assert_eq!((subscription.stats().running, recorder.count()), (4, 4));
    drop(bus);
}

#[tokio::test]
async fn blocking_handlers_run_on_threads_of_their_own() {
    let dir = dir();
    let bus = open(&dir).await;
    let names = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&names);
    let handler = busway_middleware::blocking(move |_order: busway_middleware::Payload<Number>| {
        notes.lock().push(std::thread::current().name().unwrap_or_default().to_owned());
    });
    stock(&bus).to(handler).await.unwrap();
    publish(&bus, 0..3).await;
    bus.settle().await;
    assert_eq!(*names.lock(), ["busway-stock"; 3]);
    let report = bus.finish().await;
    assert!(report.is_drained() && report.stuck.is_empty(), "{report}");
}
