//! Who takes events by the page: order, bounds, verdicts of each kind amid a page, and ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use busway_event::{Event, Filter, Raw};
use busway_middleware::{Delivery, Stage};
use busway_persistence::Stream;
use futures_util::FutureExt as _;
use tempfile::TempDir;

use super::LocalTransport;
use crate::bus::Bus;
use crate::dead_letters::Selection;
use crate::durable::StartAt;
use crate::transport::{
    DeliveryId, Letter, Received, Receiver, Reception, Transport as _, TransportError, Verdict,
};

const NAME: &str = "to-there";

async fn open(folder: &TempDir) -> Bus {
    let stream = Stream::new("orders").capture("orders.#").partitions(2);
    Bus::open(folder.path()).stream(stream).producer("shop").start().await.unwrap()
}

/// A bus with so many events, of so many keys that take turns.
async fn with_events(events: u32, keys: u32) -> (TempDir, Bus) {
    let folder = tempfile::tempdir().unwrap();
    let bus = open(&folder).await;
    publish(&bus, 0..events, keys).await;
    (folder, bus)
}

async fn publish(bus: &Bus, numbers: std::ops::Range<u32>, keys: u32) {
    for number in numbers {
        let draft = Event::new("orders.made", Raw::from(number.to_string()));
        bus.publish(draft.key(format!("k{}", number % keys))).await.unwrap();
    }
}

async fn taking(bus: &Bus, in_flight: usize) -> Arc<dyn Receiver> {
    let reception = Reception::new("", NAME, Filter::new("orders.#").unwrap());
    let reception = reception.start_at(StartAt::Earliest).in_flight_max(in_flight);
    LocalTransport::new(bus).by_the_page(&reception).await.unwrap()
}

async fn receive(from: &Arc<dyn Receiver>, max: usize) -> Vec<Received> {
    soon(from.receive(max)).await.unwrap()
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
}

/// Takes until so many are under way.
async fn receive_all(from: &Arc<dyn Receiver>, events: usize) -> Vec<Received> {
    let mut all = Vec::new();
    while all.len() < events {
        all.extend(receive(from, events - all.len()).await);
    }
    all
}

fn number(received: &Received) -> u32 {
    let event = received.event.as_ref().unwrap();
    String::from_utf8(event.typed::<Raw>().unwrap().payload().0.to_vec()).unwrap().parse().unwrap()
}

fn done(all: &[Received]) -> Vec<(DeliveryId, Verdict)> {
    all.iter().map(|received| (received.id, Verdict::Done)).collect()
}

async fn settle(from: &Arc<dyn Receiver>, verdicts: Vec<(DeliveryId, Verdict)>) {
    assert!(from.settle(verdicts).await.into_iter().all(|told| told.is_ok()));
}

/// Nothing can be taken now, whatever the pump does meanwhile.
async fn nothing_comes(bus: &Bus, from: &Arc<dyn Receiver>) {
    for _ in 0..50 {
        assert!(from.receive(usize::MAX).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert!(bus.core().durable.named(NAME).is_some());
}

/// A handler may be on its way to waiting for its verdict while somebody has taken its event already, has settled it, and closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_settles_before_it_closes_comes_to_nobody_again() {
    let (_folder, bus) = with_events(0, 1).await;
    let transport = LocalTransport::new(&bus);
    let reception = Reception::new("", NAME, Filter::new("orders.#").unwrap());
    for round in 0..500 {
        let member = transport.receiver(&reception).await.unwrap();
        publish(&bus, round..round + 1, 1).await;
        let came = receive(&member, 1).await;
        assert_eq!(number(&came[0]), round, "the one before was settled");
        settle(&member, done(&came)).await;
        soon(member.close()).await.unwrap();
    }
}

#[tokio::test]
async fn the_next_event_of_a_key_is_in_no_page_while_the_one_before_is_under_way() {
    let (_folder, bus) = with_events(60, 6).await;
    let from = taking(&bus, 64).await;
    let (mut last, mut count) = (BTreeMap::new(), 0);
    let mut under_way: Vec<Received> = Vec::new();
    while count < 60 {
        // Pages of four while others are not answered yet: those of a page before are settled when nothing else is left to take.
        match from.receive(4).now_or_never() {
            Some(page) => under_way.extend(page.unwrap()),
            None if under_way.is_empty() => under_way.extend(receive(&from, 4).await),
            None => {
                let keys: BTreeSet<u32> = under_way.iter().map(|received| number(received) % 6).collect();
                assert_eq!(keys.len(), under_way.len(), "two events of a key at once");
                for received in &under_way {
                    let number = number(received);
                    let before = last.insert(number % 6, number);
                    assert_eq!(before.unwrap_or(number.wrapping_sub(6)), number.wrapping_sub(6));
                }
                count += under_way.len();
                settle(&from, done(&std::mem::take(&mut under_way))).await;
                tokio::task::yield_now().await;
            }
        }
    }
    soon(bus.idle()).await;
    nothing_comes(&bus, &from).await;
}

#[tokio::test]
async fn each_event_of_a_page_has_its_own_verdict_and_holds_its_own_key_alone() {
    let (_folder, bus) = with_events(10, 5).await;
    let from = taking(&bus, 64).await;
    let page = receive_all(&from, 5).await;
    let id_of = |wanted: u32| page.iter().find(|received| number(received) == wanted).unwrap().id;
    settle(
        &from,
        vec![
            (id_of(0), Verdict::Done),
            (id_of(1), Verdict::Again(Duration::from_secs(3_600))),
            (id_of(2), Verdict::Back),
            (id_of(3), Verdict::Dead(Letter::new("never"))),
        ],
    )
    .await;
    // 4 is not decided at all; of 1 and 4 the next ones wait.
    let next = receive_all(&from, 3).await;
    let numbers: BTreeMap<u32, u32> =
        next.iter().map(|received| (number(received), received.attempt.get())).collect();
    assert_eq!(numbers, BTreeMap::from([(2, 1), (5, 1), (8, 1)]), "2 is not charged, and 7 waits behind it");
    nothing_comes(&bus, &from).await;
    settle(&from, done(&next)).await;
    let [seven] = receive_all(&from, 1).await.try_into().unwrap();
    assert_eq!(number(&seven), 7);
    settle(&from, done(&[seven])).await;
    nothing_comes(&bus, &from).await;
    let letters = loop {
        // It is on its way to the store: nothing that is under way holds it.
        match soon(bus.dead_letters().list(&Selection::all())).await.unwrap().letters {
            none if none.is_empty() => tokio::task::yield_now().await,
            letters => break letters,
        }
    };
    assert_eq!(letters.len(), 1);
    assert!(format!("{letters:?}").contains("never"));
    // What is new is not held either.
    publish(&bus, 10..15, 5).await;
    let new: BTreeSet<u32> = receive_all(&from, 3).await.iter().map(number).collect();
    assert_eq!(new, BTreeSet::from([10, 12, 13]));
}

#[tokio::test]
async fn no_more_are_under_way_than_may_be() {
    let (_folder, bus) = with_events(40, 40).await;
    let from = taking(&bus, 8).await;
    let mut under_way = receive_all(&from, 8).await;
    nothing_comes(&bus, &from).await;
    let three = under_way.split_off(5);
    settle(&from, done(&three)).await;
    under_way.extend(receive_all(&from, 3).await);
    nothing_comes(&bus, &from).await;
    let all: BTreeSet<u32> = under_way.iter().chain(&three).map(number).collect();
    assert_eq!(all.len(), 11, "each was taken once");
    assert!(matches!(from.settle(done(&three)).await[..], [Err(TransportError::Gone { .. }), ..]));
    let renewed: Vec<_> = under_way.iter().map(|received| received.id).collect();
    from.renew(&renewed).await.unwrap();
    assert!(from.renew(&[three[0].id]).await.is_err());
}

#[tokio::test]
async fn who_closes_gives_back_what_is_under_way_and_the_next_goes_on_there() {
    let (_folder, bus) = with_events(30, 30).await;
    let from = taking(&bus, 16).await;
    let page = receive_all(&from, 16).await;
    settle(&from, done(&page[..4])).await;
    let waiting = async {
        loop {
            if let Err(error) = from.receive(64).await {
                return error;
            }
        }
    };
    let closing = async {
        tokio::task::yield_now().await;
        from.close().await
    };
    let (told, closed) = soon(async { tokio::join!(waiting, closing) }).await;
    assert_eq!((told, closed), (TransportError::Closed, Ok(())), "who waits is told");
    assert!(matches!(from.settle(done(&page[4..5])).await[..], [Err(TransportError::Gone { .. })]));
    assert_eq!(from.receive(1).await.unwrap_err(), TransportError::Closed);
    let next = taking(&bus, 64).await;
    let again: BTreeSet<u32> = receive_all(&next, 26).await.iter().map(number).collect();
    let settled: BTreeSet<u32> = page[..4].iter().map(number).collect();
    assert_eq!(again, (0..30).filter(|number| !settled.contains(number)).collect());
}

#[tokio::test]
async fn who_is_dropped_leaves_all_that_was_not_settled_also_to_another_process() {
    let (folder, bus) = with_events(30, 30).await;
    let from = taking(&bus, 16).await;
    let page = receive_all(&from, 16).await;
    settle(&from, done(&page[..4])).await;
    drop(from);
    soon(bus.core().durable.until_free(NAME, &bus.core().services.idle)).await;
    soon(bus.shutdown(Duration::from_secs(10))).await;
    let bus = open(&folder).await;
    let next = taking(&bus, 64).await;
    let again: BTreeSet<u32> = receive_all(&next, 26).await.iter().map(number).collect();
    assert!(again.is_disjoint(&page[..4].iter().map(number).collect()));
}

#[tokio::test]
async fn what_is_under_way_when_a_bus_is_cut_off_stays_as_it_was() {
    let (folder, bus) = with_events(10, 10).await;
    let from = taking(&bus, 16).await;
    let page = receive_all(&from, 10).await;
    settle(&from, done(&page[..3])).await;
    let report = soon(bus.shutdown(Duration::ZERO)).await;
    assert_eq!(report.left.iter().map(|left| left.events).sum::<u64>(), 7, "{report}");
    assert!(from.settle(done(&page[3..])).await.into_iter().all(|told| told.is_err()));
    assert_eq!(from.receive(1).await.unwrap_err(), TransportError::Closed);
    drop((from, bus));
    let bus = open(&folder).await;
    let next = receive_all(&taking(&bus, 16).await, 7).await;
    assert!(next.iter().all(|received| received.attempt.get() == 1), "no attempt is charged");
}

#[tokio::test]
async fn a_page_that_is_waited_for_in_vain_takes_nothing_with_it() {
    let (_folder, bus) = with_events(0, 1).await;
    let from = taking(&bus, 16).await;
    for number in 0..20 {
        // Polled, and dropped: at some of these moments its ring was on its way.
        assert!(from.receive(16).now_or_never().is_none());
        publish(&bus, number..number + 1, 1).await;
        let page = receive(&from, 16).await;
        assert_eq!(page.iter().map(super::tests::number).collect::<Vec<_>>(), [number]);
        settle(&from, done(&page)).await;
    }
}

#[tokio::test]
async fn members_share_what_is_there_and_who_leaves_gives_back_to_the_other() {
    let (_folder, bus) = with_events(40, 40).await;
    let (one, other) = (taking(&bus, 64).await, taking(&bus, 64).await);
    let first = receive(&one, 8).await;
    soon(one.close()).await.unwrap();
    let all: BTreeSet<u32> = receive_all(&other, 40).await.iter().map(number).collect();
    assert_eq!(all.len(), 40, "also those that {} had", first.len());
}

#[tokio::test]
async fn middleware_of_the_bus_runs_around_what_is_received_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let stream = Stream::new("orders").capture("orders.#");
    let seen = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counting = Arc::clone(&seen);
    let bus = Bus::open(folder.path())
        .stream(stream)
        .middleware(Stage::Trace, "count", Counting(counting))
        .start()
        .await
        .unwrap();
    publish(&bus, 0..3, 3).await;
    let from = taking(&bus, 16).await;
    let page = receive_all(&from, 3).await;
    settle(&from, done(&page)).await;
    soon(bus.idle()).await;
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 3);
}

/// Counts what passes.
struct Counting(Arc<std::sync::atomic::AtomicU64>);

impl busway_middleware::SyncMiddleware for Counting {
    fn before(&self, _: &mut Delivery) -> busway_middleware::Flow {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        busway_middleware::Flow::Continue
    }
}
