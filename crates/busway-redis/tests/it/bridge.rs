//! Bridges and remote subscriptions over a server that is killed and started again.

use std::collections::{HashMap, HashSet};
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use busway_engine::bridge::{Bridge, BridgeState};
use busway_engine::remote::Members;
use busway_engine::transport::{Reception, Transport};
use busway_engine::{Bus, StartAt, Stream};
use busway_event::{Event, Filter, Raw};
use busway_redis::RedisTransport;
use busway_testkit::conformance::kills_wanted;
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::server::Server;
use crate::world::{A_WHILE, orders};

async fn connect(server: &Server) -> RedisTransport {
    let transport = RedisTransport::builder(&server.url()).timeout(Duration::from_millis(500));
    let transport = transport.connect().await.unwrap();
    transport.prepare(&[orders()]).await.unwrap();
    transport
}

/// How often the server dies.
fn kills() -> u32 {
    u32::try_from(kills_wanted()).unwrap()
}

/// Events of one of its lives.
const EVENTS: u32 = 100;
/// The longest time between two attempts.
const SOON: Duration = Duration::from_millis(200);
const KEYS: u32 = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_forwarder_loses_nothing_and_keeps_order_while_the_server_is_killed_again_and_again() {
    let mut server = Server::start().await;
    let transport = connect(&server).await;
    let place = tempfile::tempdir().unwrap();
    let bus = open(&place).await;
    let forwarder = bus.forwarder("to-redis", "orders.#").longest_wait(SOON).to(&transport).await.unwrap();
    for round in 0..kills() {
        // Each of these is awaited to its receipt, whether the server is there or not.
        publish(&bus, round * EVENTS..round * EVENTS + EVENTS / 2).await;
        until(|| forwarder.stats().carried > u64::from(round * EVENTS)).await;
        server.kill();
        publish(&bus, round * EVENTS + EVENTS / 2..(round + 1) * EVENTS).await;
        until(|| is_waiting(&forwarder)).await;
        server.start_again().await;
    }
    until(|| forwarder.stats().carried == u64::from(kills() * EVENTS)).await;
    let stats = forwarder.stop().await;
    assert_eq!(stats.dead, 0, "{stats:?}");
    assert!(stats.retried >= u64::from(kills()), "the outages were noticed: {stats:?}");
    // What was taken and not heard of is there once: the server knows its id.
    let there = all_there(&transport).await;
    assert_eq!(there.len(), (kills() * EVENTS) as usize);
    in_order(&there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_an_ingest_loses_nothing_and_keeps_order_while_the_server_is_killed_again_and_again() {
    let mut server = Server::start().await;
    let transport = connect(&server).await;
    // What is sent comes out of a log too, whose keys are those of the events.
    let (elsewhere, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (source, bus) = (open(&elsewhere).await, open(&place).await);
    let forwarder = source.forwarder("to-redis", "orders.#").longest_wait(SOON).to(&transport).await.unwrap();
    let reception = all("log").ack_wait(Duration::from_secs(2)).in_flight_max(32);
    let ingest = bus.ingest(reception).longest_wait(SOON).from(&transport).await.unwrap();
    let seen = Seen::default();
    let into = seen.clone();
    let seeing = bus.subscribe("orders.#").durable("seen").start_at(StartAt::Earliest);
    let _seeing = seeing.to(move |event: Event<Raw>| into.keep(&event)).await.unwrap();
    for round in 0..kills() {
        publish(&source, round * EVENTS..(round + 1) * EVENTS).await;
        until(|| ingest.stats().carried > u64::from(round * EVENTS)).await;
        server.kill();
        until(|| is_waiting(&ingest)).await;
        server.start_again().await;
    }
    until(|| seen.0.lock().len() >= (kills() * EVENTS) as usize).await;
    until(|| forwarder.stats().carried == u64::from(kills() * EVENTS)).await;
    assert_eq!(ingest.stop().await.dead, 0);
    bus.idle().await;
    let seen = seen.0.lock().clone();
    assert_eq!(seen.len(), (kills() * EVENTS) as usize, "the log has each of them once");
    in_order(&seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_a_remote_subscription_handles_all_while_the_server_is_killed_again_and_again() {
    let mut server = Server::start().await;
    let transport = connect(&server).await;
    let place = tempfile::tempdir().unwrap();
    let source = open(&place).await;
    let forwarder = source.forwarder("to-redis", "orders.#").longest_wait(SOON).to(&transport).await.unwrap();
    let bus = Bus::memory().start().await.unwrap();
    let seen = Seen::default();
    let into = seen.clone();
    let remote = bus.subscribe("orders.#").on(&transport, "orders", "stock").members(Members::One);
    let remote = remote.start_at(StartAt::Earliest).ack_wait(Duration::from_secs(2)).in_flight_max(32);
    let _remote = remote.to(move |event: Event<Raw>| into.keep(&event)).await.unwrap();
    for round in 0..kills() {
        publish(&source, round * EVENTS..(round + 1) * EVENTS).await;
        until(|| seen.0.lock().len() > (round * EVENTS) as usize).await;
        server.kill();
        until(|| is_waiting(&forwarder) || forwarder.stats().carried == u64::from((round + 1) * EVENTS))
            .await;
        server.start_again().await;
    }
    let all_numbers = || seen.0.lock().iter().map(|(number, _)| *number).collect::<HashSet<_>>();
    until(|| all_numbers().len() == (kills() * EVENTS) as usize).await;
    // What was handled and not settled came again; told by its id it is no other event.
    let (mut known, mut first) = (HashSet::new(), seen.0.lock().clone());
    first.retain(|(number, _)| known.insert(*number));
    in_order(&first);
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
    Reception::new("orders", name, Filter::new("orders.#").unwrap()).start_at(StartAt::Earliest)
}

/// Number and key of all that the server has.
async fn all_there(transport: &dyn Transport) -> Vec<(u32, String)> {
    let receiver = transport.receiver(&all("witness").in_flight_max(4_096)).await.unwrap();
    let mut there = Vec::new();
    while let Ok(some) = tokio::time::timeout(A_WHILE, receiver.receive(256)).await {
        there.extend(some.unwrap().iter().map(|received| {
            let event = received.event.as_ref().unwrap();
            let bytes = event.encoded(1 << 20).unwrap().bytes.clone();
            let key = event.key().map(|key| key.as_str().to_owned()).unwrap_or_default();
            (String::from_utf8(bytes.to_vec()).unwrap().parse().unwrap(), key)
        }));
    }
    there
}

/// Of each key the numbers rise.
fn in_order(all: &[(u32, String)]) {
    let mut last: HashMap<&str, u32> = HashMap::new();
    for (number, key) in all {
        if let Some(before) = last.insert(key, *number) {
            assert!(before < *number, "of {key}, {number} came behind {before}");
        }
    }
    assert_eq!(last.len(), KEYS as usize);
}

/// What was handled: number and key.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(u32, String)>>>);

impl Seen {
    fn keep(&self, event: &Event<Raw>) -> Ready<()> {
        let number = String::from_utf8(event.payload().0.to_vec()).unwrap().parse().unwrap();
        let key = event.key().map(|key| key.as_str().to_owned()).unwrap_or_default();
        self.0.lock().push((number, key));
        ready(())
    }
}

async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
}
