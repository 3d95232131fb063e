//! Scrapes: how long a bus with a thousand subscriptions takes to say how it is, and what its events notice of being asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use busway::prelude::*;
use busway::{BusBuilder, Metrics, Stream};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use super::open_loop::{OpenLoop, nanoseconds, p99};
use crate::contest::{Contest, Lap, Question, Unit, interleave_alone};
use crate::durable::folder::Folder;
use crate::inproc::on_bus::version;
use crate::report::Suite;
use crate::sample::Sample;
use crate::terms::{Terms, two_workers};

/// Runs the suite of how long a scrape takes.
///
/// # Errors
/// A bus does not start, or its metrics say nothing of a subscription.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question { name: "operate/scrape", unit: Unit::Milliseconds("ms/scrape"), note: SCRAPE };
    let (runtime, folder) = (two_workers()?, Folder::fresh("busway-scrape")?);
    let memory = Watched::start(&runtime, Bus::memory(), Kept::InMemory)?;
    let stream = Stream::new("load").capture("load.#");
    let durable = Watched::start(&runtime, Bus::open(folder.path()).stream(stream), Kept::InStore)?;
    for watched in [&memory, &durable] {
        watched.handles_one_each()?;
    }
    let scrapes = if terms.is_quick() { 10 } else { 40 };
    let contests = vec![
        Contest::new("busway", version(), |_| memory.scrapes(scrapes)),
        Contest::new("durable", version(), |_| durable.scrapes(scrapes)),
    ];
    let suite = interleave_alone(terms, question, contests)?;
    memory.end()?;
    durable.end()?;
    Ok(vec![suite])
}

/// Runs the suite of what events notice.
///
/// # Errors
/// An event is lost.
pub fn measure_deliveries(terms: &Terms) -> Result<Vec<Suite>> {
    let question =
        Question { name: "operate/scrape-delivery", unit: Unit::Milliseconds("ms, p99"), note: DELIVERY };
    let runtime = two_workers()?;
    let watched = Watched::start(&runtime, Bus::memory(), Kept::InMemory)?;
    let length = Duration::from_millis(if terms.is_quick() { 800 } else { 3_000 });
    let contests = vec![
        Contest::new("busway", version(), |_| watched.p99(length, Scraped::Every(Duration::from_secs(1)))),
        Contest::new("ten-a-second", version(), |_| {
            watched.p99(length, Scraped::Every(Duration::from_millis(100)))
        }),
        Contest::new("without-pause", version(), |_| watched.p99(length, Scraped::Every(Duration::ZERO))),
        Contest::new("unasked", version(), |_| watched.p99(length, Scraped::Never)),
    ];
    let suite = interleave_alone(terms, question, contests)?;
    watched.end()?;
    Ok(vec![suite])
}

/// Where the events of the subscriptions are kept.
#[derive(Debug, Clone, Copy)]
enum Kept {
    InMemory,
    InStore,
}

/// How often somebody asks.
#[derive(Debug, Clone, Copy)]
enum Scraped {
    Never,
    /// So long after the answer to the one before.
    Every(Duration),
}

/// A bus with metrics and a thousand subscriptions by name, each of a topic of its own.
struct Watched<'a> {
    runtime: &'a Runtime,
    bus: Bus,
    metrics: Metrics,
    epoch: Instant,
    latencies: Arc<Mutex<Vec<u64>>>,
}

impl<'a> Watched<'a> {
    fn start(runtime: &'a Runtime, builder: BusBuilder, kept: Kept) -> Result<Self> {
        let (metrics, epoch) = (Metrics::new(), Instant::now());
        let bus = runtime.block_on(builder.metrics(&metrics).start())?;
        let latencies = Arc::new(Mutex::new(Vec::new()));
        for number in 0..SUBSCRIPTIONS {
            let latencies = Arc::clone(&latencies);
            let handle = move |sample: Payload<Sample>| {
                latencies.lock().push(nanoseconds(epoch).saturating_sub(sample.mark));
                std::future::ready(())
            };
            let (subscription, name) = (bus.subscribe(topic(number)), format!("load-{number}"));
            match kept {
                Kept::InMemory => drop(runtime.block_on(subscription.name(&name).to(handle))?),
                Kept::InStore => drop(runtime.block_on(subscription.durable(&name).to(handle))?),
            }
        }
        Ok(Self { runtime, bus, metrics, epoch, latencies })
    }

    /// So that all series are there that ever will be.
    fn handles_one_each(&self) -> Result<()> {
        let drafts = (0..SUBSCRIPTIONS).map(|number| Event::new(topic(number), Sample::new(number)));
        self.runtime.block_on(self.bus.publish_batch(drafts.collect()))?;
        self.runtime.block_on(self.bus.idle());
        let (handled, text) = (self.latencies.lock().len() as u64, self.metrics.render());
        let delivered = text.lines().filter(|line| {
            line.starts_with("busway_events_delivered_total{") && line.contains("outcome=\"done\"")
        });
        let told = delivered.count() as u64;
        ensure!(handled == SUBSCRIPTIONS && told == SUBSCRIPTIONS, "{handled} handled, {told} told of");
        Ok(())
    }

    fn scrapes(&self, scrapes: u64) -> Result<Lap> {
        let started = Instant::now();
        for _ in 0..scrapes {
            ensure!(!std::hint::black_box(self.metrics.render()).is_empty(), "there is nothing to scrape");
        }
        Ok(Lap { handled: scrapes, lost: 0, elapsed: started.elapsed() })
    }

    /// The lap is as long as what one in a hundred events had to wait, from when it was due to its handler.
    fn p99(&self, length: Duration, asked: Scraped) -> Result<Lap> {
        self.latencies.lock().clear();
        let is_over = Arc::new(AtomicBool::new(false));
        let scraper = {
            let (metrics, is_over) = (self.metrics.clone(), Arc::clone(&is_over));
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    match asked {
                        Scraped::Never => thread::park(),
                        Scraped::Every(pause) => {
                            std::hint::black_box(metrics.render());
                            thread::park_timeout(pause);
                        }
                    }
                }
            })
        };
        let topics = (0..SUBSCRIPTIONS).map(|number| Topic::new(topic(number)));
        let load = OpenLoop::start(&self.bus, topics.collect::<std::result::Result<_, _>>()?, self.epoch);
        thread::sleep(length);
        let published = load.end();
        is_over.store(true, Ordering::Relaxed);
        scraper.thread().unpark();
        scraper.join().map_err(|_| anyhow!("the scraper panicked"))?;
        self.runtime.block_on(self.bus.idle());
        let (published, latencies) = (published?.len(), self.latencies.lock());
        ensure!(latencies.len() == published, "{} of {published} events were handled", latencies.len());
        // The first tenth warms caches and queues up.
        let counted = latencies.iter().skip(published / 10).copied();
        Ok(Lap { handled: 1, lost: 0, elapsed: Duration::from_nanos(p99(counted)?) })
    }

    fn end(self) -> Result<()> {
        let report = self.runtime.block_on(self.bus.shutdown(Duration::from_secs(10)));
        ensure!(report.is_drained(), "the bus did not drain: {report}");
        Ok(())
    }
}

fn topic(number: u64) -> String {
    format!("load.t{number}.x")
}

const SUBSCRIPTIONS: u64 = 1_000;
const SCRAPE: &str = "Metrics::render of a bus with 1,000 subscriptions by name, each of which has handled an event; nothing else happens; busway: in memory; \
                      durable: with a cursor in a store, which is read for each of them";
const DELIVERY: &str = "from when an event was due until its handler, one in a hundred; 5,000 events a second, from a thread that sleeps in between, to 1,000 \
                        subscriptions in memory in turn, on two workers; busway: another thread renders the metrics and pauses for a second, again and again; ten-a-second: \
                        it pauses for a tenth of one; without-pause: it never rests; unasked: nobody renders";
