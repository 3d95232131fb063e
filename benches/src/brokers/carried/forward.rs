//! Forwarding: from a synced log to `JetStream`, beside the client that publishes the same events.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use busway::transport::{
    Capabilities, Receiver, Reception, SendError, Sender, Sent, Transport, TransportError, TransportFuture,
};
use busway_event::AnyEvent;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::super::server::Server;
use super::super::{IN_FLIGHT, NATS_DEFAULT};
use super::nats::Side;
use super::{By, ratios, version};
use crate::consume::backlog;
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::durable::flight::Until;
use crate::durable::folder::Folder;
use crate::report::Suite;
use crate::terms::{Terms, two_workers};

/// Runs the suite. Without a server there is nothing to report, and a line says so.
///
/// # Errors
/// A contender fails, or the server holds something else than it was given.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "brokers/forward",
        unit: Unit::PerSecond("events/s"),
        note: "busway-nats: a synced log of 256-byte events, published before the clock starts, from the start of a new forwarder, 4,096 in flight, \
               until JetStream has acknowledged each event and the bus has settled it; async-nats: the client publishes as many events of as many bytes with the same \
               headers, 4,096 in flight, until the last acknowledgement",
    };
    let Some(server) = Server::named(NATS_DEFAULT.server)? else {
        eprintln!("{}: left out: its server was not started", question.name);
        return Ok(Vec::new());
    };
    let events = if terms.is_quick() { 20_000 } else { 60_000 };
    let runtime = two_workers()?;
    let folder = backlog::make(&runtime, events)?;
    let sides = [By::Busway, By::Client].map(|by| runtime.block_on(Side::connect(server, by)));
    let [busway, client] = sides;
    let (busway, client) = (busway?, client?);
    let says = |by| version(by, &client.context.client().server_info().version, "async-nats");
    let names = AtomicU64::new(0);
    let contests = vec![
        Contest::new("busway-nats", says(By::Busway), |_| {
            let name = format!("lap-{}", names.fetch_add(1, Ordering::Relaxed));
            forward(&runtime, folder.path(), &name, &busway, events)
        }),
        Contest::new("async-nats", says(By::Client), |_| publish(&runtime, &client, events)),
    ];
    let mut suites = interleave(terms, question, contests)?;
    suites.truncate(1);
    if let Some(answer) = suites.first_mut() {
        answer.note = format!("{}; {events} events", answer.note);
        let ratio = ratios(answer, &[("busway-nats", "async-nats")]);
        suites.extend(ratio);
    }
    Ok(suites)
}

fn forward(runtime: &Runtime, log: &Path, name: &str, side: &Side, events: u64) -> Result<Lap> {
    let _disk_at_rest = Folder::fresh("busway-nats")?;
    let (transport, stored) = (Arc::clone(&side.transport), side.clone());
    let name = name.to_owned();
    let log = log.to_owned();
    let forwarding = async move {
        stored.begin().await?;
        let bus = backlog::open(&log, backlog::stream()).await?;
        let way = Way { transport, left: Arc::new(Left { events: events.into(), none: Notify::new() }) };
        let started = Instant::now();
        let forwarder = bus.forwarder(name, "orders.#").in_flight(IN_FLIGHT).to(&way).await?;
        way.left.none.notified().await;
        bus.idle().await;
        let elapsed = started.elapsed();
        let stats = forwarder.stop().await;
        ensure!(stats.carried == events && stats.retried + stats.dead == 0, "{stats:?}");
        backlog::finish(&bus).await?;
        Ok(Lap { handled: events, lost: 0, elapsed })
    };
    let lap = runtime.block_on(async { tokio::spawn(forwarding).await? })?;
    holds(runtime, side, events)?;
    Ok(lap)
}

fn publish(runtime: &Runtime, side: &Side, events: u64) -> Result<Lap> {
    let _disk_at_rest = Folder::fresh("async-nats")?;
    runtime.block_on(side.begin())?;
    let publishing = side.clone().publish(IN_FLIGHT, Until::number(events));
    let started = Instant::now();
    runtime.block_on(async { tokio::spawn(publishing).await? })?;
    let elapsed = started.elapsed();
    holds(runtime, side, events)?;
    Ok(Lap { handled: events, lost: 0, elapsed })
}

fn holds(runtime: &Runtime, side: &Side, events: u64) -> Result<()> {
    let holding = runtime.block_on(side.holding())?;
    let (last, _) = holding.last.context("the stream has a last event")?;
    // Batches that are on their way at once come in no order, for these events have no keys.
    ensure!(holding.count == events && last < events, "{} events, the last {last}", holding.count);
    runtime.block_on(side.begin())
}

/// A transport whose sender counts what the server has taken.
#[derive(Debug)]
struct Way {
    transport: Arc<busway_nats::NatsTransport>,
    left: Arc<Left>,
}

#[derive(Debug)]
struct Left {
    events: AtomicU64,
    none: Notify,
}

#[derive(Debug)]
struct Counting {
    sender: Arc<dyn Sender>,
    left: Arc<Left>,
}

impl Transport for Way {
    fn kind(&self) -> &'static str {
        self.transport.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.transport.capabilities()
    }

    fn prepare<'a>(
        &'a self,
        streams: &'a [busway::Stream],
    ) -> TransportFuture<'a, Result<(), TransportError>> {
        self.transport.prepare(streams)
    }

    fn sender(&self) -> TransportFuture<'_, Result<Arc<dyn Sender>, TransportError>> {
        Box::pin(async {
            let sender = self.transport.sender().await?;
            Ok(Arc::new(Counting { sender, left: Arc::clone(&self.left) }) as Arc<dyn Sender>)
        })
    }

    fn receiver<'a>(
        &'a self,
        reception: &'a Reception,
    ) -> TransportFuture<'a, Result<Arc<dyn Receiver>, TransportError>> {
        self.transport.receiver(reception)
    }

    fn remove<'a>(
        &'a self,
        stream: &'a str,
        name: &'a str,
    ) -> TransportFuture<'a, Result<(), TransportError>> {
        self.transport.remove(stream, name)
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        self.transport.close()
    }
}

impl Sender for Counting {
    fn send(&self, events: Vec<AnyEvent>) -> TransportFuture<'_, Vec<Result<Sent, SendError>>> {
        Box::pin(async {
            let answers = self.sender.send(events).await;
            let taken = answers.iter().filter(|answer| answer.is_ok()).count() as u64;
            if self.left.events.fetch_sub(taken, Ordering::Relaxed) == taken {
                self.left.none.notify_one();
            }
            answers
        })
    }
}
