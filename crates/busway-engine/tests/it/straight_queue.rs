//! A publisher's handle with one subscription at its topic that has a queue: the way without detours keeps the promises of all others.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use busway_engine::{Bus, Publisher, Subscription};
use busway_event::EventType;
use busway_middleware::{Payload, Stage, SyncMiddleware, inline};
use busway_reliability::Overflow;
use busway_testkit::{Gate, ManualClock, Recorder};
use serde::{Deserialize, Serialize};

use crate::world::{AtGate, Number, account, assert_settled, ends, turns};

/// More than it takes for a thread to know the way.
const MANY: u32 = 100;

async fn start() -> (Bus, Recorder<Number>, Publisher<Number>) {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let publisher = bus.publisher("a").unwrap();
    (bus, Recorder::new(), publisher)
}

/// Publishes the numbers of a range without waiting, and says to how many subscriptions they were offered in all.
fn publish(publisher: &Publisher<Number>, numbers: std::ops::Range<u32>) -> usize {
    numbers.map(|n| publisher.try_publish(Number { n }).unwrap().offered).sum()
}

fn handled(recorder: &Recorder<Number>) -> Vec<u32> {
    recorder.payloads().iter().map(|payload| payload.n).collect()
}

#[tokio::test]
async fn events_come_in_order_with_what_the_way_of_all_others_gives_them() {
    let (bus, recorder, publisher) = start().await;
    let subscription = bus.subscribe("a").capacity(1_024).to(recorder.handler()).await.unwrap();
    let mut receipts = Vec::new();
    for n in 0..MANY {
        receipts.push(publisher.publish(Number { n }).await.unwrap());
    }
    ends(bus.idle()).await;
    assert_eq!(handled(&recorder), (0..MANY).collect::<Vec<_>>());
    let events = recorder.events();
    assert!(receipts.iter().map(|receipt| receipt.id).eq(events.iter().map(|event| event.id())));
    assert!(
        receipts.is_sorted_by(|one, next| one.id < next.id) && receipts.iter().all(|one| one.offered == 1)
    );
    let (first, last) = (events.first().unwrap(), events.last().unwrap());
    assert_eq!((last.topic(), last.metadata()), (first.topic(), first.metadata()), "the first knew no way");
    assert_eq!((last.key(), last.priority(), last.ttl()), (None, first.priority(), None));
    assert_settled(&subscription.stats());
    assert_eq!((bus.stats().published, bus.stats().unrouted), (u64::from(MANY), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_many_threads_are_all_in_the_account() {
    let (bus, recorder, publisher) = start().await;
    let builder = bus.subscribe("a").capacity(16).overflow(Overflow::Block(None));
    let subscription = builder.to(recorder.handler()).await.unwrap();
    let publisher = Arc::new(publisher);
    let publish = |from: u32| {
        let publisher = Arc::clone(&publisher);
        async move {
            for n in from..from + 2_000 {
                publisher.publish(Number { n }).await.unwrap();
            }
        }
    };
    let tasks: Vec<_> = (0..4).map(|from| tokio::spawn(publish(from * 2_000))).collect();
    for task in tasks {
        ends(task).await.unwrap();
    }
    ends(bus.idle()).await;
    let mut numbers = handled(&recorder);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..8_000).collect::<Vec<_>>(), "each waited for room");
    assert_eq!(account(&subscription.stats().tally), [8_000, 8_000, 0, 0, 0]);
}

struct Nothing;

impl SyncMiddleware for Nothing {}

#[tokio::test]
async fn an_inline_handler_behind_middleware_has_no_queue_and_is_called_inside_of_each_publish() {
    let (bus, _recorder, publisher) = start().await;
    let builder = bus.subscribe("a").middleware(Stage::User, "nothing", Nothing);
    let subscription = builder.to(inline(|_: Payload<Number>| ())).await.unwrap();
    for n in 0..MANY {
        assert_eq!(publisher.try_publish(Number { n }).unwrap().offered, 1);
        assert_eq!(subscription.stats().done, u64::from(n) + 1);
    }
}

#[tokio::test]
async fn who_has_no_room_is_treated_by_the_policy() {
    let (bus, recorder, publisher) = start().await;
    let gate = Gate::closed();
    let builder = bus.subscribe("a").capacity(4).overflow(Overflow::DropOldest);
    let builder = builder.middleware(Stage::User, "hold", AtGate(gate.clone()));
    let subscription: Subscription = builder.to(recorder.handler()).await.unwrap();
    publish(&publisher, 0..1);
    ends(gate.reached(1)).await;
    assert_eq!(publish(&publisher, 1..MANY), 99, "offered, whatever becomes of them");
    gate.open();
    ends(bus.idle()).await;
    assert_eq!(handled(&recorder), [0, 96, 97, 98, 99]);
    assert_eq!(account(&subscription.stats().tally), [100, 5, 95, 0, 0]);
    // One that disconnects is disconnected.
    let (bus, recorder, publisher) = start().await;
    let builder = bus.subscribe("a").capacity(8).overflow(Overflow::Disconnect);
    let subscription = builder.to(recorder.handler()).await.unwrap();
    assert_eq!(publish(&publisher, 0..MANY), 9);
    ends(bus.idle()).await;
    assert_eq!(account(&subscription.stats().tally), [9, 8, 1, 0, 0]);
    assert_eq!(bus.stats().unrouted, 91);
}

#[tokio::test]
async fn who_takes_its_place_subscribes_beside_it_or_leaves_is_found_and_no_longer_found() {
    let (bus, recorder, publisher) = start().await;
    let first = bus.subscribe("a").name("first").capacity(1_024).to(recorder.handler()).await.unwrap();
    publish(&publisher, 0..MANY);
    let (heirs, beside) = (Recorder::<Number>::new(), Recorder::<Number>::new());
    let heir = bus.subscribe("a").name("first").capacity(1_024).taking_over(&first);
    let heir = heir.to(heirs.handler()).await.unwrap();
    assert_eq!(publish(&publisher, 0..MANY), 100);
    let second = bus.subscribe("a").capacity(1_024).to(beside.handler()).await.unwrap();
    assert_eq!(publish(&publisher, 0..MANY), 200);
    ends(bus.idle()).await;
    assert_eq!([recorder.count(), heirs.count(), beside.count()], [100, 200, 100]);
    ends(heir.stop()).await;
    assert_eq!(publish(&publisher, 0..MANY), 100);
    ends(second.stop()).await;
    assert_eq!(publish(&publisher, 0..MANY), 0);
    assert_eq!([heirs.count(), beside.count()], [200, 200]);
    ends(bus.shutdown(Duration::ZERO)).await;
    publisher.try_publish(Number { n: 0 }).unwrap_err();
}

#[tokio::test]
async fn a_time_to_live_holds_there_too() {
    let clock = ManualClock::new();
    let bus = Bus::memory().producer("test").clock(Arc::new(clock.clone())).start().await.unwrap();
    let (recorder, gate) = (Recorder::<Number>::new(), Gate::closed());
    let builder =
        bus.subscribe("a").capacity(1_024).ttl(busway_event::Priority::P2, Some(Duration::from_secs(1)));
    let builder = builder.middleware(Stage::User, "hold", AtGate(gate.clone()));
    let subscription = builder.to(recorder.handler()).await.unwrap();
    let publisher = bus.publisher("a").unwrap();
    publish(&publisher, 0..MANY);
    ends(gate.reached(1)).await;
    clock.advance(Duration::from_secs(2));
    publish(&publisher, MANY..MANY + 2);
    gate.open();
    ends(bus.idle()).await;
    assert_eq!(handled(&recorder), [0, MANY, MANY + 1]);
    assert_eq!(account(&subscription.stats().tally), [102, 3, 0, 99, 0]);
}

/// A payload with a key, of which some are none.
#[derive(Debug, Serialize, Deserialize)]
struct Keyed(String);

impl EventType for Keyed {
    const NAME: &'static str = "keyed";

    fn key(&self) -> Option<String> {
        Some(self.0.clone())
    }
}

#[tokio::test]
async fn keys_are_asked_for_and_one_that_is_none_comes_back() {
    let bus = Bus::memory().producer("test").start().await.unwrap();
    let recorder = Recorder::<Keyed>::new();
    let subscription = bus.subscribe("a").capacity(1_024).to(recorder.handler()).await.unwrap();
    let publisher: Publisher<Keyed> = bus.publisher("a").unwrap();
    for n in 0..MANY {
        publisher.try_publish(Keyed(format!("key-{n}"))).unwrap();
    }
    let refused = publisher.try_publish(Keyed(String::new())).unwrap_err();
    assert_eq!(refused.into_event().unwrap().into_payload().0, "");
    ends(bus.idle()).await;
    let keys: Vec<_> = recorder.events().iter().map(|event| event.key().unwrap().to_string()).collect();
    assert_eq!(keys, (0..MANY).map(|n| format!("key-{n}")).collect::<Vec<_>>());
    assert_eq!(account(&subscription.stats().tally), [100, 100, 0, 0, 0]);
}

#[tokio::test]
async fn a_thread_that_publishes_no_more_holds_nothing_of_a_bus_that_is_gone() {
    let (bus, recorder, publisher) = start().await;
    let held = Arc::new(());
    let (inside, weak) = (Arc::clone(&held), Arc::downgrade(&held));
    drop(held);
    let handler = move |_: Payload<Number>| {
        _ = &inside;
        std::future::ready(())
    };
    bus.subscribe("a").to(handler).await.unwrap();
    let (said, known) = std::sync::mpsc::channel();
    let (go_on, waits) = std::sync::mpsc::channel::<()>();
    let publishing = thread::spawn(move || {
        publish(&publisher, 0..MANY);
        said.send(()).unwrap();
        _ = waits.recv();
    });
    known.recv().unwrap();
    turns().await;
    ends(bus.shutdown(Duration::from_secs(1))).await;
    drop((bus, recorder));
    turns().await;
    assert!(weak.upgrade().is_none(), "the thread is still there");
    drop(go_on);
    publishing.join().unwrap();
}
