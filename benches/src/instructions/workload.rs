//! Fixed amounts of work on one thread. `busway-workload SUITE CONTENDER` does one of them.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use busway::prelude::*;

use crate::brokers::carried::By::{Busway, Client};
use crate::brokers::carried::instructions as carried;
use crate::brokers::carried::instructions::Work::{ConsumeNats, ConsumeRedis, PublishNats, PublishRedis};
use crate::contest::Lap;
use crate::course::Course;
use crate::inproc::on_bus::{self, Handling, TOPIC};
use crate::inproc::stage::Look;
use crate::operate::traced_publish::{Trace, publishes};
use crate::operate::watch::Traced;
use crate::reliability::breaker::{Around, events};
use crate::reliability::idempotency::same_id;
use crate::route::four_tokens;
use crate::route::tables::{Table, visit};
use crate::sample::Sample;
use crate::terms::{CAPACITY, one_thread};

/// A workload of one contender.
#[derive(Debug)]
pub struct Workload {
    /// Which question it belongs to.
    pub suite: &'static str,
    /// Whose work it is.
    pub contender: &'static str,
    /// How many messages it handles inside the counted region.
    pub messages: u32,
    /// What is counted: an `event`, a `delivery`, an `op`.
    pub per: &'static str,
    /// The terms.
    pub note: &'static str,
    run: fn(u64) -> Result<()>,
}

impl Workload {
    /// The workload of these names.
    ///
    /// # Errors
    /// There is none.
    pub fn find(suite: &str, contender: &str) -> Result<&'static Self> {
        let found =
            WORKLOADS.iter().chain(CARRIED).find(|one| one.suite == suite && one.contender == contender);
        found.with_context(|| format!("there is no workload {suite} of {contender}"))
    }

    /// Does the work once, and checks that all of it was done.
    ///
    /// # Errors
    /// It was not.
    pub fn run(&self) -> Result<()> {
        (self.run)(u64::from(self.messages))
    }

    const fn new(
        suite: &'static str,
        contender: &'static str,
        messages: u32,
        terms: (&'static str, &'static str),
        run: fn(u64) -> Result<()>,
    ) -> Self {
        Self { suite, contender, messages, per: terms.0, note: terms.1, run }
    }

    const fn carried(suite: &'static str, contender: &'static str, run: fn(u64) -> Result<()>) -> Self {
        Self::new(suite, contender, carried::WORKLOAD_EVENTS, ("event", ""), run)
    }
}

/// All workloads; those of one suite stand together, ours first.
pub const WORKLOADS: &[Workload] = &[
    Workload::new("publish-inline", "busway", MANY, INLINE, |messages| busway_inline(messages, 0)),
    Workload::new("inline-4-stages", "busway", MANY, STAGES, |messages| busway_inline(messages, 4)),
    Workload::new("queue-drain", "busway", MANY, DRAIN, |messages| busway_queues(messages, 1)),
    Workload::new("queue-drain", "tokio-mpsc", MANY, DRAIN, |messages| tokio_queues(messages, 1)),
    Workload::new("queue-drain", "crossbeam-channel", MANY, DRAIN, crossbeam_queue),
    Workload::new("fan-out-16", "busway", 16 * FEW, FAN_OUT, |deliveries| busway_queues(deliveries / 16, 16)),
    Workload::new("fan-out-16", "tokio-mpsc", 16 * FEW, FAN_OUT, |deliveries| {
        tokio_queues(deliveries / 16, 16)
    }),
    Workload::new("handled-by-id", "busway", MANY, HANDLED, |messages| same_id(messages, false).map(drop)),
    Workload::new("duplicates", "busway", MANY, DUPLICATES, |messages| same_id(messages, true).map(drop)),
    Workload::new("passing", "busway", MANY, PASSING, |messages| events(messages, Around::Passing).map(drop)),
    Workload::new("guarded", "busway", MANY, GUARDED, |messages| events(messages, Around::Breaker).map(drop)),
    Workload::new("publish", "busway", MANY, PUBLISH, |messages| {
        publishes(messages, Traced::No, Trace::None).map(drop)
    }),
    Workload::new("publish-untraced", "busway", MANY, UNTRACED, |messages| {
        publishes(messages, Traced::Share0, Trace::None).map(drop)
    }),
    Workload::new("publish-bears", "busway", MANY, BEARS, |messages| {
        publishes(messages, Traced::No, Trace::Borne).map(drop)
    }),
    Workload::new("publish-unsampled", "busway", MANY, UNSAMPLED, |messages| {
        publishes(messages, Traced::Share0, Trace::Borne).map(drop)
    }),
    Workload::new("route-warm", "busway", MANY, WARM, route_warm),
    Workload::new("route-warm", "hashmap", MANY, WARM, hashmap),
    Workload::new("route-cold", "busway", MANY, COLD, route_cold),
    Workload::new("route-cold", "hashmap", MANY, COLD, hashmap),
];

/// Those that need a server, by `brokers/instructions`.
const CARRIED: &[Workload] = &[
    Workload::carried("publish-nats-instructions", "busway-nats", |n| carried::run(PublishNats, Busway, n)),
    Workload::carried("publish-nats-instructions", "async-nats", |n| carried::run(PublishNats, Client, n)),
    Workload::carried("consume-nats-instructions", "busway-nats", |n| carried::run(ConsumeNats, Busway, n)),
    Workload::carried("consume-nats-instructions", "async-nats", |n| carried::run(ConsumeNats, Client, n)),
    Workload::carried("publish-redis-instructions", "busway-redis", |n| {
        carried::run(PublishRedis, Busway, n)
    }),
    Workload::carried("publish-redis-instructions", "redis", |n| carried::run(PublishRedis, Client, n)),
    Workload::carried("consume-redis-instructions", "busway-redis", |n| {
        carried::run(ConsumeRedis, Busway, n)
    }),
    Workload::carried("consume-redis-instructions", "redis", |n| carried::run(ConsumeRedis, Client, n)),
];

const INLINE: (&str, &str) = ("event", "try_publish to one inline handler, on one thread");
const STAGES: (&str, &str) = ("event", "the same behind four sync middlewares that look at the event");
const DRAIN: (&str, &str) = (
    "event",
    "512 messages are put into a queue with try_publish or try_send, then handled by an async handler on the same thread; an \
     Arc a message for the channels",
);
const FAN_OUT: (&str, &str) = ("delivery", "the same with 16 receivers");
const HANDLED: (&str, &str) =
    ("event", "the terms of reliability/idempotency-local-hit: events of one id, without .idempotent");
const DUPLICATES: (&str, &str) = ("event", "the same with .idempotent: the local cache knows them as done");
const PASSING: (&str, &str) =
    ("event", "the terms of reliability/breaker-closed: behind a sync middleware that does nothing");
const GUARDED: (&str, &str) = ("event", "the same behind a breaker, closed");
const PUBLISH: (&str, &str) =
    ("event", "the terms of operate/traced-publish: the publishes alone, without tracing");
const UNTRACED: (&str, &str) = ("event", "the same with tracing that nothing begins a trace with");
const BEARS: (&str, &str) =
    ("event", "publishes of drafts that bear a traceparent with the flag 0, without tracing");
const UNSAMPLED: (&str, &str) = ("event", "the same with tracing");
const WARM: (&str, &str) =
    ("op", "one of 37,449 subscriptions, a literal of four tokens, from the thread's memory");
const COLD: (&str, &str) = ("op", "the same without the thread's memory");

const MANY: u32 = 8_192;
const FEW: u32 = 1_024;

/// As many messages as are put into a queue before it is drained; half of its capacity.
const CHUNK: u64 = 512;

/// Callgrind counts what happens in here and nothing else: it knows this function by its name, so it stays a function.
#[inline(never)]
pub fn counted_region<T>(body: impl FnOnce() -> T) -> T {
    let before = PROBE.get().map(|probe| probe());
    // Not the last thing that this function does, so that the call does not become a jump out of it.
    let result = black_box(body());
    if let (Some(probe), Some(before)) = (PROBE.get(), before) {
        PROBED.store(probe().saturating_sub(before), Ordering::Relaxed);
    }
    result
}

/// Reads a number of the process (allocations so far) around the counted region too. The first one given stays.
pub fn probe(read: impl Fn() -> u64 + Send + Sync + 'static) {
    let _ = PROBE.set(Box::new(read));
}

/// By how much the number grew in the last counted region, if it was read.
#[must_use]
pub fn probed() -> Option<u64> {
    PROBE.get().map(|_| PROBED.load(Ordering::Relaxed))
}

static PROBE: OnceLock<Box<dyn Fn() -> u64 + Send + Sync>> = OnceLock::new();
static PROBED: AtomicU64 = AtomicU64::new(0);

fn busway_inline(messages: u64, stages: usize) -> Result<()> {
    let runtime = one_thread()?;
    let course = Course::new(1);
    let bus = on_bus::with_receivers(&runtime, &course, 1, Handling::Inline)?;
    for stage in 0..stages {
        bus.middleware(Stage::User).add(&format!("look-{stage}"), Look)?;
    }
    let publisher = bus.publisher::<Sample>(TOPIC)?;
    let publish = |messages: u64| -> Result<()> {
        for number in 0..messages {
            publisher.try_publish(Sample::new(number))?;
        }
        Ok(())
    };
    course.start(CHUNK);
    publish(CHUNK)?;
    course.start(messages);
    counted_region(|| publish(messages))?;
    on_bus::finish(&runtime, &bus, &course, messages, Lap::default())?;
    Ok(())
}

fn busway_queues(messages: u64, receivers: usize) -> Result<()> {
    let runtime = one_thread()?;
    let course = Course::new(receivers);
    let bus = on_bus::with_receivers(&runtime, &course, receivers, Handling::Async)?;
    let publisher = bus.publisher::<Sample>(TOPIC)?;
    let lap = |messages: u64| -> Result<()> {
        for first in (0..messages).step_by(512) {
            for number in first..first + CHUNK {
                publisher.try_publish(Sample::new(number))?;
            }
            runtime.block_on(bus.idle());
        }
        Ok(())
    };
    course.start(CHUNK);
    lap(CHUNK)?;
    course.start(messages);
    counted_region(|| lap(messages))?;
    on_bus::finish(&runtime, &bus, &course, messages, Lap::default())?;
    Ok(())
}

fn tokio_queues(messages: u64, receivers: usize) -> Result<()> {
    let runtime = one_thread()?;
    let course = Course::new(receivers);
    let idle = Arc::new(tokio::sync::Notify::new());
    let mut senders = Vec::new();
    for receiver in 0..receivers {
        let (sender, mut samples) = tokio::sync::mpsc::channel::<Arc<Sample>>(CAPACITY);
        senders.push(sender);
        let (course, idle) = (Arc::clone(&course), Arc::clone(&idle));
        runtime.spawn(async move {
            while let Some(sample) = samples.recv().await {
                course.handled(receiver, &sample);
                if sample.number % CHUNK == CHUNK - 1 && receiver + 1 == receivers {
                    idle.notify_one();
                }
            }
        });
    }
    let lap = |messages: u64| -> Result<()> {
        for first in (0..messages).step_by(512) {
            for number in first..first + CHUNK {
                let sample = Arc::new(Sample::new(number));
                senders.iter().try_for_each(|sender| sender.try_send(Arc::clone(&sample)))?;
            }
            runtime.block_on(idle.notified());
        }
        Ok(())
    };
    course.start(CHUNK);
    lap(CHUNK)?;
    course.start(messages);
    counted_region(|| lap(messages))?;
    course.verify(messages, Lap::default())?;
    Ok(())
}

fn crossbeam_queue(messages: u64) -> Result<()> {
    let course = Course::new(1);
    let (sender, receiver) = crossbeam_channel::bounded::<Arc<Sample>>(CAPACITY);
    let lap = |messages: u64| -> Result<()> {
        for first in (0..messages).step_by(512) {
            for number in first..first + CHUNK {
                sender.try_send(Arc::new(Sample::new(number)))?;
            }
            receiver.try_iter().for_each(|sample| course.handled(0, &sample));
        }
        Ok(())
    };
    course.start(CHUNK);
    lap(CHUNK)?;
    course.start(messages);
    counted_region(|| lap(messages))?;
    course.verify(messages, Lap::default())?;
    Ok(())
}

fn route_warm(lookups: u64) -> Result<()> {
    let table = Table::four_tokens()?;
    let topic = Topic::new(four_tokens::TOPIC)?;
    found_once(lookups, || table.router.lookup_with(black_box(&topic), visit))
}

fn route_cold(lookups: u64) -> Result<()> {
    let table = Table::four_tokens()?;
    let topic = Topic::new(four_tokens::TOPIC)?;
    found_once(lookups, || table.router.walk_with(black_box(&topic), visit))
}

fn hashmap(lookups: u64) -> Result<()> {
    let table = Table::four_tokens()?;
    found_once(lookups, || usize::from(table.map.contains_key(black_box(four_tokens::TOPIC))))
}

fn found_once(lookups: u64, mut find: impl FnMut() -> usize) -> Result<()> {
    let mut count = |lookups: u64| (0..lookups).filter(|_| black_box(find()) == 1).count() as u64;
    count(CHUNK);
    let found = counted_region(|| count(lookups));
    ensure!(found == lookups, "{lookups} lookups found {found}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_does_all_of_its_work() {
        for workload in WORKLOADS.iter().filter(|one| !one.suite.starts_with("route")) {
            (workload.run)(u64::from(workload.messages) / 2).unwrap();
        }
    }

    #[test]
    fn a_workload_is_found_by_its_names_only() {
        assert_eq!(Workload::find("queue-drain", "busway").unwrap().contender, "busway");
        assert!(Workload::find("queue-drain", "hashmap").is_err());
    }
}
