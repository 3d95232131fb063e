//! Bridges and remote subscriptions over brokers that are away again and again. A mock cluster keeps what it was told while nobody can ask it.

use std::collections::{HashMap, HashSet};
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use busway_engine::bridge::{Bridge, BridgeState};
use busway_engine::transport::{Reception, Transport as _};
use busway_engine::{Bus, StartAt, Stream};
use busway_event::{Event, Filter, Raw};
use busway_kafka::KafkaTransport;
use busway_testkit::conformance::kills_wanted;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::world::{PATIENCE, orders};

/// How often the brokers go.
fn kills() -> u32 {
    u32::try_from(kills_wanted()).unwrap()
}

/// Events of one of their lives.
const EVENTS: u32 = 100;
/// The longest time between two attempts.
const SOON: Duration = Duration::from_millis(200);
const KEYS: u32 = 7;

async fn connect() -> (Cluster, KafkaTransport) {
    let cluster = Cluster::of(1);
    cluster.make("orders", 4);
    let transport = cluster.builder().timeout(Duration::from_secs(1)).connect().await.unwrap();
    transport.prepare(&[orders(4)]).await.unwrap();
    (cluster, transport)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingest_and_a_forwarder_lose_nothing_and_keep_order_while_brokers_go_again_and_again() {
    let (cluster, transport) = connect().await;
    let (elsewhere, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (source, bus) = (open(&elsewhere).await, open(&place).await);
    let forwarder = source.forwarder("to-kafka", "orders.#").longest_wait(SOON).to(&transport).await.unwrap();
    let ingest = bus.ingest(all("log")).longest_wait(SOON).from(&transport).await.unwrap();
    let seen = Seen::default();
    let into = seen.clone();
    let seeing = bus.subscribe("orders.#").durable("seen").start_at(StartAt::Earliest);
    let _seeing = seeing.to(move |event: Event<Raw>| into.keep(&event)).await.unwrap();
    for round in 0..kills() {
        // Each of these is awaited to its receipt, whether brokers are there or not.
        publish(&source, round * EVENTS..round * EVENTS + EVENTS / 2).await;
        until(|| forwarder.stats().carried > u64::from(round * EVENTS)).await;
        until(|| ingest.stats().carried > u64::from(round * EVENTS)).await;
        cluster.mock().broker_down(-1).unwrap();
        publish(&source, round * EVENTS + EVENTS / 2..(round + 1) * EVENTS).await;
        until(|| is_waiting(&forwarder)).await;
        cluster.mock().broker_up(-1).unwrap();
    }
    until(|| forwarder.stats().carried == u64::from(kills() * EVENTS)).await;
    until(|| seen.count() == (kills() * EVENTS) as usize).await;
    let stats = forwarder.stop().await;
    assert_eq!(stats.dead, 0, "{stats:?}");
    assert!(stats.retried >= u64::from(kills()), "the outages were noticed: {stats:?}");
    assert_eq!(ingest.stop().await.dead, 0);
    seen.in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_subscription_handles_all_in_order_while_brokers_go_again_and_again() {
    let (cluster, transport) = connect().await;
    let place = tempfile::tempdir().unwrap();
    let source = open(&place).await;
    let forwarder = source.forwarder("to-kafka", "orders.#").longest_wait(SOON).to(&transport).await.unwrap();
    let bus = Bus::memory().start().await.unwrap();
    let seen = Seen::default();
    let into = seen.clone();
    let remote = bus.subscribe("orders.#").on(&transport, "orders", "stock").start_at(StartAt::Earliest);
    let remote = remote.in_flight_max(32);
    let _remote = remote.to(move |event: Event<Raw>| into.keep(&event)).await.unwrap();
    for round in 0..kills() {
        publish(&source, round * EVENTS..round * EVENTS + EVENTS / 2).await;
        until(|| seen.count() > (round * EVENTS) as usize).await;
        cluster.mock().broker_down(-1).unwrap();
        publish(&source, round * EVENTS + EVENTS / 2..(round + 1) * EVENTS).await;
        until(|| is_waiting(&forwarder)).await;
        cluster.mock().broker_up(-1).unwrap();
    }
    until(|| seen.count() == (kills() * EVENTS) as usize).await;
    seen.in_order();
}

async fn open(place: &TempDir) -> Bus {
    let stream = Stream::new("orders").capture("orders.#");
    Bus::open(place.path()).stream(stream).producer("shop").start().await.unwrap()
}

async fn publish(bus: &Bus, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let draft = Event::new("orders.made", Raw::from(number.to_string()));
        bus.publish(draft.key(format!("k{}", number % KEYS))).await.unwrap();
    }
}

fn is_waiting(bridge: &Bridge) -> bool {
    matches!(bridge.stats().state, BridgeState::Waiting { .. })
}

fn all(name: &str) -> Reception {
    let filter = Filter::new("orders.#").unwrap();
    Reception::new("orders", name, filter).start_at(StartAt::Earliest).in_flight_max(32)
}

/// What was handled, number and key. Kafka knows no ids: what was sent again is there again.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    came: Vec<(u32, String)>,
    numbers: HashSet<u32>,
}

impl Seen {
    fn keep(&self, event: &Event<Raw>) -> Ready<()> {
        let number = String::from_utf8(event.payload().0.to_vec()).unwrap().parse().unwrap();
        let key = event.key().map(|key| key.as_str().to_owned()).unwrap_or_default();
        let mut all = self.0.lock();
        all.came.push((number, key));
        all.numbers.insert(number);
        ready(())
    }

    fn count(&self) -> usize {
        self.0.lock().numbers.len()
    }

    /// Of each key the numbers rise, where they came first.
    fn in_order(&self) {
        let (mut known, mut last) = (HashSet::new(), HashMap::new());
        for (number, key) in &self.0.lock().came {
            if known.insert(*number)
                && let Some(before) = last.insert(key.clone(), *number)
            {
                assert!(before < *number, "of {key}, {number} came behind {before}");
            }
        }
        assert_eq!(last.len(), KEYS as usize);
    }
}

async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}
