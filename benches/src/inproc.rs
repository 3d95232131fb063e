//! In process: one publisher, one consumer, a 64-byte payload, single publishes, every queue 1,024, nothing dropped. The
//! rate is what was handled divided by the time to the last handled.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use busway::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::report::{Contender, Suite};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    events: u64,
    runs: usize,
}

pub(crate) const QUICK: Effort = Effort { events: 200_000, runs: 5 };
pub(crate) const FULL: Effort = Effort { events: 2_000_000, runs: 9 };

pub(crate) type Measure = fn(Effort) -> Result<Suite, Box<dyn Error>>;

/// The suites of this file.
pub(crate) const SUITES: [(&str, Measure); 2] =
    [("inproc/1p1c", one_to_one), ("inproc/1p1c-async", one_to_one_async)];

#[derive(Debug, Clone, Serialize, Deserialize, EventType)]
#[event(name = "sample", codec = "bincode")]
struct Sample {
    words: [u64; 8],
}

const SAMPLE: Sample = Sample { words: [7; 8] };
const CAPACITY: usize = 1_024;

type Contest = (&'static str, &'static str, fn(u64) -> Result<Duration, Box<dyn Error>>);

fn one_to_one(effort: Effort) -> Result<Suite, Box<dyn Error>> {
    let contests: [Contest; 2] =
        [("busway", env!("CARGO_PKG_VERSION"), busway_blocking), ("crossbeam-channel", "0.5", crossbeam)];
    let note = "publisher and sync handler on two threads, in memory; an Arc a message for the channel";
    Ok(Suite {
        name: "inproc/1p1c",
        unit: "events/s",
        higher_is_better: true,
        note,
        contenders: interleave(effort, &contests)?,
    })
}

fn one_to_one_async(effort: Effort) -> Result<Suite, Box<dyn Error>> {
    let contests: [Contest; 2] =
        [("busway", env!("CARGO_PKG_VERSION"), busway_async), ("tokio-mpsc", "1", tokio_mpsc)];
    let note = "publisher and async handler on a runtime with two workers, in memory";
    Ok(Suite {
        name: "inproc/1p1c-async",
        unit: "events/s",
        higher_is_better: true,
        note,
        contenders: interleave(effort, &contests)?,
    })
}

/// Runs the contests A B A B …; the first round warms up and is not counted.
fn interleave(effort: Effort, contests: &[Contest]) -> Result<Vec<Contender>, Box<dyn Error>> {
    let mut samples = vec![Vec::new(); contests.len()];
    for run in 0..=effort.runs {
        for ((_, _, contest), samples) in contests.iter().zip(&mut samples) {
            let elapsed = contest(effort.events)?;
            if run > 0 {
                samples.push(rate(effort.events, elapsed));
            }
        }
    }
    let named = contests.iter().zip(samples);
    Ok(named.map(|((name, version, _), samples)| Contender::new(name, version, samples)).collect())
}

#[expect(clippy::cast_precision_loss, reason = "a rate is no count")]
fn rate(events: u64, elapsed: Duration) -> f64 {
    events as f64 / elapsed.as_secs_f64()
}

fn runtime() -> Result<Runtime, Box<dyn Error>> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn busway_blocking(events: u64) -> Result<Duration, Box<dyn Error>> {
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let handler = blocking(move |sample: Payload<Sample>| {
        count.fetch_add(sample.words.first().copied().unwrap_or(0) / 7, Ordering::Relaxed);
    });
    runtime()?.block_on(async move {
        let bus = Bus::memory().start().await?;
        bus.subscribe("bench").capacity(CAPACITY).overflow(Overflow::Block(None)).to(handler).await?;
        publish_all(&bus, &seen, events).await
    })
}

fn busway_async(events: u64) -> Result<Duration, Box<dyn Error>> {
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let handler = move |sample: Payload<Sample>| {
        count.fetch_add(sample.words.first().copied().unwrap_or(0) / 7, Ordering::Relaxed);
        std::future::ready(())
    };
    let runtime = runtime()?;
    let work = async move {
        let bus = Bus::memory().start().await?;
        bus.subscribe("bench").capacity(CAPACITY).overflow(Overflow::Block(None)).to(handler).await?;
        publish_all(&bus, &seen, events).await
    };
    runtime.block_on(work)
}

async fn publish_all(bus: &Bus, seen: &AtomicU64, events: u64) -> Result<Duration, Box<dyn Error>> {
    let publisher = bus.publisher::<Sample>("bench")?;
    let started = Instant::now();
    for _ in 0..events {
        publisher.publish(SAMPLE).await?;
    }
    bus.idle().await;
    let elapsed = started.elapsed();
    bus.shutdown(Duration::from_secs(10)).await;
    match seen.load(Ordering::Relaxed) {
        handled if handled == events => Ok(elapsed),
        handled => Err(format!("{handled} of {events} events were handled").into()),
    }
}

fn crossbeam(events: u64) -> Result<Duration, Box<dyn Error>> {
    let (sender, receiver) = crossbeam_channel::bounded::<Arc<Sample>>(CAPACITY);
    let consumer =
        thread::spawn(move || receiver.iter().map(|sample| sample.words.len() as u64 / 8).sum::<u64>());
    let started = Instant::now();
    for _ in 0..events {
        sender.send(Arc::new(SAMPLE))?;
    }
    drop(sender);
    let handled = consumer.join().map_err(|_| "the consumer panicked")?;
    let elapsed = started.elapsed();
    if handled == events { Ok(elapsed) } else { Err("the channel lost events".into()) }
}

fn tokio_mpsc(events: u64) -> Result<Duration, Box<dyn Error>> {
    let runtime = runtime()?;
    runtime.block_on(async move {
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<Arc<Sample>>(CAPACITY);
        let consumer = tokio::spawn(async move {
            let mut handled = 0;
            while let Some(sample) = receiver.recv().await {
                handled += sample.words.len() as u64 / 8;
            }
            handled
        });
        let started = Instant::now();
        for _ in 0..events {
            sender.send(Arc::new(SAMPLE)).await?;
        }
        drop(sender);
        let handled = consumer.await?;
        let elapsed = started.elapsed();
        if handled == events { Ok(elapsed) } else { Err(Box::<dyn Error>::from("the channel lost events")) }
    })
}
