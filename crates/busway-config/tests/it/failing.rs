//! Configurations that fail at a broker when they are put in force: what becomes of what was in force before.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use busway_config::Watcher;
use busway_engine::transport::{
    Capabilities, LocalTransport, Receiver, Reception, Sender, Transport, TransportError, TransportFuture,
};
use busway_engine::{Bus, BusBuilder, Stream};
use busway_event::Event;
use busway_observability::Redactor;
use busway_testkit::Gate;
use tempfile::TempDir;

use crate::world::{Log, Number, Seen, config, listening, publish};

/// The way to a bus that fails while it is told to: it lets those wait who ask, and then says that it does not answer.
#[derive(Debug, Clone)]
pub(crate) struct Failing {
    way: LocalTransport,
    gate: Gate,
    is_down: Arc<AtomicBool>,
    is_panicking: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
}

impl Failing {
    fn new(broker: &Bus) -> Self {
        let (is_down, is_panicking, asked) = (Arc::default(), Arc::default(), Arc::default());
        Self { way: LocalTransport::new(broker), gate: Gate::closed(), is_down, is_panicking, asked }
    }

    fn fail(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    async fn answer(&self) -> Result<(), TransportError> {
        assert!(!self.is_panicking.load(Ordering::SeqCst), "nobody knows this broker");
        if !self.is_down.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.gate.pass().await;
        let (address, reason) = ("broker".to_owned(), "it does not answer".to_owned());
        Err(TransportError::Unreachable { address, reason })
    }
}

impl Transport for Failing {
    fn kind(&self) -> &'static str {
        "failing"
    }

    fn capabilities(&self) -> Capabilities {
        self.way.capabilities()
    }

    fn prepare<'a>(&'a self, streams: &'a [Stream]) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            self.answer().await?;
            self.way.prepare(streams).await
        })
    }

    fn sender(&self) -> TransportFuture<'_, Result<Arc<dyn Sender>, TransportError>> {
        self.way.sender()
    }

    fn receiver<'a>(
        &'a self,
        reception: &'a Reception,
    ) -> TransportFuture<'a, Result<Arc<dyn Receiver>, TransportError>> {
        Box::pin(async move {
            self.answer().await?;
            self.way.receiver(reception).await
        })
    }

    fn remove<'a>(
        &'a self,
        stream: &'a str,
        name: &'a str,
    ) -> TransportFuture<'a, Result<(), TransportError>> {
        self.way.remove(stream, name)
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        self.way.close()
    }
}

/// A broker, the way to it, and a service with this configuration whose handlers note what they are given.
pub(crate) struct World {
    pub(crate) broker: Bus,
    pub(crate) way: Failing,
    pub(crate) bus: Bus,
    pub(crate) seen: Seen,
    _folders: [TempDir; 2],
}

pub(crate) async fn started(text: &str) -> World {
    built(text, |builder| builder).await
}

async fn built(text: &str, more: impl FnOnce(BusBuilder) -> BusBuilder) -> World {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let stream = Stream::new("orders").capture("orders.#");
    let broker = Bus::open(folders[0].path()).stream(stream).producer("broker").start().await.unwrap();
    let (seen, way) = (Seen::default(), Failing::new(&broker));
    let builder = Bus::open(folders[1].path()).producer("shop").transport("nats", way.clone());
    let builder = ["one", "two"].into_iter().fold(builder, |builder, name| seen.register(builder, name));
    let builder = config(text).configure(more(builder));
    let bus = builder.start().await.unwrap_or_else(|error| panic!("{error}"));
    World { broker, way, bus, seen, _folders: folders }
}

pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
}

/// Applies until the broker is asked for something, which it does not answer.
async fn asked(way: &Failing, mut applying: Pin<&mut impl Future<Output: std::fmt::Debug>>) {
    tokio::select! {
        outcome = &mut applying => panic!("nobody has answered: {outcome:?}"),
        () = way.gate.reached(1) => {}
    }
}

const STREAMS: &str = "streams: { orders: { capture: [orders.#] } }\n";
pub(crate) const AT: &str = "at: { transport: nats, stream: orders, subscription: there }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_was_to_go_is_given_what_is_published_while_a_broker_does_not_answer() {
    let wanted = [
        format!("{STREAMS}routes: {{ there: {{ filter: orders.#, handler: two, {AT} }} }}\n"),
        format!("{STREAMS}carriers: {{ orders: {{ transport: nats, mode: mirror }} }}\n"),
    ];
    for wanted in wanted {
        let before = format!("{STREAMS}routes: {{ audit: {{ filter: audit, handler: one }} }}\n");
        let World { way, bus, seen, .. } = &started(&before).await;
        way.fail(true);
        let wanted = config(&wanted);
        let applying = wanted.apply(bus);
        tokio::pin!(applying);
        asked(way, applying.as_mut()).await;
        publish(bus, "audit", 1).await;
        until(|| seen.len() == 1).await;
        way.gate.open();
        let refused = applying.await.unwrap_err().to_string();
        assert!(refused.contains("it does not answer"), "{refused}");
        publish(bus, "audit", 2).await;
        until(|| seen.len() == 2).await;
        assert_eq!(seen.take(), [("one", 1), ("one", 2)]);
        assert!(config(&before).pending(bus).await.is_empty(), "what was in force is");
        way.fail(false);
        wanted.apply(bus).await.unwrap_or_else(|error| panic!("{error}"));
        publish(bus, "audit", 3).await;
        bus.idle().await;
        assert_eq!(seen.take(), [], "now it is gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_was_renamed_has_its_name_back_when_a_broker_does_not_answer() {
    let routes = |name: &str, more: &str| {
        format!(
            "routes: {{ {name}: {{ filter: audit, handler: two }}, there: {{ filter: orders.#, handler: one, {AT}{more} }} }}\n"
        )
    };
    let before = routes("a", "");
    let World { way, bus, seen, .. } = &started(&before).await;
    way.fail(true);
    let wanted = config(&routes("b", ", limits: { concurrency: 2 }"));
    let applying = wanted.apply(bus);
    tokio::pin!(applying);
    asked(way, applying.as_mut()).await;
    publish(bus, "audit", 1).await;
    way.fail(false);
    way.gate.open();
    assert!(applying.await.is_err());
    publish(bus, "audit", 2).await;
    until(|| seen.len() >= 2).await;
    bus.idle().await;
    assert_eq!(seen.take(), [("two", 1), ("two", 2)], "once each");
    let stats = bus.stats();
    assert!(stats.subscription("a").is_some() && stats.subscription("b").is_none(), "{stats}");
    assert!(config(&before).pending(bus).await.is_empty(), "what was in force is");
}

#[tokio::test]
async fn what_is_said_of_a_way_back_that_fails_passes_the_redaction_of_the_bus() {
    let log = Log::default();
    let lines = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).without_time().finish();
    let _guard = listening(lines);
    let there =
        |more: &str| format!("routes: {{ there: {{ filter: orders.#, handler: one, {AT}{more} }} }}\n");
    let secret = Redactor::new().value("does not answer");
    let World { way, bus, .. } = &built(&there(""), |builder| builder.redact(secret)).await;
    way.gate.open();
    way.fail(true);
    config(&there(", limits: { concurrency: 2 }")).apply(bus).await.unwrap_err();
    let written = log.take();
    assert!(written.contains("could not be restored as a whole"), "{written}");
    assert!(!written.contains("does not answer"), "{written}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_back_that_panics_is_said_and_the_next_configuration_makes_all_whole() {
    let carried = |mode: &str| {
        let carriers = format!("carriers: {{ orders: {{ transport: nats, mode: {mode} }} }}\n");
        format!("{STREAMS}{carriers}routes: {{ audit: {{ filter: audit, handler: one }} }}\n")
    };
    let before = carried("mirror");
    let World { way, bus, seen, .. } = &started(&before).await;
    way.is_panicking.store(true, Ordering::SeqCst);
    let refused = config(&carried("compare")).apply(bus).await.unwrap_err().to_string();
    assert!(refused.contains("nobody knows this broker"), "{refused}");
    assert!(refused.contains("what was to take it back panicked"), "{refused}");
    publish(bus, "audit", 1).await;
    until(|| seen.len() == 1).await;
    way.is_panicking.store(false, Ordering::SeqCst);
    config(&before).apply(bus).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(config(&before).pending(bus).await.is_empty());
    publish(bus, "audit", 2).await;
    until(|| seen.len() == 2).await;
    assert_eq!(seen.take(), [("one", 1), ("one", 2)]);
}

/// A configuration that fails at its broker, and is taken back.
pub(crate) async fn taken_back(way: &Failing, bus: &Bus, text: &str) {
    way.fail(true);
    let wanted = config(text);
    let applying = wanted.apply(bus);
    tokio::pin!(applying);
    asked(way, applying.as_mut()).await;
    // The way back is free again.
    way.fail(false);
    way.gate.open();
    assert!(applying.await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_comes_back_knows_what_it_had_done() {
    let there = |more: &str| {
        let once = "idempotency: { by: metadata, fields: [order] }";
        format!("routes: {{ there: {{ filter: orders.#, handler: one, {once}, {AT}{more} }} }}\n")
    };
    let World { broker, way, bus, seen, .. } = &started(&there("")).await;
    let place = async |number| {
        broker.publish(Event::new("orders.made", Number(number)).meta("order", "7")).await.unwrap();
    };
    place(1).await;
    until(|| seen.len() == 1).await;
    taken_back(way, bus, &there(", limits: { concurrency: 2 }")).await;
    place(2).await;
    broker.publish(Event::new("orders.made", Number(3)).meta("order", "8")).await.unwrap();
    until(|| !seen.take().iter().all(|(_, number)| *number == 1)).await;
    place(4).await;
    until(|| bus.stats().subscriptions.iter().any(|one| one.skipped == 2)).await;
    assert_eq!(seen.take(), [], "order 7 was done before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_of_a_route_that_comes_back_has_earned_nothing_by_it() {
    let there = |more: &str| {
        let limit = "middleware: { user: [{ kind: rate_limit, with: { events: 1, per: 1h, burst: 1 } }] }";
        format!("routes: {{ there: {{ filter: orders.#, handler: one, {limit}, {AT}{more} }} }}\n")
    };
    let World { broker, way, bus, seen, .. } = &started(&there("")).await;
    publish(broker, "orders.made", 1).await;
    until(|| seen.len() == 1).await;
    taken_back(way, bus, &there(", limits: { concurrency: 2 }")).await;
    publish(broker, "orders.made", 2).await;
    until(|| seen.len() == 2 || bus.stats().subscriptions.iter().any(|one| one.running == 1)).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.take(), [("one", 1)], "the second one waits for an hour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_tries_what_fails_at_a_broker_less_and_less_often() {
    let World { way, bus, .. } = &started("{}").await;
    let (folder, way) = (tempfile::tempdir().unwrap(), way.clone());
    let path = folder.path().join("busway.yaml");
    std::fs::write(&path, "{}").unwrap();
    let builder = Watcher::of(&path).quiet(Duration::from_millis(5)).poll(Duration::from_millis(10));
    let watcher = builder.environment([]).start(bus).await.unwrap();
    way.fail(true);
    way.gate.open();
    std::fs::write(&path, format!("routes: {{ there: {{ filter: orders.#, handler: one, {AT} }} }}\n"))
        .unwrap();
    // One, two, four and eight polls apart.
    until(|| way.asked.load(Ordering::SeqCst) == 5).await;
    let status = watcher.status();
    assert!(status.looks >= 15, "{status:?}");
    assert_eq!((status.applied, status.refused), (0, 1), "it is said once");
    // Whoever asks does not wait.
    way.fail(false);
    assert_eq!(watcher.look().await.applied, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_tries_again_though_it_is_never_quiet_beside_its_file() {
    let World { way, bus, .. } = &started("{}").await;
    let folder = tempfile::tempdir().unwrap();
    let (path, beside) = (folder.path().join("busway.yaml"), folder.path().join("log"));
    std::fs::write(&path, "{}").unwrap();
    let builder = Watcher::of(&path).quiet(Duration::from_millis(1)).poll(Duration::from_millis(100));
    let watcher = builder.environment([]).start(bus).await.unwrap();
    way.fail(true);
    way.gate.open();
    std::fs::write(&path, format!("routes: {{ there: {{ filter: orders.#, handler: one, {AT} }} }}\n"))
        .unwrap();
    until(|| watcher.status().refused == 1).await;
    way.fail(false);
    let before = watcher.status().looks;
    // It looks after ten times as long as it should be quiet, so some ten times a poll.
    until(|| {
        std::fs::write(&beside, "something").unwrap();
        let status = watcher.status();
        assert!(status.looks < before + 200, "{status:?}");
        status.applied == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_survives_the_panics_of_transports_and_says_what_panicked() {
    let wanted = [
        format!("{STREAMS}routes: {{ there: {{ filter: orders.#, handler: two, {AT} }} }}\n"),
        format!("{STREAMS}carriers: {{ orders: {{ transport: nats, mode: mirror }} }}\n"),
    ];
    for wanted in wanted {
        let before = format!("{STREAMS}routes: {{ audit: {{ filter: audit, handler: one }} }}\n");
        let World { way, bus, seen, .. } = &started(STREAMS).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("busway.yaml");
        std::fs::write(&path, &before).unwrap();
        let watcher = Watcher::of(&path).environment([]).start(bus).await.unwrap();
        way.is_panicking.store(true, Ordering::SeqCst);
        std::fs::write(&path, &wanted).unwrap();
        let refused = watcher.look().await.last_error.unwrap().to_string();
        assert!(refused.contains("panicked: nobody knows this broker"), "{refused}");
        publish(bus, "audit", 1).await;
        until(|| seen.len() == 1).await;
        assert!(config(&before).pending(bus).await.is_empty(), "what was in force is");
        way.is_panicking.store(false, Ordering::SeqCst);
        let status = watcher.look().await;
        assert_eq!((status.applied, status.refused), (1, 1), "{:?}", status.last_error);
    }
}
