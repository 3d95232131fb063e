//! `JetStream` behind its client, and behind busway.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{self, Context, Message};
use busway::StartAt;
use busway::transport::{Receiver, Reception, Transport};
use busway_event::Filter;
use busway_nats::NatsTransport;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Runtime;

use super::super::server::Server;
use super::super::{Broker, IN_FLIGHT};
use super::{ATTRIBUTES, BATCH, By, CAPTURED, PAGE, TOPIC, attributes, id, payload, verified, version};
use crate::consume::shelf::is_event;
use crate::contest::Lap;
use crate::durable::flight::{Counts, Until, flying};
use crate::durable::folder::Folder;
use crate::durable::lap::{Holding, SyncedLap};
use crate::terms::Terms;

/// One side of the pair, with a connection of its own.
#[derive(Debug)]
pub struct Nats<'a> {
    server: Server,
    runtime: &'a Runtime,
    side: Side,
}

/// Without the runtime, so that tasks may have it.
#[derive(Debug, Clone)]
pub(super) struct Side {
    by: By,
    /// The client's connection; also what looks at what the server holds, for both.
    pub(super) context: Context,
    pub(super) transport: Arc<NatsTransport>,
    subject: String,
}

impl Side {
    /// Connects. The subjects of a side are its own, so that a server holds both.
    pub(super) async fn connect(server: Server, by: By) -> Result<Self> {
        let client = async_nats::connect(server.address.to_string()).await?;
        let mut context = jetstream::new(client);
        context.set_timeout(PATIENCE);
        let prefix = by.name();
        let builder = NatsTransport::builder(&format!("nats://{}", server.address));
        let transport = builder.subject_prefix(prefix).timeout(PATIENCE).connect().await?;
        Ok(Self { by, context, transport: Arc::new(transport), subject: format!("{prefix}.{TOPIC}") })
    }

    /// A stream as the transport makes it, empty.
    pub(super) async fn begin(&self) -> Result<()> {
        drop(self.context.delete_stream(self.by.name()).await);
        Ok(self.transport.prepare(&[self.by.stream()]).await?)
    }

    /// Publishes until there are no more numbers.
    pub(super) async fn publish(self, in_flight: usize, until: Until) -> Result<()> {
        match self.by {
            By::Client => self.publish_alone(in_flight, until).await,
            By::Busway => super::send(&*self.transport.sender().await?, in_flight, until).await,
        }
    }

    /// Answers come in the order of the events, so the oldest one is the one to wait for.
    async fn publish_alone(self, in_flight: usize, until: Until) -> Result<()> {
        let subject = async_nats::Subject::from(self.subject);
        let mut flying = VecDeque::with_capacity(in_flight);
        loop {
            while flying.len() < in_flight
                && let Some(numbers) = until.take(1)
            {
                let publishing =
                    self.context.publish_with_headers(subject.clone(), headers(), payload(numbers.start));
                flying.push_back(publishing.await?);
            }
            let Some(oldest) = flying.pop_front() else { return Ok(()) };
            let acknowledged = oldest.await?;
            ensure!(!acknowledged.duplicate, "an event was there already");
        }
    }

    /// What the stream holds: the last event in the form that both sides write.
    pub(super) async fn holding(&self) -> Result<Holding> {
        let stream = self.context.get_stream(self.by.name()).await?;
        let state = stream.cached_info().state.clone();
        let last = stream.get_raw_message(state.last_sequence).await?;
        ensure!(last.headers.len() == ATTRIBUTES + 2, "the last event has other headers: {:?}", last.headers);
        let number = last.payload.first_chunk().map(|number| u64::from_be_bytes(*number));
        Ok(Holding { count: state.messages, last: number.map(|number| (number, last.payload.to_vec())) })
    }

    /// Reads all events under a new name and acknowledges each, confirmed by the server.
    pub(super) async fn consume(self, name: String, events: u64) -> Result<Lap> {
        let started = Instant::now();
        match self.by {
            By::Client => self.consume_alone(&name, events).await?,
            By::Busway => {
                let receiver = self.receiver(&name).await?;
                super::receive(&receiver, events).await?;
            }
        }
        let elapsed = started.elapsed();
        let stream = self.context.get_stream(self.by.name()).await?;
        let left = stream.consumer_info(&name).await?;
        ensure!(left.num_ack_pending == 0 && left.num_pending == 0, "not all of {name} is settled: {left:?}");
        stream.delete_consumer(&name).await?;
        Ok(Lap { handled: events, lost: 0, elapsed })
    }

    pub(super) async fn receiver(&self, name: &str) -> Result<Arc<dyn Receiver>> {
        let reception = Reception::new(self.by.name(), name, Filter::new(CAPTURED)?);
        let reception = reception.start_at(StartAt::Earliest).in_flight_max(IN_FLIGHT);
        Ok(self.transport.receiver(&reception).await?)
    }

    /// Requests for pages of messages, and confirmed acknowledgements, as many on their way as may be pending. They share the inbox of the client's requests: `double_ack`
    /// would subscribe for each of its own.
    pub(super) async fn consume_alone(&self, name: &str, events: u64) -> Result<()> {
        let stream = self.context.get_stream(self.by.name()).await?;
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            ack_policy: AckPolicy::Explicit,
            max_ack_pending: i64::try_from(IN_FLIGHT)?,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await?;
        let mut messages = consumer.stream().max_messages_per_batch(PAGE).messages().await?;
        let mut settling = FuturesUnordered::new();
        for number in 0..events {
            let message = messages.next().await.context("the messages ended")??;
            ensure!(is_event(number, &message.payload), "event {number} is another one");
            if settling.len() >= IN_FLIGHT {
                settling.next().await.transpose()?;
            }
            settling.push(self.acknowledge(message));
            while let Some(Some(heard)) = futures_util::FutureExt::now_or_never(settling.next()) {
                heard?;
            }
        }
        while let Some(heard) = settling.next().await {
            heard?;
        }
        Ok(())
    }

    async fn acknowledge(&self, message: Message) -> Result<()> {
        let reply = message.reply.clone().context("a message of a stream has a reply")?;
        self.context.client().request(reply, ACK.into()).await?;
        Ok(())
    }
}

/// Those that busway writes, by hand.
fn headers() -> HeaderMap {
    let id = id().to_string();
    let mut headers = HeaderMap::new();
    for (name, value) in NAMES.into_iter().zip(attributes(&id)) {
        headers.insert(name, value.1);
    }
    headers.insert("ce-datacontenttype", CONTENT_TYPE);
    headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
    headers
}

impl<'a> Nats<'a> {
    /// Connects.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn connect(server: Server, runtime: &'a Runtime, by: By) -> Result<Self> {
        Ok(Self { server, runtime, side: runtime.block_on(Side::connect(server, by))? })
    }
}

impl Broker for Nats<'_> {
    fn server(&self) -> Server {
        self.server
    }

    fn version(&self) -> String {
        version(self.side.by, &self.side.context.client().server_info().version, "async-nats")
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
        self.runtime.block_on(self.side.context.delete_stream(self.side.by.name()))?;
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
const NAMES: [&str; ATTRIBUTES] = [
    "ce-specversion",
    "ce-id",
    "ce-source",
    "ce-type",
    "ce-subject",
    "ce-time",
    "ce-schemaversion",
    "ce-priority",
];
pub(super) const CONTENT_TYPE: &str = "application/octet-stream";
const ACK: &str = "+ACK";
/// As of the other contenders, within what a transport takes.
const PATIENCE: Duration = Duration::from_mins(1);
