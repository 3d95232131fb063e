//! Kafka behind its client, and behind busway, on the mock cluster that comes with the client.
//!
//! The cluster is in the harness's own process, in a thread of its own: what it takes is the same for both sides. It keeps five megabytes of a partition and forgets no topic, so each lap has a
//! cluster of its own, many partitions, and no more events than fit. A fetch brings two megabytes, so that what a client has before its clock starts is little.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use busway::transport::{Received, Receiver, Reception, Transport as _, Verdict};
use busway::{StartAt, Stream};
use busway_event::Filter;
use busway_kafka::KafkaTransport;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, StreamConsumer};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message as _};
use tokio::runtime::Runtime;

use super::super::IN_FLIGHT;
use super::nats::CONTENT_TYPE;
use super::redis::NAMES;
use super::{ATTRIBUTES, BATCH, By, CAPTURED, PAGE, attributes, id, payload, ratios, version};
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::durable::event::{EVENT_BYTES, event};
use crate::durable::flight::Until;
use crate::report::Suite;
use crate::terms::{Terms, two_workers};

/// Runs both suites.
///
/// # Errors
/// A contender fails, or the cluster holds something else than it was given.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let runtime = two_workers()?;
    let mut suites = Vec::new();
    let publishing = Question {
        name: "brokers/kafka-publish",
        unit: Unit::PerSecond("events/s"),
        note: "256-byte events to 32 partitions, 4,096 in flight, until all in-sync replicas have acknowledged the last; an idempotent producer on either side, the same headers",
    };
    suites.extend(pair(terms, publishing, |by| publish(&runtime, by))?);
    let consuming = Question {
        name: "brokers/kafka-consume",
        unit: Unit::PerSecond("events/s"),
        note: "as many events, from the first that a member of a new group is given until the position behind the last is committed; the client commits behind each 1,024",
    };
    suites.extend(pair(terms, consuming, |by| consume(&runtime, by))?);
    Ok(suites)
}

fn pair(terms: &Terms, question: Question, lap: impl Fn(By) -> Result<Lap>) -> Result<Vec<Suite>> {
    let says = |by| version(by, "librdkafka's mock cluster", "rdkafka");
    let contests = vec![
        Contest::new("busway-kafka", says(By::Busway), |_| lap(By::Busway)),
        Contest::new("rdkafka", says(By::Client), |_| lap(By::Client)),
    ];
    let mut suites = interleave(terms, question, contests)?;
    suites.truncate(1);
    if let Some(answer) = suites.first_mut() {
        answer.note = format!("{}; {EVENTS} events", answer.note);
        let ratio = ratios(answer, &[("busway-kafka", "rdkafka")]);
        suites.extend(ratio);
    }
    Ok(suites)
}

/// What a lap has for itself.
struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    side: Side,
}

/// One side of it.
#[derive(Clone)]
struct Side {
    by: By,
    topic: String,
    brokers: String,
    transport: Arc<KafkaTransport>,
    producer: FutureProducer,
}

impl Cluster {
    async fn new(by: By) -> Result<Self> {
        let mock = MockCluster::new(1)?;
        let topic = by.name().to_owned();
        mock.create_topic(&topic, PARTITIONS, 1)?;
        // A mock cluster makes no topics when it is asked to.
        for beside in ["dead", "retry.1s", "retry.10s", "retry.60s", "retry.10m"] {
            mock.create_topic(&format!("{topic}.{beside}"), 1, 1)?;
        }
        let brokers = mock.bootstrap_servers();
        let transport = KafkaTransport::builder(&brokers).timeout(SHORT).setting(FETCHED.0, FETCHED.1);
        let transport = transport.connect().await?;
        let partitions = u16::try_from(PARTITIONS)?;
        transport.prepare(&[Stream::new(&*topic).capture(CAPTURED).partitions(partitions)]).await?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &brokers).set("message.timeout.ms", PATIENCE.as_millis().to_string());
        config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "1");
        let producer = config.create()?;
        let side = Side { by, topic, brokers, transport: Arc::new(transport), producer };
        Ok(Self { mock, side })
    }
}

fn publish(runtime: &Runtime, by: By) -> Result<Lap> {
    let Cluster { mock, side } = runtime.block_on(Cluster::new(by))?;
    let publishing = side.clone().publish(Until::number(EVENTS));
    let started = Instant::now();
    runtime.block_on(async { tokio::spawn(publishing).await? })?;
    let elapsed = started.elapsed();
    ensure!(side.holding()? == EVENTS, "{} events are there of {EVENTS}", side.holding()?);
    drop((side, mock));
    Ok(Lap { handled: EVENTS, lost: 0, elapsed })
}

/// What is consumed was written by busway on either side: both write the same.
fn consume(runtime: &Runtime, by: By) -> Result<Lap> {
    let Cluster { mock, side } = runtime.block_on(Cluster::new(by))?;
    runtime.block_on(side.send(Until::number(EVENTS)))?;
    let elapsed = runtime.block_on(async {
        tokio::spawn(async move {
            match side.by {
                By::Client => side.consume_alone().await,
                By::Busway => side.receive().await,
            }
        })
        .await?
    })?;
    drop(mock);
    Ok(Lap { handled: EVENTS, lost: 0, elapsed })
}

impl Side {
    async fn publish(self, until: Until) -> Result<()> {
        match self.by {
            By::Client => self.publish_alone(until).await,
            By::Busway => self.send(until).await,
        }
    }

    async fn send(&self, until: Until) -> Result<()> {
        super::send(&*self.transport.sender().await?, IN_FLIGHT, until).await
    }

    /// Answers come nearly in the order of the events: of the oldest ones the last is waited for first, so that a task is woken once for all of them.
    async fn publish_alone(self, until: Until) -> Result<()> {
        let mut flying = VecDeque::with_capacity(IN_FLIGHT);
        loop {
            while flying.len() < IN_FLIGHT
                && let Some(numbers) = until.take(1)
            {
                let number = numbers.start;
                let partition = i32::try_from(number % u64::try_from(PARTITIONS)?)?;
                let body = payload(number);
                let record = FutureRecord::<(), _>::to(&self.topic).partition(partition);
                let record = record.payload(&body[..]).headers(headers());
                let sent = self.producer.send_result(record).map_err(|(error, _)| error)?;
                flying.push_back(sent);
            }
            if flying.is_empty() {
                return Ok(());
            }
            let oldest: Vec<_> = flying.drain(..flying.len().min(BATCH)).collect();
            for sent in oldest.into_iter().rev() {
                sent.await?.map_err(|(error, _)| error)?;
            }
        }
    }

    /// How many events the topic was given.
    fn holding(&self) -> Result<u64> {
        let consumer: BaseConsumer = self.config("looks").create()?;
        let ends = (0..PARTITIONS).map(|partition| {
            let (_, end) = consumer.fetch_watermarks(&self.topic, partition, PATIENCE)?;
            Ok(u64::try_from(end)?)
        });
        ends.sum()
    }

    fn config(&self, group: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("group.id", format!("{}-{group}", self.topic));
        config.set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false").set("isolation.level", "read_committed");
        config.set(FETCHED.0, FETCHED.1).set("fetch.message.max.bytes", FETCHED_OF_ONE);
        config.set("fetch.wait.max.ms", "100");
        config.set("queued.max.messages.kbytes", PREFETCHED).set("fetch.queue.backoff.ms", "2");
        config
    }

    async fn consume_alone(self) -> Result<Duration> {
        let consumer: StreamConsumer = self.config("counted").create()?;
        consumer.subscribe(&[&self.topic])?;
        let mut seen = Seen::new();
        let mut started = None;
        while seen.count < EVENTS {
            let message = consumer.recv().await?;
            started.get_or_insert_with(Instant::now);
            // As a program does that wants to know what it is, and which.
            let names = message.headers().context("an event has headers")?;
            let read =
                names.iter().filter(|header| header.value.is_some_and(|value| str::from_utf8(value).is_ok()));
            ensure!(read.count() == ATTRIBUTES + 1, "an event has other headers");
            seen.note(message.payload().context("an event has a payload")?)?;
            consumer.store_offset_from_message(&message)?;
            if seen.count.is_multiple_of(u64::try_from(PAGE)?) {
                consumer.commit_consumer_state(CommitMode::Async)?;
            }
        }
        // Waits until the coordinator has heard.
        tokio::task::block_in_place(|| consumer.commit_consumer_state(CommitMode::Sync))?;
        Ok(started.context("events came")?.elapsed())
    }

    async fn receive(self) -> Result<Duration> {
        let reception =
            Reception::new(&*self.topic, format!("{}-counted", self.topic), Filter::new(CAPTURED)?);
        let reception = reception.start_at(StartAt::Earliest).in_flight_max(IN_FLIGHT);
        let member: Arc<dyn Receiver> = self.transport.receiver(&reception).await?;
        let (mut seen, mut settling) = (Seen::new(), FuturesUnordered::new());
        let mut started = None;
        while seen.count < EVENTS {
            let page = tokio::select! {
                biased;
                Some(heard) = settling.next() => {
                    super::all_heard(heard)?;
                    continue;
                }
                page = member.receive(PAGE) => page?,
            };
            started.get_or_insert_with(Instant::now);
            let mut verdicts = Vec::with_capacity(page.len());
            for Received { id, event, .. } in page {
                let event = event.map_err(|unreadable| anyhow!("no event: {}", unreadable.reason))?;
                seen.note(&event.encoded(EVENT_BYTES)?.bytes)?;
                verdicts.push((id, Verdict::Done));
            }
            settling.push(member.settle(verdicts));
        }
        while let Some(heard) = settling.next().await {
            super::all_heard(heard)?;
        }
        let elapsed = started.context("events came")?.elapsed();
        member.close().await?;
        Ok(elapsed)
    }
}

/// Which events came: each once, with its own bytes.
struct Seen {
    numbers: Vec<bool>,
    count: u64,
}

impl Seen {
    fn new() -> Self {
        Self { numbers: (0..EVENTS).map(|_| false).collect(), count: 0 }
    }

    fn note(&mut self, bytes: &[u8]) -> Result<()> {
        let number = bytes.first_chunk().map(|number| u64::from_be_bytes(*number)).context("no number")?;
        let seen = usize::try_from(number).ok().and_then(|at| self.numbers.get_mut(at));
        let seen = seen.context("a number that was not sent")?;
        ensure!(!std::mem::replace(seen, true), "event {number} came twice");
        ensure!(*bytes == event(number), "event {number} has other bytes");
        self.count += 1;
        Ok(())
    }
}

/// Those that busway writes, by hand.
fn headers() -> OwnedHeaders {
    let id = id().to_string();
    let mut headers = OwnedHeaders::new_with_capacity(ATTRIBUTES + 1);
    for (key, (_, value)) in NAMES.into_iter().zip(attributes(&id)) {
        headers = headers.insert(Header { key, value: Some(&value) });
    }
    headers.insert(Header { key: "content-type", value: Some(CONTENT_TYPE) })
}

const PARTITIONS: i32 = 32;
/// Half of what the cluster keeps.
const EVENTS: u64 = 96_000;
/// What a fetch brings at most; and of one partition, as busway asks for.
const FETCHED: (&str, &str) = ("fetch.max.bytes", "2200000");
const FETCHED_OF_ONE: &str = "2000000";
/// What a client reads ahead, in KiB: as much as busway has it do.
const PREFETCHED: &str = "16384";
const PATIENCE: Duration = Duration::from_secs(30);
/// Of the transport: a mock cluster does not answer what it is asked about its topics, and a fifth of this is waited for each time.
const SHORT: Duration = Duration::from_secs(5);
