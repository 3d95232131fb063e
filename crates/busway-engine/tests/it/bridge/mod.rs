//! Bridges: from the log to a transport, and back.

mod world;

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use busway_engine::bridge::{BridgeError, BridgeState};
use busway_engine::transport::{
    DeliveryId, LocalTransport, Received, Reception, Transport as _, TransportError, Verdict,
};
use busway_engine::{Bus, Selection, Stream};
use busway_event::{Durability, Event, Filter, Priority, Raw, Topic};
use busway_reliability::Rate;

use crate::remote::world::{Scripted, delivery, of, parts};

use self::world::{Place, Way, by_key, open, order, until};

const SOON: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_streams_capture_reaches_the_broker_once_and_in_order_of_each_key() {
    let (here, there) = (Place::open().await, Place::open().await);
    let seen = there.seen().await;
    let mut sent = Vec::new();
    for number in 0..200 {
        let key = format!("k{}", number % 7);
        sent.push((key.clone(), here.bus.publish(order(number, Some(&key))).await.unwrap().id));
    }
    let forwarder = here.bus.forwarder("to-there", "orders.#").to(&Way::to(&there.bus)).await.unwrap();
    let came = seen.reaches(200).await;
    for (key, ids) in by_key(&came) {
        let expected: Vec<_> = sent.iter().filter(|(of, _)| *of == key).map(|(_, id)| *id).collect();
        assert_eq!(ids, expected, "{key}");
    }
    until(|| forwarder.stats().carried == 200).await;
    let stats = forwarder.stop().await;
    assert_eq!((stats.carried, stats.dead, stats.retried, stats.state), (200, 0, 0, BridgeState::Stopped));
    assert_eq!(seen.now().len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_key_keep_their_order_whatever_their_priorities() {
    let (here, there) = (Place::open().await, Place::open().await);
    let seen = there.seen_by_key().await;
    let mut sent = Vec::new();
    for number in 0..300 {
        let draft = order(number, Some(&format!("k{}", number % 3)));
        let priority = Priority::ALL[(number as usize * 7 / 3) % 4];
        sent.push((number % 3, here.bus.publish(draft.priority(priority)).await.unwrap().id));
    }
    let _forwarder = here.bus.forwarder("to-there", "orders.#").to(&Way::to(&there.bus)).await.unwrap();
    for (key, ids) in by_key(&seen.reaches(300).await) {
        let of_key = |(of, _): &&(u32, _)| format!("k{of}") == key;
        let expected: Vec<_> = sent.iter().filter(of_key).map(|(_, id)| *id).collect();
        assert_eq!(ids, expected, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarder_goes_on_where_it_stood_also_after_a_restart() {
    let (here, there) = (Place::open().await, Place::open().await);
    let seen = there.seen().await;
    let way = Way::to(&there.bus);
    let forwarder = here.bus.forwarder("to-there", "orders.#").to(&way).await.unwrap();
    for number in 0..20 {
        here.bus.publish(order(number, None)).await.unwrap();
    }
    seen.reaches(20).await;
    until(|| forwarder.stats().carried == 20).await;
    let Place { folder, bus } = here;
    assert!(bus.shutdown(Duration::from_secs(10)).await.is_drained());
    drop((forwarder, bus));
    let bus = open(&folder).await;
    for number in 20..40 {
        bus.publish(order(number, None)).await.unwrap();
    }
    let forwarder = bus.forwarder("to-there", "orders.#").to(&way).await.unwrap();
    seen.reaches(40).await;
    until(|| forwarder.stats().carried == 20).await;
    assert_eq!(seen.now().len(), 40, "nothing was sent twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_succeed_while_the_broker_is_down_and_all_arrive_when_it_is_back() {
    let (here, there) = (Place::open().await, Place::open().await);
    let seen = there.seen().await;
    let way = Way::to(&there.bus);
    way.faults.is_down.store(true, Ordering::SeqCst);
    let forwarder = here.bus.forwarder("to-there", "orders.#").longest_wait(SOON).to(&way).await.unwrap();
    for number in 0..50 {
        let receipt = here.bus.publish(order(number, Some("k"))).await.unwrap();
        assert_eq!(receipt.durability, Durability::Synced);
    }
    let failed = || match forwarder.stats().state {
        BridgeState::Waiting { failed, reason } if reason.contains("it is down") => u64::from(failed),
        _ => 0,
    };
    // What was on its way at first fails together; from then on one event tries for all.
    until(|| failed() >= 6).await;
    let (first, retried) = (failed(), forwarder.stats().retried);
    until(|| failed() >= first + 4).await;
    let (more, tries) = (forwarder.stats().retried - retried, failed() - first);
    assert!(more <= tries + 1, "{more} were tried again in {tries} tries");
    way.faults.is_down.store(false, Ordering::SeqCst);
    assert_eq!(seen.reaches(50).await.len(), 50);
    until(|| forwarder.stats().state == BridgeState::Flowing && forwarder.stats().carried == 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_on_the_way_neither_lose_nor_double_nor_reorder() {
    let (here, there) = (Place::open().await, Place::open().await);
    let seen = there.seen().await;
    let way = Way::to(&there.bus);
    way.faults.one_of.store(5, Ordering::SeqCst);
    let mut sent = Vec::new();
    for number in 0..60 {
        let key = format!("k{}", number % 3);
        sent.push((key.clone(), here.bus.publish(order(number, Some(&key))).await.unwrap().id));
    }
    let forwarder = here.bus.forwarder("to-there", "orders.#").longest_wait(SOON).to(&way).await.unwrap();
    until(|| forwarder.stats().carried == 60).await;
    let came = seen.reaches(60).await;
    assert_eq!(came.len(), 60, "what was taken and not heard is absorbed by its id");
    for (key, ids) in by_key(&came) {
        let expected: Vec<_> = sent.iter().filter(|(of, _)| *of == key).map(|(_, id)| *id).collect();
        assert_eq!(ids, expected, "{key}");
    }
    assert!(forwarder.stats().retried > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_refuses_for_good_is_a_dead_letter_here_and_holds_nobody() {
    let (here, there) = (Place::open().await, Place::open().await);
    let seen = there.seen().await;
    let way = Way::to(&there.bus);
    way.faults.refused.lock().push("3".to_owned());
    let forwarder = here.bus.forwarder("to-there", "orders.#").to(&way).await.unwrap();
    for number in 0..10 {
        here.bus.publish(order(number, Some("k"))).await.unwrap();
    }
    assert_eq!(seen.reaches(9).await.len(), 9);
    until(|| forwarder.stats().dead == 1 && forwarder.stats().carried == 9).await;
    drop(forwarder.stop().await);
    let letters = here.bus.dead_letters().list(&Selection::all()).await.unwrap();
    assert_eq!(letters.letters.len(), 1);
    assert!(format!("{:?}", letters.letters[0]).contains("never"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_sent_no_faster_than_it_may_be() {
    let (here, there) = (Place::open().await, Place::open().await);
    let seen = there.seen().await;
    for number in 0..20 {
        here.bus.publish(order(number, None)).await.unwrap();
    }
    let begun = Instant::now();
    let rate = Rate::per_second(NonZeroU32::new(40).unwrap());
    let forwarder =
        here.bus.forwarder("to-there", "orders.#").rate(rate).to(&Way::to(&there.bus)).await.unwrap();
    seen.reaches(20).await;
    // The first is free, each of the others costs a fortieth of a second: a lower bound, whatever else the machine does.
    assert!(begun.elapsed() >= Duration::from_millis(19 * 25), "{:?}", begun.elapsed());
    drop(forwarder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ingested_is_synced_here_before_it_is_settled_there() {
    let (here, there) = (Place::open().await, Place::open().await);
    let seen = here.seen().await;
    let reception = Reception::new("orders", "to-here", Filter::new("orders.#").unwrap());
    let ingest = here.bus.ingest(reception.clone()).from(&LocalTransport::new(&there.bus)).await.unwrap();
    let mut sent = Vec::new();
    for number in 0..50 {
        sent.push(there.bus.publish(order(number, Some("k"))).await.unwrap().id);
    }
    let came = seen.reaches(50).await;
    assert_eq!(
        came.iter().map(|event| event.id()).collect::<Vec<_>>(),
        sent,
        "under their own ids, in order"
    );
    until(|| ingest.stats().carried == 50).await;
    // Gone before it settles: what is delivered again is absorbed by its id.
    drop(ingest.stop().await);
    let again = here.bus.ingest(reception).from(&LocalTransport::new(&there.bus)).await.unwrap();
    there.bus.publish(order(50, Some("k"))).await.unwrap();
    seen.reaches(51).await;
    until(|| again.stats().carried >= 1).await;
    assert_eq!(seen.now().len(), 51);
}

#[tokio::test]
async fn what_no_stream_captures_is_a_letter_where_it_came_from_and_not_settled_there() {
    let (here, broker) = (Place::open().await, Scripted::able());
    let reception = Reception::new("orders", "to-here", Filter::new("orders.#").unwrap());
    let ingest = here.bus.ingest(reception).from(&broker).await.unwrap();
    let mut elsewhere = parts("a", None);
    elsewhere.topic = Topic::new("bills.paid").unwrap();
    broker.deliver([Received::new(DeliveryId(1), Ok(of(elsewhere, "a"))), delivery(2, "b", None)]);
    let told = broker.told(2).await;
    let verdict = |number| told.iter().find(|(id, _)| *id == number).map(|(_, verdict)| verdict);
    let Some(Verdict::Dead(letter)) = verdict(1) else { panic!("{told:?}") };
    assert!(letter.reason.contains("no stream captures \"bills.paid\""), "{}", letter.reason);
    assert_eq!(verdict(2), Some(&Verdict::Done));
    assert_eq!(ingest.stats().carried, 1);
}

#[tokio::test]
async fn what_is_ingested_is_synced_also_into_a_stream_that_wants_less_of_what_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let stream = Stream::new("orders").capture("orders.#").durability(Durability::Memory);
    let bus = Bus::open(folder.path()).stream(stream).start().await.unwrap();
    let sender = LocalTransport::new(&bus).sender().await.unwrap();
    let mut sent = sender.send(vec![of(parts("a", None), "a")]).await;
    let sent = sent.remove(0).unwrap();
    assert_eq!((sent.durability, sent.offset), (Durability::Synced, Some(0)));
    let published = bus.publish(order(1, None)).await.unwrap();
    assert_eq!(published.durability, Durability::Memory);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingest_ends_with_its_bus_and_leaves_the_rest_to_the_next() {
    let (here, there) = (Place::open().await, Place::open().await);
    let reception = Reception::new("orders", "to-here", Filter::new("orders.#").unwrap());
    let ingest = here.bus.ingest(reception.clone()).from(&LocalTransport::new(&there.bus)).await.unwrap();
    assert!(here.bus.shutdown(Duration::from_secs(10)).await.is_drained());
    assert_eq!(ingest.stats().state, BridgeState::Stopped);
    there.bus.publish(order(1, None)).await.unwrap();
    let next = Place::open().await;
    let seen = next.seen().await;
    let _ingest = next.bus.ingest(reception).from(&LocalTransport::new(&there.bus)).await.unwrap();
    assert_eq!(seen.reaches(1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarder_does_not_keep_its_bus_alive() {
    let (here, there) = (Place::open().await, Place::open().await);
    let forwarder = here.bus.forwarder("to-there", "orders.#").to(&Way::to(&there.bus)).await.unwrap();
    let Place { folder, bus } = here;
    drop(bus);
    until(|| forwarder.stats().state == BridgeState::Stopped).await;
    // The store is free when its writer has ended.
    let again = async {
        loop {
            let stream = Stream::new("orders").capture("orders.#");
            if let Ok(bus) = Bus::open(folder.path()).stream(stream).producer("shop").start().await {
                return bus;
            }
            tokio::task::yield_now().await;
        }
    };
    drop(tokio::time::timeout(Duration::from_secs(30), again).await.unwrap());
}

#[tokio::test]
async fn bridges_that_would_carry_nothing_do_not_begin() {
    let there = Place::open().await;
    let way = Way::to(&there.bus);
    let memory = Bus::memory().start().await.unwrap();
    let no_store = memory.forwarder("f", "a.#").to(&way).await.unwrap_err();
    assert_eq!(no_store, BridgeError::NoStore { name: "f".to_owned() });
    let elsewhere = there.bus.forwarder("f", "bills.#").to(&way).await.unwrap_err();
    assert!(matches!(elsewhere, BridgeError::NothingCaptured { .. }), "{elsewhere}");
    assert!(matches!(there.bus.forwarder("f", "a..b").to(&way).await, Err(BridgeError::Filter { .. })));
    // More than the stream captures: what it does not would be settled there and kept nowhere.
    let wide = Reception::new("orders", "all", Filter::new("#").unwrap());
    let wide = there.bus.ingest(wide).from(&way).await.unwrap_err();
    assert!(matches!(wide, BridgeError::NothingCaptured { .. }), "{wide}");
    let in_memory = Reception::new("orders", "all", Filter::new("orders.#").unwrap());
    let in_memory = memory.ingest(in_memory).from(&way).await.unwrap_err();
    assert_eq!(in_memory, BridgeError::NoStore { name: "all".to_owned() });
    drop(memory.publish(Event::new("a", Raw::from("x"))).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_can_put_right_at_the_broker_is_waited_for_and_no_event_is_given_up() {
    let (here, there) = (Place::open().await, Place::open().await);
    let (seen, way) = (there.seen().await, Way::to(&there.bus));
    let denied = TransportError::AccessDenied { address: "way".to_owned(), reason: "revoked".to_owned() };
    let gone = TransportError::Gone { what: "stream orders".to_owned(), reason: "removed".to_owned() };
    let forwarder = here.bus.forwarder("to-there", "orders.#").longest_wait(SOON).to(&way).await.unwrap();
    for (round, why) in [Some(denied), Some(gone), None].into_iter().enumerate() {
        let is_silent = why.is_none();
        *way.faults.refusing.lock() = why;
        way.faults.is_silent.store(is_silent, Ordering::SeqCst);
        let number = u32::try_from(round).unwrap();
        here.bus.publish(order(number, Some("k"))).await.unwrap();
        until(|| matches!(forwarder.stats().state, BridgeState::Waiting { failed, .. } if failed >= 2)).await;
        way.faults.is_silent.store(false, Ordering::SeqCst);
        *way.faults.refusing.lock() = None;
        seen.reaches(round + 1).await;
        until(|| forwarder.stats().state == BridgeState::Flowing).await;
    }
    assert_eq!((forwarder.stats().dead, forwarder.stats().carried), (0, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarder_of_the_same_name_is_refused_while_one_runs_and_waits_for_one_that_ends() {
    let (here, there) = (Place::open().await, Place::open().await);
    let way = Way::to(&there.bus);
    let forwarder = here.bus.forwarder("to-there", "orders.#").to(&way).await.unwrap();
    let again = here.bus.forwarder("to-there", "orders.#").to(&way).await.unwrap_err();
    assert_eq!(again, BridgeError::Running { name: "to-there".to_owned() });
    let (_, next) = tokio::join!(forwarder.stop(), here.bus.forwarder("to-there", "orders.#").to(&way));
    next.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_full_keeps_an_ingest_waiting_and_gives_nothing_up() {
    let (there, folder) = (Place::open().await, tempfile::tempdir().unwrap());
    let stream = Stream::new("orders").capture("orders.#");
    let small = Bus::open(folder.path()).stream(stream).store_bytes_max(SMALL).start().await.unwrap();
    let reception = Reception::new("orders", "to-here", Filter::new("orders.#").unwrap());
    let reception = reception.start_at(busway_engine::StartAt::Earliest);
    let ingest =
        small.ingest(reception).longest_wait(SOON).from(&LocalTransport::new(&there.bus)).await.unwrap();
    for _ in 0..64 {
        let large = Event::new("orders.made", Raw::from("x".repeat(64 << 10)));
        there.bus.publish(large).await.unwrap();
    }
    until(|| matches!(ingest.stats().state, BridgeState::Waiting { failed, .. } if failed >= 2)).await;
    assert_eq!(ingest.stats().dead, 0, "{:?}", ingest.stats());
    assert!(ingest.stats().carried < 64);
}

/// Bytes of a store that is soon full.
const SMALL: u64 = 2 << 20;
