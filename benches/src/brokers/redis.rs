//! Redis streams: one stream, written by pipelines.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamPendingReply, StreamRangeReply, StreamReadReply};
use redis::{AsyncConnectionConfig, Client, Pipeline};
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

/// Connections to one server.
#[derive(Debug)]
pub struct Redis<'a> {
    server: Server,
    runtime: &'a Runtime,
    connections: Vec<MultiplexedConnection>,
    version: String,
}

impl<'a> Redis<'a> {
    /// Connects so many times.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn connect(server: Server, runtime: &'a Runtime, connections: usize) -> Result<Self> {
        let client = Client::open(format!("redis://{}/", server.address))?;
        // A pipeline on a busy machine may take longer than the half second that a client waits unless told otherwise.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(30)));
        let connect = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = runtime.block_on(connect)?;
        let about: String =
            runtime.block_on(redis::cmd("INFO").arg("server").query_async(&mut connection))?;
        let version = about.lines().find_map(|line| line.strip_prefix("redis_version:"));
        let version = format!("{} (redis {})", version.unwrap_or_default().trim(), version_of("redis"));
        let mut connections_made = vec![connection];
        while connections_made.len() < connections {
            let connect = client.get_multiplexed_async_connection_with_config(&config);
            connections_made.push(runtime.block_on(connect)?);
        }
        Ok(Self { server, runtime, connections: connections_made, version })
    }

    fn first(&self) -> Result<MultiplexedConnection> {
        self.connections.first().cloned().context("there is a connection")
    }
}

impl Broker for Redis<'_> {
    fn server(&self) -> Server {
        self.server
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn publish(&self, terms: &Terms, in_flight: usize) -> Result<SyncedLap> {
        let _disk_at_rest = Folder::fresh(self.server.name)?;
        let counts = || Ok(Counts { syncs: 0, written: self.server.written() });
        let lap = flying(terms, in_flight, counts, |until| {
            let publishing = publish(self.connections.clone(), MEASURED, in_flight, until);
            self.runtime.block_on(async { tokio::spawn(publishing).await? })
        })?;
        let mut connection = self.first()?;
        let holding = self.runtime.block_on(holding(&mut connection))?;
        self.runtime.block_on(redis::cmd("DEL").arg(MEASURED).exec_async(&mut connection))?;
        lap.verified(&holding)
    }

    fn fill(&self, events: u64) -> Result<()> {
        // One pipeline at a time: they are to lie in the order of their numbers.
        let publishing = publish(vec![self.first()?], BACKLOG, PIPELINE, Until::number(events));
        self.runtime.block_on(async { tokio::spawn(publishing).await? })
    }

    fn work_through(&self, name: &str, events: u64) -> Result<Lap> {
        let consuming = consume(self.first()?, name.to_owned(), events);
        self.runtime.block_on(async { tokio::spawn(consuming).await? })
    }
}

/// Keeps pipelines on their way that come to so many events together, in turn through all connections.
async fn publish(
    connections: Vec<MultiplexedConnection>,
    stream: &'static str,
    in_flight: usize,
    until: Until,
) -> Result<()> {
    let pipeline = in_flight.min(PIPELINE);
    let mut flying = FuturesUnordered::new();
    let mut connections = connections.iter().cycle();
    loop {
        while flying.len() < in_flight / pipeline
            && let Some(numbers) = until.take(pipeline).or_else(|| until.take(1))
            && let Some(connection) = connections.next()
        {
            let mut connection = connection.clone();
            let mut pipeline = Pipeline::with_capacity(pipeline);
            for number in numbers {
                pipeline.cmd("XADD").arg(stream).arg("*").arg(FIELD).arg(&event(number)[..]).ignore();
            }
            flying.push(async move { pipeline.exec_async(&mut connection).await });
        }
        let Some(answered) = flying.next().await else { return Ok(()) };
        answered?;
    }
}

/// How many events the stream holds, and the newest of the last ones: over several connections they need not come in the order of their numbers.
async fn holding(connection: &mut MultiplexedConnection) -> Result<Holding> {
    let count = redis::cmd("XLEN").arg(MEASURED).query_async(connection).await?;
    let mut newest = redis::cmd("XREVRANGE");
    newest.arg(MEASURED).arg("+").arg("-").arg("COUNT").arg(IN_FLIGHT);
    let newest: StreamRangeReply = newest.query_async(connection).await?;
    let newest = newest.ids.iter().filter_map(|id| {
        let bytes: Vec<u8> = id.get(FIELD)?;
        Some((u64::from_be_bytes(*bytes.first_chunk()?), bytes))
    });
    Ok(Holding { count, last: newest.max() })
}

/// A member of a group: reads a page, and acknowledges each event of it in the same round trip that asks for the next one.
async fn consume(mut connection: MultiplexedConnection, group: String, events: u64) -> Result<Lap> {
    let started = Instant::now();
    redis::cmd("XGROUP").arg("CREATE").arg(BACKLOG).arg(&group).arg("0").exec_async(&mut connection).await?;
    let mut handled = 0;
    let mut seen: Vec<String> = Vec::with_capacity(PIPELINE);
    loop {
        let mut step = Pipeline::with_capacity(2);
        if !seen.is_empty() {
            step.cmd("XACK").arg(BACKLOG).arg(&group).arg(&seen).ignore();
        }
        let read = step.cmd("XREADGROUP").arg("GROUP").arg(&group).arg("member").arg("COUNT").arg(PIPELINE);
        read.arg("STREAMS").arg(BACKLOG).arg(">");
        let (page,): (Option<StreamReadReply>,) = step.query_async(&mut connection).await?;
        seen.clear();
        for id in page.into_iter().flat_map(|page| page.keys).flat_map(|key| key.ids) {
            let bytes: Vec<u8> = id.get(FIELD).context("an event has bytes")?;
            ensure!(is_event(handled, &bytes), "event {handled} is another one");
            handled += 1;
            seen.push(id.id);
        }
        if seen.is_empty() {
            break;
        }
    }
    let elapsed = started.elapsed();
    ensure!(handled == events, "{handled} events were handled of {events}");
    let left: StreamPendingReply =
        redis::cmd("XPENDING").arg(BACKLOG).arg(&group).query_async(&mut connection).await?;
    ensure!(left.count() == 0, "{} events of {group} are not settled", left.count());
    redis::cmd("XGROUP").arg("DESTROY").arg(BACKLOG).arg(&group).exec_async(&mut connection).await?;
    Ok(Lap { handled, lost: 0, elapsed })
}

const MEASURED: &str = "measured";
const BACKLOG: &str = "backlog";
const FIELD: &str = "event";
/// Commands that are sent at once, and events that are read at once.
const PIPELINE: usize = 256;
