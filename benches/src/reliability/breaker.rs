//! Circuit breakers: what a closed one costs each event, and what an open one costs those who have nothing to do with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use busway::prelude::*;
use busway::{Force, Stream};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::time::{MissedTickBehavior, interval};

use super::few_rounds;
use super::in_memory::{counting, in_chunks};
use crate::consume::backlog;
use crate::contest::{Contest, Lap, Question, Unit, above, interleave_alone};
use crate::durable::folder::Folder;
use crate::inproc::on_bus::{TOPIC, start, version};
use crate::report::Suite;
use crate::sample::Sample;
use crate::terms::{CAPACITY, Terms, one_thread, two_workers};

/// Runs the suite of a closed breaker.
///
/// # Errors
/// A contender fails.
pub fn measure_closed(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "reliability/breaker-closed",
        unit: Unit::Nanoseconds("ns/event"),
        note: "events to a subscription in memory with an async handler that does nothing, 512 published and then handled, on one thread; guarded: with \
               a breaker, closed; passing: with a sync middleware in its place that does nothing; bare: with neither; busway: guarded above \
               passing, the asking and the recording; stage: guarded above bare, so what any sync middleware costs is in it",
    };
    let contests = vec![
        Contest::new("guarded", version(), |messages| events(messages, Around::Breaker)),
        Contest::new("passing", version(), |messages| events(messages, Around::Passing)),
        Contest::new("bare", version(), |messages| events(messages, Around::Nothing)),
    ];
    let suite = interleave_alone(terms, question, contests)?;
    let suite = above(suite, "bare", &[("stage", "guarded")]);
    Ok(vec![above(suite, "passing", &[("busway", "guarded")])])
}

/// What is around the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Around {
    /// A closed breaker.
    Breaker,
    /// A sync middleware that does nothing.
    Passing,
    /// Nothing.
    Nothing,
}

struct Pass;

impl SyncMiddleware for Pass {}

/// So many events through a handler with this around it.
///
/// # Errors
/// One is not handled.
pub fn events(messages: u64, around: Around) -> Result<Lap> {
    let runtime = one_thread()?;
    let bus = start(&runtime)?;
    let (handled, counting) = counting();
    let subscription = bus.subscribe(TOPIC).capacity(CAPACITY).overflow(Overflow::Block(None));
    let subscription = match around {
        Around::Breaker => subscription.breaker(Breaker::default()),
        Around::Passing => subscription.middleware(Stage::Breaker, "pass", Pass),
        Around::Nothing => subscription,
    };
    runtime.block_on(subscription.to(counting))?;
    let publisher = bus.publisher::<Sample>(TOPIC)?;
    let publish = |number| Ok(publisher.try_publish(Sample::new(number)).map(drop)?);
    let (all, elapsed) = in_chunks(&runtime, &bus, messages, publish)?;
    let handled = handled.load(Ordering::Relaxed);
    ensure!(handled == all, "{handled} of {all} events were handled");
    Ok(Lap { handled: messages, lost: 0, elapsed })
}

/// Runs the suite of an open one.
///
/// # Errors
/// An event of another channel is not handled.
pub fn measure_open(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "reliability/open-breaker",
        unit: Unit::Milliseconds("ms, p99"),
        note: "a durable subscription (concurrency 8) with a breaker over 100 topics, an event of each published in a batch, synced, every 20 ms: from \
               when the batch should have been published to the handler, of 99 of the topics; busway: while the channel of the last topic is open, so \
               that its events are parked; closed: while it is not",
    };
    let batches = if terms.is_quick() { 40 } else { 150 };
    let (runtime, folder) = (two_workers()?, Folder::fresh("busway-open-breaker")?);
    let channels = Channels::start(&runtime, &folder)?;
    let contests = vec![
        Contest::new("busway", version(), |_| channels.p99(batches, Force::Open)),
        Contest::new("closed", version(), |_| channels.p99(batches, Force::Closed)),
    ];
    let suite = interleave_alone(&few_rounds(terms), question, contests)?;
    runtime.block_on(backlog::finish(&channels.bus))?;
    Ok(vec![suite])
}

/// A bus with the subscription.
struct Channels<'a> {
    runtime: &'a Runtime,
    bus: Bus,
    epoch: Instant,
    latencies: Arc<Mutex<Histogram<u64>>>,
}

impl<'a> Channels<'a> {
    fn start(runtime: &'a Runtime, folder: &Folder) -> Result<Self> {
        let epoch = Instant::now();
        let latencies = Arc::new(Mutex::new(Histogram::new_with_bounds(1, LONGEST_NS, 3)?));
        let record = {
            let latencies = Arc::clone(&latencies);
            move |sample: Payload<Sample>| {
                if sample.number < OPEN {
                    let latency = nanoseconds(epoch).saturating_sub(sample.mark);
                    latencies.lock().saturating_record(latency);
                }
                std::future::ready(())
            }
        };
        let bus = runtime.block_on(async {
            let bus = backlog::open(folder.path(), Stream::new("orders").capture("orders.#")).await?;
            let subscription = bus.subscribe("orders.#").durable(SUBSCRIPTION).concurrency(8);
            subscription.breaker(Breaker::default()).to(record).await?;
            anyhow::Ok(bus)
        })?;
        Ok(Self { runtime, bus, epoch, latencies })
    }

    /// The lap is as long as the latency that one in a hundred events has or exceeds.
    fn p99(&self, batches: u32, force: Force) -> Result<Lap> {
        self.runtime.block_on(async {
            self.bus.breakers().force(SUBSCRIPTION, &topic(OPEN), force)?;
            self.bus.idle().await;
            self.latencies.lock().reset();
            let topics = (0..=OPEN).map(|number| Topic::new(topic(number)));
            let topics = topics.collect::<std::result::Result<Vec<_>, _>>()?;
            let mut ticks = interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for _ in 0..batches {
                let due = ticks.tick().await.into_std();
                let due = u64::try_from(due.saturating_duration_since(self.epoch).as_nanos())?;
                let event = |(number, topic): (u64, &Topic)| {
                    Event::new(topic, Sample::new(number).marked(due)).key(topic.as_str())
                };
                self.bus.publish_batch((0..).zip(&topics).map(event).collect()).await?;
            }
            self.bus.idle().await;
            let latencies = self.latencies.lock();
            let expected = u64::from(batches) * OPEN;
            ensure!(latencies.len() == expected, "{} of {expected} events were handled", latencies.len());
            let elapsed = Duration::from_nanos(latencies.value_at_quantile(0.99));
            Ok(Lap { handled: 1, lost: 0, elapsed })
        })
    }
}

fn topic(number: u64) -> String {
    format!("orders.shop-{number}.created")
}

fn nanoseconds(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

const SUBSCRIPTION: &str = "mail";
/// The topic whose channel is open: the last of a hundred.
const OPEN: u64 = 99;
/// Five thousand events a second.
const PERIOD: Duration = Duration::from_millis(20);
/// Longer than any that is not a failure.
const LONGEST_NS: u64 = 60_000_000_000;
