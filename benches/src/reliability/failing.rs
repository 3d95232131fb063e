//! Failing keys: what healthy keys notice of ten thousand others that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use busway::prelude::*;
use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::few_rounds;
use crate::consume::backlog;
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::durable::event::event;
use crate::durable::folder::Folder;
use crate::inproc::on_bus::version;
use crate::report::Suite;
use crate::terms::{Terms, two_workers};

/// Runs the suite.
///
/// # Errors
/// A healthy event is not handled.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "reliability/failing-keys",
        unit: Unit::PerSecond("healthy events/s"),
        note: "a backlog of 100,000 events of a thousand keys (20,000 in short), until the last of them is handled; the handler sleeps for 100 µs, and \
               other settings are as they come; busway: among as many events, one behind the other, of which each tenth is of a key of its own, whose \
               handler fails at once; healthy: without those; both async, on tokio's timer, which counts in milliseconds, concurrency 32; \
               busway-blocking and healthy-blocking: the same on threads, concurrency 4",
    };
    let events = if terms.is_quick() { 20_000 } else { 100_000 };
    let runtime = two_workers()?;
    let (clean, mixed) = (Shop::open(&runtime, events, false)?, Shop::open(&runtime, events, true)?);
    let contests = vec![
        Contest::new("busway", version(), |_| mixed.work(Sleeping::Async)),
        Contest::new("healthy", version(), |_| clean.work(Sleeping::Async)),
        Contest::new("busway-blocking", version(), |_| mixed.work(Sleeping::Blocking)),
        Contest::new("healthy-blocking", version(), |_| clean.work(Sleeping::Blocking)),
    ];
    let suites = interleave(&few_rounds(terms), question, contests)?;
    clean.close()?;
    mixed.close()?;
    Ok(suites)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sleeping {
    Async,
    Blocking,
}

/// A bus on a backlog. The folder is the last to go.
struct Shop<'a> {
    runtime: &'a Runtime,
    bus: Bus,
    healthy: u64,
    laps: AtomicU64,
    _folder: Folder,
}

impl<'a> Shop<'a> {
    fn open(runtime: &'a Runtime, healthy: u64, with_failing: bool) -> Result<Self> {
        let folder = Folder::fresh("busway-failing")?;
        let bus = runtime.block_on(async {
            let bus = backlog::open(folder.path(), backlog::stream()).await?;
            for first in (0..healthy).step_by(BATCH) {
                let mut drafts = Vec::with_capacity(2 * BATCH);
                for number in first..healthy.min(first + BATCH as u64) {
                    let payload = || Raw(Bytes::copy_from_slice(&event(number)));
                    drafts.push(Event::new(HEALTHY, payload()).key(format!("h{}", number % HEALTHY_KEYS)));
                    if with_failing {
                        let key = format!("f{}", number % (healthy / EVENTS_A_KEY));
                        drafts.push(Event::new(FAILING, payload()).key(key));
                    }
                }
                bus.publish_batch(drafts).await?;
            }
            anyhow::Ok(bus)
        })?;
        Ok(Self { runtime, bus, healthy, laps: AtomicU64::new(0), _folder: folder })
    }

    /// A new subscription, until all healthy events are handled. Those that failed go with it.
    fn work(&self, sleeping: Sleeping) -> Result<Lap> {
        let name = format!("lap-{}", self.laps.fetch_add(1, Ordering::Relaxed));
        let (left, over) = (Arc::new(AtomicU64::new(self.healthy)), Arc::new(Notify::new()));
        let handled = {
            let (left, over) = (Arc::clone(&left), Arc::clone(&over));
            move || {
                if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    over.notify_one();
                }
                Ok::<(), &'static str>(())
            }
        };
        self.runtime.block_on(async {
            let started = Instant::now();
            let subscription = self.bus.subscribe("orders.#").durable(&name).start_at(StartAt::Earliest);
            let subscription = match sleeping {
                Sleeping::Blocking => {
                    let handle = move |topic: Topic| {
                        is_healthy(&topic)?;
                        thread::sleep(SLEEP);
                        handled()
                    };
                    subscription.concurrency(4).to(blocking(handle)).await?
                }
                Sleeping::Async => {
                    let handle = move |topic: Topic| {
                        let handled = handled.clone();
                        async move {
                            is_healthy(&topic)?;
                            tokio::time::sleep(SLEEP).await;
                            handled()
                        }
                    };
                    subscription.concurrency(32).priority_limit(Priority::P2, 32).to(handle).await?
                }
            };
            over.notified().await;
            let elapsed = started.elapsed();
            let stats = subscription.stop().await;
            ensure!(left.load(Ordering::Relaxed) == 0 && stats.dead == 0, "not what was meant: {stats}");
            self.bus.cursor(&name).remove().await?;
            Ok(Lap { handled: self.healthy, lost: 0, elapsed })
        })
    }

    fn close(self) -> Result<()> {
        self.runtime.block_on(backlog::finish(&self.bus))
    }
}

fn is_healthy(topic: &Topic) -> std::result::Result<(), &'static str> {
    if topic.as_str() == FAILING { Err("the service is away") } else { Ok(()) }
}

const HEALTHY: &str = "orders.us-east.created";
const FAILING: &str = "orders.us-west.created";
const HEALTHY_KEYS: u64 = 1_000;
/// Of those that fail.
const EVENTS_A_KEY: u64 = 10;
const SLEEP: Duration = Duration::from_micros(100);
const BATCH: usize = 2_048;
