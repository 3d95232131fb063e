//! NATS `JetStream`: one stream in a file, one connection.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, StorageType, Stream};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::runtime::Runtime;

use super::server::Server;
use super::{Broker, IN_FLIGHT};
use crate::consume::shelf::is_event;
use crate::contest::Lap;
use crate::durable::event::event;
use crate::durable::flight::{Counts, Until, flying};
use crate::durable::folder::Folder;
use crate::durable::lap::{Holding, SyncedLap};
use crate::lockfile::version_of;
use crate::terms::Terms;

/// A connection to one server.
#[derive(Debug)]
pub struct Nats<'a> {
    server: Server,
    runtime: &'a Runtime,
    context: Context,
}

impl<'a> Nats<'a> {
    /// Connects.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn connect(server: Server, runtime: &'a Runtime) -> Result<Self> {
        let client = runtime.block_on(async_nats::connect(server.address.to_string()))?;
        // The context spawns a task.
        let mut context = runtime.block_on(async { jetstream::new(client) });
        // Of 4,096 events that are synced one by one, the last waits longer than the five seconds that a client grants.
        context.set_timeout(PATIENCE);
        Ok(Self { server, runtime, context })
    }

    async fn stream(&self, name: &str) -> Result<Stream> {
        let config = Config {
            name: name.to_owned(),
            subjects: vec![subject(name)],
            storage: StorageType::File,
            ..Config::default()
        };
        Ok(self.context.create_stream(config).await?)
    }
}

impl Broker for Nats<'_> {
    fn server(&self) -> Server {
        self.server
    }

    fn version(&self) -> String {
        let server = self.context.client().server_info().version;
        format!("{server} (async-nats {})", version_of("async-nats"))
    }

    fn publish(&self, terms: &Terms, in_flight: usize) -> Result<SyncedLap> {
        let _disk_at_rest = Folder::fresh(self.server.name)?;
        let stream = self.runtime.block_on(self.stream(MEASURED))?;
        let counts = || Ok(Counts { syncs: 0, written: self.server.written() });
        let lap = flying(terms, in_flight, counts, |until| {
            let publishing = publish(self.context.clone(), MEASURED, in_flight, until);
            self.runtime.block_on(async { tokio::spawn(publishing).await? })
        })?;
        let holding = self.runtime.block_on(holding(&stream))?;
        self.runtime.block_on(self.context.delete_stream(MEASURED))?;
        lap.verified(&holding)
    }

    fn fill(&self, events: u64) -> Result<()> {
        self.runtime.block_on(self.stream(BACKLOG))?;
        let publishing = publish(self.context.clone(), BACKLOG, IN_FLIGHT, Until::number(events));
        self.runtime.block_on(async { tokio::spawn(publishing).await? })
    }

    fn work_through(&self, name: &str, events: u64) -> Result<Lap> {
        let consuming = consume(self.context.clone(), name.to_owned(), events);
        self.runtime.block_on(async { tokio::spawn(consuming).await? })
    }
}

/// Keeps so many publishes on their way. They are sent in order over one connection and acknowledged in that order, so the oldest one is
/// the one to wait for.
async fn publish(context: Context, stream: &str, in_flight: usize, until: Until) -> Result<()> {
    let subject = async_nats::Subject::from(subject(stream));
    let mut flying = VecDeque::with_capacity(in_flight);
    loop {
        while flying.len() < in_flight
            && let Some(numbers) = until.take(1)
        {
            let payload = Bytes::copy_from_slice(&event(numbers.start));
            flying.push_back(context.publish(subject.clone(), payload).await?);
        }
        let Some(oldest) = flying.pop_front() else { return Ok(()) };
        let acknowledged = oldest.await?;
        ensure!(acknowledged.stream == stream, "stored in {}", acknowledged.stream);
    }
}

async fn holding(stream: &Stream) -> Result<Holding> {
    let state = stream.get_info().await?.state;
    let last = stream.get_raw_message(state.last_sequence).await?.payload;
    let number = last.first_chunk().map(|number| u64::from_be_bytes(*number));
    Ok(Holding { count: state.messages, last: number.map(|number| (number, last.to_vec())) })
}

/// A durable pull consumer that acknowledges each event; the last one waits until the server has taken it.
async fn consume(context: Context, name: String, events: u64) -> Result<Lap> {
    let stream = context.get_stream(BACKLOG).await?;
    let config = pull::Config {
        durable_name: Some(name.clone()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: i64::try_from(IN_FLIGHT)?,
        ..pull::Config::default()
    };
    let started = Instant::now();
    let consumer = stream.create_consumer(config).await?;
    let mut messages = consumer.stream().max_messages_per_batch(BATCH).messages().await?;
    let mut handled = 0;
    while handled < events {
        let message = messages.next().await.context("the messages ended")??;
        ensure!(is_event(handled, &message.payload), "event {handled} is another one");
        handled += 1;
        let acknowledged = if handled == events { message.double_ack().await } else { message.ack().await };
        acknowledged.map_err(|error| anyhow!("event {} was not acknowledged: {error}", handled - 1))?;
    }
    let elapsed = started.elapsed();
    let left = consumer.get_info().await?;
    ensure!(left.num_ack_pending == 0 && left.num_pending == 0, "not all of {name} is settled: {left:?}");
    drop(messages);
    stream.delete_consumer(&name).await?;
    Ok(Lap { handled, lost: 0, elapsed })
}

fn subject(stream: &str) -> String {
    format!("{stream}.events")
}

const MEASURED: &str = "measured";
const BACKLOG: &str = "backlog";
const PATIENCE: Duration = Duration::from_mins(1);
/// Messages that a consumer asks for at once.
const BATCH: usize = 1_024;
