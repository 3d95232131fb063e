//! Comparing what a broker delivers with the log.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::cutover::{Carrier, Compared, CutOverMode};
use busway_engine::transport::{LocalTransport, Transport as _};
use busway_engine::{Bus, Stream};
use busway_event::{AnyEvent, CodecId, Encoded, EventId, Metadata, Parts, Timestamp, Topic};
use busway_testkit::ManualClock;
use tempfile::TempDir;

use super::{open, publish, until};
use crate::world::ends;

fn foreign(id: &str) -> AnyEvent {
    let topic = Topic::new("orders.made").unwrap();
    let metadata = Metadata::draft("other", 1);
    let parts = Parts::new(EventId::foreign("other", id), Timestamp::from_nanos(1), topic, metadata);
    let encoded = Encoded { type_name: "raw".into(), version: 1, codec: CodecId::Raw, bytes: "?".into() };
    AnyEvent::receive(parts, encoded).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_finds_what_is_alike_and_what_only_the_broker_has() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (broker, bus) = (open(&folders[0], "broker").await, open(&folders[1], "one").await);
    let transport = LocalTransport::new(&broker);
    let cut = bus.cut_over("orders", CutOverMode::Compare).await.unwrap();
    let cut = cut.patience(Duration::from_millis(500));
    let carrier = cut.begin(&transport).await.unwrap();
    publish(&bus, "one", 0..50).await;
    let sender = transport.sender().await.unwrap();
    assert!(sender.send(vec![foreign("x")]).await[0].is_ok());
    let compared = || carrier.stats().compared.unwrap();
    until(|| compared().matched == 50 && compared().foreign == 1).await;
    let Compared { missing, changed, overtaken, open, .. } = compared();
    assert_eq!((missing, changed, overtaken, open), (0, 0, 0, 0));
    ends(carrier.stop()).await;
}

/// A service whose patience ends when the clock is advanced. All services are of one program.
async fn service(folder: &TempDir, clock: &ManualClock) -> Bus {
    let stream = Stream::new("orders").capture("orders.#").partitions(2);
    let bus = Bus::open(folder.path()).stream(stream).producer("shop").clock(Arc::new(clock.clone()));
    bus.start().await.unwrap()
}

async fn comparing(bus: &Bus, clock: &ManualClock, broker: &LocalTransport) -> Carrier {
    clock.advance(Duration::from_secs(1));
    bus.cut_over("orders", CutOverMode::Compare).await.unwrap().begin(broker).await.unwrap()
}

fn compared(carrier: &Carrier) -> Compared {
    carrier.stats().compared.unwrap()
}

/// What is open runs out.
async fn at_last(carrier: &Carrier, clock: &ManualClock) -> Compared {
    clock.advance(Duration::from_secs(31));
    until(|| compared(carrier).open == 0).await;
    compared(carrier)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_carrier_has_not_sent_yet_when_a_comparison_begins_is_no_difference() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (clock, broker) = (ManualClock::new(), open(&folders[0], "broker").await);
    let (bus, transport) = (service(&folders[1], &clock).await, LocalTransport::new(&broker));
    publish(&bus, "old", 0..50).await;
    let carrier = comparing(&bus, &clock, &transport).await;
    publish(&bus, "new", 0..50).await;
    until(|| compared(&carrier).matched == 100).await;
    let Compared { missing, foreign, .. } = at_last(&carrier, &clock).await;
    assert_eq!((missing, foreign), (0, 0));
    ends(carrier.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_of_one_program_compare_each_with_its_own_log() {
    let folders: [TempDir; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (clock, broker) = (ManualClock::new(), open(&folders[0], "broker").await);
    let transport = LocalTransport::new(&broker);
    let (one, two) = (service(&folders[1], &clock).await, service(&folders[2], &clock).await);
    let carriers = [comparing(&one, &clock, &transport).await, comparing(&two, &clock, &transport).await];
    publish(&one, "one", 0..30).await;
    publish(&two, "two", 0..30).await;
    for carrier in &carriers {
        until(|| (compared(carrier).matched, compared(carrier).open) == (30, 30)).await;
    }
    for carrier in &carriers {
        // What is the other one's is not in this one's log.
        let Compared { missing, foreign, .. } = at_last(carrier, &clock).await;
        assert_eq!((missing, foreign), (0, 30));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_that_ends_and_begins_again_under_load_finds_nothing() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (clock, broker) = (ManualClock::new(), open(&folders[0], "broker").await);
    let (bus, transport) = (service(&folders[1], &clock).await, LocalTransport::new(&broker));
    let compares = async {
        for _ in 0..5 {
            let carrier = comparing(&bus, &clock, &transport).await;
            until(|| compared(&carrier).matched >= 100).await;
            let found = ends(carrier.stop()).await.compared.unwrap();
            assert_eq!((found.missing, found.foreign), (0, 0));
        }
    };
    tokio::join!(publish(&bus, "load", 0..900), compares);
    let carrier = comparing(&bus, &clock, &transport).await;
    until(|| broker.stats().published == 900).await;
    ends(carrier.stop()).await;
    let carrier = comparing(&bus, &clock, &transport).await;
    publish(&bus, "last", 0..50).await;
    until(|| compared(&carrier).matched >= 50).await;
    let found = at_last(&carrier, &clock).await;
    assert_eq!((found.matched, found.missing, found.foreign), (50, 0, 0));
}

/// Subscriptions at the broker, and here, besides the carrier's.
async fn subscribed(bus: &Bus) -> Vec<String> {
    let names = bus.cursors().await.unwrap().into_iter().map(|standing| standing.name);
    names.filter(|name| name != "orders-carrier").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_a_comparison_leaves_nothing_of_it_here_or_at_the_broker() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (clock, broker) = (ManualClock::new(), open(&folders[0], "broker").await);
    let (bus, transport) = (service(&folders[1], &clock).await, LocalTransport::new(&broker));
    for mode in [CutOverMode::Mirror, CutOverMode::Local, CutOverMode::Remote] {
        for _ in 0..2 {
            let carrier = comparing(&bus, &clock, &transport).await;
            assert_eq!((subscribed(&broker).await.len(), subscribed(&bus).await.len()), (1, 1));
            ends(carrier.stop()).await;
        }
        let carrier = bus.cut_over("orders", mode).await.unwrap().begin(&transport).await.unwrap();
        assert_eq!((subscribed(&broker).await, subscribed(&bus).await), (vec![], vec![]), "{mode:?}");
        ends(carrier.stop()).await;
    }
}
