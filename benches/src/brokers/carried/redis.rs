//! Redis streams behind their client, and behind busway.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use busway::StartAt;
use busway::transport::{Reception, Transport};
use busway_event::Filter;
use busway_redis::RedisTransport;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamPendingReply, StreamRangeReply, StreamReadReply};
use redis::{AsyncConnectionConfig, Client, Pipeline};
use tokio::runtime::Runtime;

use super::super::server::Server;
use super::super::{Broker, IN_FLIGHT};
use super::nats::CONTENT_TYPE;
use super::{ATTRIBUTES, BATCH, By, CAPTURED, attributes, id, payload, verified, version};
use crate::consume::shelf::is_event;
use crate::contest::Lap;
use crate::durable::flight::{Counts, Until, flying};
use crate::durable::folder::Folder;
use crate::durable::lap::{Holding, SyncedLap};
use crate::terms::Terms;

/// One side of the pair, with a connection of its own.
#[derive(Debug)]
pub struct Redis<'a> {
    server: Server,
    runtime: &'a Runtime,
    version: String,
    side: Side,
}

/// Without the runtime, so that tasks may have it.
#[derive(Clone)]
pub(super) struct Side {
    by: By,
    /// The client's connection; also what looks at what the server holds, for both.
    connection: MultiplexedConnection,
    transport: RedisTransport,
    /// Where the transport keeps the stream's one partition.
    key: String,
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side").field("by", &self.by).finish_non_exhaustive()
    }
}

impl Side {
    /// Connects.
    pub(super) async fn connect(server: Server, by: By) -> Result<Self> {
        let url = format!("redis://{}/", server.address);
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let connection = Client::open(&*url)?.get_multiplexed_async_connection_with_config(&config).await?;
        let transport = RedisTransport::builder(&url).prefix(PREFIX).timeout(PATIENCE).connect().await?;
        Ok(Self { by, connection, transport, key: format!("{PREFIX}:stream:{}:0", by.name()) })
    }

    /// A stream as the transport makes it, empty.
    pub(super) async fn begin(&self) -> Result<()> {
        let mut connection = self.connection.clone();
        redis::cmd("DEL").arg(&self.key).exec_async(&mut connection).await?;
        Ok(self.transport.prepare(&[self.by.stream()]).await?)
    }

    /// Removes all that this side has left: an event of busway's has its id beside it.
    pub(super) async fn clear(&self) -> Result<()> {
        let mut connection = self.connection.clone();
        Ok(redis::cmd("FLUSHDB").exec_async(&mut connection).await?)
    }

    /// Publishes until there are no more numbers.
    pub(super) async fn publish(self, in_flight: usize, until: Until) -> Result<()> {
        match self.by {
            By::Client => self.publish_alone(in_flight, until).await,
            By::Busway => super::send(&*self.transport.sender().await?, in_flight, until).await,
        }
    }

    async fn publish_alone(self, in_flight: usize, until: Until) -> Result<()> {
        let batch = in_flight.min(BATCH);
        let mut flying = FuturesUnordered::new();
        loop {
            while flying.len() < in_flight / batch
                && let Some(numbers) = until.take(batch).or_else(|| until.take(1))
            {
                let mut pipeline = Pipeline::with_capacity(batch);
                numbers.for_each(|number| self.add(&mut pipeline, number));
                let mut connection = self.connection.clone();
                flying.push(async move { pipeline.exec_async(&mut connection).await });
            }
            let Some(answered) = flying.next().await else { return Ok(()) };
            answered?;
        }
    }

    fn add(&self, pipeline: &mut Pipeline, number: u64) {
        let id = id().to_string();
        pipeline.cmd("XADD").arg(&self.key).arg("*");
        for (name, value) in NAMES.into_iter().zip(attributes(&id)) {
            pipeline.arg(name).arg(value.1);
        }
        pipeline.arg("content-type").arg(CONTENT_TYPE).arg(DATA).arg(&payload(number)[..]).ignore();
    }

    /// What the stream holds: the last event in the form that both sides write.
    async fn holding(&self) -> Result<Holding> {
        let mut connection = self.connection.clone();
        let count = redis::cmd("XLEN").arg(&self.key).query_async(&mut connection).await?;
        let mut newest = redis::cmd("XREVRANGE");
        newest.arg(&self.key).arg("+").arg("-").arg("COUNT").arg(1);
        let newest: StreamRangeReply = newest.query_async(&mut connection).await?;
        let last = newest.ids.first().context("there is an event")?;
        ensure!(last.map.len() == ATTRIBUTES + 2, "the last event has other fields: {:?}", last.map.keys());
        let bytes: Vec<u8> = last.get(DATA).context("an event has bytes")?;
        let number = bytes.first_chunk().map(|number| u64::from_be_bytes(*number));
        Ok(Holding { count, last: number.map(|number| (number, bytes)) })
    }

    /// Reads all events under a new name and acknowledges each.
    pub(super) async fn consume(self, name: String, events: u64) -> Result<Lap> {
        let started = Instant::now();
        match self.by {
            By::Client => self.consume_alone(&name, events).await?,
            By::Busway => {
                let reception = Reception::new(self.by.name(), &*name, Filter::new(CAPTURED)?);
                let reception = reception.start_at(StartAt::Earliest).in_flight_max(IN_FLIGHT);
                super::receive(&self.transport.receiver(&reception).await?, events).await?;
            }
        }
        let elapsed = started.elapsed();
        let mut connection = self.connection.clone();
        let left: StreamPendingReply =
            redis::cmd("XPENDING").arg(&self.key).arg(&name).query_async(&mut connection).await?;
        ensure!(left.count() == 0, "{} events of {name} are not settled", left.count());
        redis::cmd("XGROUP").arg("DESTROY").arg(&self.key).arg(&name).exec_async(&mut connection).await?;
        Ok(Lap { handled: events, lost: 0, elapsed })
    }

    /// A page is acknowledged in the round trip that asks for the next one.
    async fn consume_alone(&self, name: &str, events: u64) -> Result<()> {
        let mut connection = self.connection.clone();
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&self.key).arg(name).arg("0").exec_async(&mut connection).await?;
        let mut handled = 0;
        let mut seen: Vec<String> = Vec::with_capacity(BATCH);
        loop {
            let mut step = Pipeline::with_capacity(2);
            if !seen.is_empty() {
                step.cmd("XACK").arg(&self.key).arg(name).arg(&seen).ignore();
            }
            let read = step.cmd("XREADGROUP").arg("GROUP").arg(name).arg("member").arg("COUNT").arg(BATCH);
            read.arg("STREAMS").arg(&self.key).arg(">");
            let (page,): (Option<StreamReadReply>,) = step.query_async(&mut connection).await?;
            seen.clear();
            for id in page.into_iter().flat_map(|page| page.keys).flat_map(|key| key.ids) {
                let bytes: Vec<u8> = id.get(DATA).context("an event has bytes")?;
                ensure!(is_event(handled, &bytes), "event {handled} is another one");
                handled += 1;
                seen.push(id.id);
            }
            if seen.is_empty() {
                break;
            }
        }
        ensure!(handled == events, "{handled} events were handled of {events}");
        Ok(())
    }
}

impl<'a> Redis<'a> {
    /// Connects.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn connect(server: Server, runtime: &'a Runtime, by: By) -> Result<Self> {
        let side = runtime.block_on(Side::connect(server, by))?;
        let mut connection = side.connection.clone();
        let about: String =
            runtime.block_on(redis::cmd("INFO").arg("server").query_async(&mut connection))?;
        let version = about.lines().find_map(|line| line.strip_prefix("redis_version:"));
        let version = version.unwrap_or_default().trim().to_owned();
        Ok(Self { server, runtime, version, side })
    }
}

impl Broker for Redis<'_> {
    fn server(&self) -> Server {
        self.server
    }

    fn version(&self) -> String {
        version(self.side.by, &self.version, "redis")
    }

    fn publish(&self, terms: &Terms, in_flight: usize) -> Result<SyncedLap> {
        let _disk_at_rest = Folder::fresh(self.server.name)?;
        self.runtime.block_on(self.side.begin())?;
        let counts = || Ok(Counts { syncs: 0, written: self.server.written() });
        let lap = flying(terms, in_flight, counts, |until| {
            let publishing = self.side.clone().publish(in_flight, until);
            self.runtime.block_on(async { tokio::spawn(publishing).await? })
        })?;
        let holding = self.runtime.block_on(self.side.holding())?;
        self.runtime.block_on(self.side.clear())?;
        verified(lap, &holding)
    }

    fn fill(&self, events: u64) -> Result<()> {
        self.runtime.block_on(self.side.begin())?;
        // One batch at a time: they are to lie in the order of their numbers.
        let publishing = self.side.clone().publish(BATCH, Until::number(events));
        self.runtime.block_on(async { tokio::spawn(publishing).await? })
    }

    fn work_through(&self, name: &str, events: u64) -> Result<Lap> {
        let consuming = self.side.clone().consume(name.to_owned(), events);
        self.runtime.block_on(async { tokio::spawn(consuming).await? })
    }
}

/// Of the attributes, in their order.
pub(super) const NAMES: [&str; ATTRIBUTES] = [
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_time",
    "ce_schemaversion",
    "ce_priority",
];
const DATA: &str = "data";
const PREFIX: &str = "carried";
/// As of the other contenders.
const PATIENCE: Duration = Duration::from_secs(30);
