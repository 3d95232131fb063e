//! A publisher's handle with one inline handler at its topic: the way without detours keeps the promises of all others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::Duration;

use busway_engine::{Bus, Publisher, Refused, Subscription};
use busway_event::{Event, EventType, Raw};
use busway_middleware::{Outcome, Payload, Stage, inline};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::world::{AtGate, Number, account};

/// More than it takes for a thread to know the way.
const MANY: u32 = 100;

async fn bus() -> Bus {
    Bus::memory().producer("test").start().await.unwrap()
}

/// A bus whose topic `a` has an inline handler, with the sum of what that was given.
async fn summing() -> (Bus, Subscription, Publisher<Number>, Arc<AtomicU64>) {
    let (bus, sum) = (bus().await, Arc::new(AtomicU64::new(0)));
    let adds = Arc::clone(&sum);
    let handler =
        inline(move |number: Payload<Number>| _ = adds.fetch_add(number.n.into(), Ordering::SeqCst));
    let subscription = bus.subscribe("a").name("in").to(handler).await.unwrap();
    let publisher = bus.publisher("a").unwrap();
    (bus, subscription, publisher, sum)
}

/// Publishes the numbers below `numbers`, and says to how many subscriptions they were offered in all.
fn publish(publisher: &Publisher<Number>, numbers: u32) -> usize {
    (0..numbers).map(|n| publisher.try_publish(Number { n }).unwrap().offered).sum()
}

#[tokio::test]
async fn events_of_many_threads_are_all_in_the_account() {
    let (bus, subscription, publisher, sum) = summing().await;
    let publisher = Arc::new(publisher);
    for _round in 0..3 {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let publisher = Arc::clone(&publisher);
                thread::spawn(move || publish(&publisher, 5_000))
            })
            .collect();
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 5_000));
    }
    assert_eq!(sum.load(Ordering::SeqCst), 12 * (5_000 * 4_999 / 2));
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.running), (60_000, 0));
    assert_eq!(account(&stats.tally), [60_000, 60_000, 0, 0, 0]);
    assert_eq!((bus.stats().published, bus.stats().unrouted), (60_000, 0));
}

#[tokio::test]
async fn ids_are_all_different_and_rise() {
    let (_bus, _subscription, publisher, _sum) = summing().await;
    let ids: Vec<_> = (0..MANY).map(|n| publisher.try_publish(Number { n }).unwrap().id).collect();
    assert!(ids.is_sorted_by(|one, next| one < next));
}

#[tokio::test]
async fn a_pause_drops_what_comes_and_a_resumption_handles_it_again() {
    let (_bus, subscription, publisher, _sum) = summing().await;
    publish(&publisher, MANY);
    subscription.pause();
    publish(&publisher, MANY);
    subscription.resume();
    publish(&publisher, MANY);
    assert_eq!(account(&subscription.stats().tally), [300, 200, 100, 0, 0]);
}

#[tokio::test]
async fn who_subscribes_or_leaves_meanwhile_is_found_and_no_longer_found() {
    let (bus, first, publisher, sum) = summing().await;
    assert_eq!(publish(&publisher, MANY), 100);
    let second = bus.subscribe("#").to(inline(|_: Payload<Number>| {})).await.unwrap();
    assert_eq!(publish(&publisher, MANY), 200);
    first.stop().await;
    assert_eq!(publish(&publisher, MANY), 100);
    assert_eq!(sum.load(Ordering::SeqCst), 2 * 4_950);
    assert_eq!(second.stats().done, 200);
    second.stop().await;
    assert_eq!(publish(&publisher, MANY), 0);
    assert_eq!(bus.stats().unrouted, 100);
}

#[tokio::test]
async fn a_middleware_that_is_added_meanwhile_is_asked() {
    let (bus, subscription, publisher, _sum) = summing().await;
    publish(&publisher, MANY);
    let gate = busway_testkit::Gate::closed();
    gate.open();
    bus.middleware(Stage::User).add("gate", AtGate(gate.clone())).unwrap();
    for n in 0..MANY {
        publisher.publish(Number { n }).await.unwrap();
    }
    gate.reached(100).await;
    assert_eq!(subscription.stats().done, 200);
}

#[tokio::test]
async fn what_the_handler_says_is_counted_and_a_panic_is_an_outcome() {
    let bus = bus().await;
    let handler = inline(|number: Payload<Number>| match number.n % 4 {
        0 => Outcome::Done,
        1 => Outcome::Skip,
        2 => Outcome::dead("never"),
        _ => panic!("a bug of number {}", number.n),
    });
    let subscription = bus.subscribe("a").to(handler).await.unwrap();
    publish(&bus.publisher("a").unwrap(), MANY);
    let stats = subscription.stats();
    assert_eq!([stats.done, stats.skipped, stats.dead, stats.failed], [25; 4]);
    assert!(stats.last_failure.unwrap().error.contains("a bug of number 99"));
    assert_eq!(account(&stats.tally), [100, 100, 0, 0, 0]);
}

#[tokio::test]
async fn what_a_handler_keeps_stays_as_it_was() {
    let (bus, kept) = (bus().await, Arc::new(Mutex::new((Vec::new(), Vec::new(), Vec::new()))));
    let keeps = Arc::clone(&kept);
    let handler = inline(move |number: Payload<Number>| {
        let mut kept = keeps.lock();
        match number.n % 4 {
            0 => kept.0.push(number.clone()),
            1 => kept.1.push(number),
            2 => kept.2.push(number.into_event()),
            _ => {}
        }
    });
    bus.subscribe("a").to(handler).await.unwrap();
    let publisher = bus.publisher::<Number>("a").unwrap();
    let ids: Vec<_> = (0..MANY).map(|n| publisher.try_publish(Number { n }).unwrap().id).collect();
    let (clones, payloads, events) = std::mem::take(&mut *kept.lock());
    let events = clones.into_iter().chain(payloads).map(Payload::into_event).chain(events);
    let mut seen: Vec<_> = events.map(|event| (event.payload().n, event.id())).collect();
    seen.sort_unstable();
    let expected: Vec<_> = (0..MANY).zip(ids).filter(|(n, _)| n % 4 != 3).collect();
    assert_eq!(seen, expected);
}

/// A payload that says when it is dropped.
#[derive(Debug, Serialize, Deserialize)]
struct Dropping {
    #[serde(skip)]
    count: Arc<AtomicU64>,
}

impl Drop for Dropping {
    fn drop(&mut self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }
}

impl EventType for Dropping {
    const NAME: &'static str = "dropping";
}

#[tokio::test]
async fn a_payload_is_dropped_when_its_publish_is_over() {
    let (bus, dropped) = (bus().await, Arc::new(AtomicU64::new(0)));
    bus.subscribe("a").to(inline(|_: Payload<Dropping>| {})).await.unwrap();
    let publisher = bus.publisher::<Dropping>("a").unwrap();
    for n in 1..=MANY {
        publisher.try_publish(Dropping { count: Arc::clone(&dropped) }).unwrap();
        assert_eq!(dropped.load(Ordering::SeqCst), u64::from(n));
    }
    assert_eq!(Arc::strong_count(&dropped), 1);
}

#[tokio::test]
async fn a_handler_may_publish_to_its_own_topic() {
    let (bus, sum) = (bus().await, Arc::new(AtomicU64::new(0)));
    let publisher = Arc::new(bus.publisher::<Number>("a").unwrap());
    let (own, adds) = (Arc::clone(&publisher), Arc::clone(&sum));
    let handler = inline(move |number: Payload<Number>| {
        if number.n > 0 {
            own.try_publish(Number { n: number.n - 1 }).unwrap();
        }
        adds.fetch_add(number.n.into(), Ordering::SeqCst);
    });
    let subscription = bus.subscribe("a").to(handler).await.unwrap();
    for _ in 0..MANY {
        publisher.try_publish(Number { n: 5 }).unwrap();
    }
    assert_eq!((sum.load(Ordering::SeqCst), subscription.stats().done), (1_500, 600));
}

#[tokio::test]
async fn a_payload_of_another_type_is_decoded_and_one_that_does_not_fit_is_dead() {
    let (bus, subscription, _publisher, sum) = summing().await;
    let raw = bus.publisher::<Raw>("a").unwrap();
    for _ in 0..MANY {
        raw.try_publish(Raw::from("no number")).unwrap();
    }
    assert_eq!((subscription.stats().dead, sum.load(Ordering::SeqCst)), (100, 0));
    assert_eq!(account(&subscription.stats().tally), [100, 100, 0, 0, 0]);
}

#[derive(Debug, Serialize, Deserialize)]
struct Keyed(String);

impl EventType for Keyed {
    const NAME: &'static str = "keyed";

    fn key(&self) -> Option<String> {
        assert_ne!(self.0, "panic", "a bug of a payload");
        Some(self.0.clone())
    }
}

#[tokio::test]
async fn a_payload_that_breaks_a_rule_comes_back_and_counts_nowhere() {
    let bus = bus().await;
    let keys = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&keys);
    let handler = inline(move |keyed: Payload<Keyed>| {
        let event = keyed.into_event();
        sees.lock().push(event.key().map(|key| key.as_str().to_owned()));
    });
    let subscription = bus.subscribe("a").to(handler).await.unwrap();
    let publisher = bus.publisher::<Keyed>("a").unwrap();
    let keyed = |text: &str| publisher.try_publish(Keyed(text.to_owned()));
    for n in 0..MANY {
        keyed(&n.to_string()).unwrap();
    }
    let refused = keyed("").unwrap_err();
    assert!(matches!(refused.reason().unwrap(), Refused::Invalid(_)));
    assert_eq!(refused.into_event().unwrap().into_payload().0, "");
    let panics = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| keyed("panic").map(drop)));
    assert!(panics().is_err());
    keyed("last").unwrap();
    assert_eq!(account(&subscription.stats().tally), [101, 101, 0, 0, 0]);
    let expected = (0..MANY).map(|n| n.to_string()).chain(["last".to_owned()]).map(Some);
    assert_eq!(*keys.lock(), expected.collect::<Vec<_>>());
    assert_eq!(bus.stats().refused, 1);
}

/// An inline handler that waits in the middle of the event with the number 7, on a thread of its own that publishes it last.
async fn held() -> (Bus, Subscription, mpsc::Sender<()>, thread::JoinHandle<()>) {
    let bus = bus().await;
    let (let_go, waits) = mpsc::channel();
    let (entered, is_in) = tokio::sync::oneshot::channel();
    let waits = Mutex::new((waits, Some(entered)));
    let handler = inline(move |number: Payload<Number>| {
        if number.n == 7 {
            let mut waits = waits.lock();
            if let Some(entered) = waits.1.take() {
                entered.send(()).unwrap();
            }
            waits.0.recv().unwrap();
        }
    });
    let subscription = bus.subscribe("a").name("in").to(handler).await.unwrap();
    let publisher = bus.publisher("a").unwrap();
    let publishing = thread::spawn(move || {
        publish(&publisher, 7);
        publisher.try_publish(Number { n: 7 }).unwrap();
    });
    is_in.await.unwrap();
    (bus, subscription, let_go, publishing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_waits_for_a_handler_that_runs_on_its_publishers_thread() {
    let (bus, subscription, let_go, publishing) = held().await;
    assert_eq!(subscription.stats().running, 1);
    let inner = bus.clone();
    let shutdown = tokio::spawn(async move { inner.shutdown(Duration::from_mins(1)).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!shutdown.is_finished());
    let_go.send(()).unwrap();
    let report = shutdown.await.unwrap();
    assert!(report.is_drained(), "{report}");
    assert_eq!(account(&report.tally), [8, 8, 0, 0, 0]);
    publishing.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_or_waits_is_woken_by_the_end_of_the_handler() {
    let (bus, subscription, let_go, publishing) = held().await;
    let idle = tokio::spawn(async move { bus.idle().await });
    let stop = tokio::spawn(subscription.stop());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!idle.is_finished() && !stop.is_finished());
    let_go.send(()).unwrap();
    idle.await.unwrap();
    assert_eq!(account(&stop.await.unwrap().tally), [8, 8, 0, 0, 0]);
    publishing.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_handled_behind_the_report_while_threads_publish() {
    for _ in 0..200 {
        let (bus, _subscription, publisher, _sum) = summing().await;
        let publisher = Arc::new(publisher);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let publisher = Arc::clone(&publisher);
                thread::spawn(move || {
                    let accepted = |receipt: busway_engine::Receipt| receipt.offered as u64;
                    let until_closed = (0..).map_while(|n| publisher.try_publish(Number { n }).ok());
                    until_closed.map(accepted).sum::<u64>()
                })
            })
            .collect();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let report = bus.shutdown(Duration::from_mins(1)).await;
        let offered: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(report.is_drained(), "{report}");
        assert_eq!(account(&report.tally), [offered, offered, 0, 0, 0], "handled behind the report");
    }
}

#[tokio::test]
async fn a_handle_and_an_idle_thread_hold_nothing_of_a_bus_that_is_gone() {
    let (bus, held) = (bus().await, Arc::new(()));
    let weak: Weak<()> = Arc::downgrade(&held);
    let handler = inline(move |_: Payload<Number>| _ = &held);
    drop(bus.subscribe("a").to(handler).await.unwrap());
    let publisher = bus.publisher::<Number>("a").unwrap();
    publish(&publisher, MANY);
    drop(bus);
    assert!(weak.upgrade().is_none(), "something still holds the handler");
    assert_eq!(publisher.try_publish(Number { n: 1 }).unwrap_err().reason().unwrap(), &Refused::Closed);
}

#[tokio::test]
async fn a_thread_lets_go_of_a_handler_that_has_left_with_its_next_publish() {
    let (bus, held) = (bus().await, Arc::new(()));
    let weak: Weak<()> = Arc::downgrade(&held);
    let subscription = bus.subscribe("a").to(inline(move |_: Payload<Number>| _ = &held)).await.unwrap();
    let publisher = bus.publisher("a").unwrap();
    publish(&publisher, MANY);
    subscription.stop().await;
    _ = bus.stats();
    bus.publish(Event::new("b", Number { n: 1 })).await.unwrap();
    assert!(weak.upgrade().is_none(), "the thread still holds it");
}
