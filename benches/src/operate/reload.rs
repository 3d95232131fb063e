//! Reloads: how long it takes to put a file with a thousand routes in force, and what publishers notice of it.
//!
//! The load is an [open loop](super::open_loop). What is due while a file is put in force is told apart from what is due before the first reload. Each event is of the topic of one route; one that is not handled once fails the suite.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use busway::config::Config;
use busway::prelude::*;
use tokio::runtime::Runtime;

use super::open_loop::{EVENTS_MAX, OpenLoop, Published, nanoseconds, p99};
use crate::durable::folder::Folder;
use crate::inproc::on_bus::version;
use crate::progress::Progress;
use crate::report::{Contender, Suite};
use crate::sample::Sample;
use crate::terms::{Terms, two_workers};

/// Runs the suite.
///
/// # Errors
/// A file is refused, or an event is lost or comes twice.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let rounds = terms.rounds.min(ROUNDS_MAX);
    let reloads = if terms.is_quick() { 5 } else { 20 };
    let progress = Progress::new(NAME, SHAPES.len() * (rounds + 1));
    let mut runs: Vec<Vec<Run>> = SHAPES.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for (shape, runs) in SHAPES.iter().zip(&mut runs) {
            progress.running(shape.name);
            let run = shape.run(reloads).with_context(|| format!("{} of {NAME}", shape.name))?;
            progress.ran();
            if round > 0 {
                runs.push(run);
            }
        }
    }
    progress.done();
    let of = |suffix: &str, unit: &str, note: &str, contenders: Vec<Contender>| Suite {
        name: format!("{NAME}{suffix}"),
        unit: unit.to_owned(),
        higher_is_better: false,
        note: note.to_owned(),
        contenders,
        curves: Vec::new(),
    };
    let each = |name: &'static str, runs: &[Run], value: fn(&Run) -> f64| {
        Contender::new(name, version(), runs.iter().map(value).collect())
    };
    let took = SHAPES.iter().zip(&runs).map(|(shape, runs)| each(shape.name, runs, |run| run.took_ms));
    // Of the first shape, in which everything differs.
    let all = runs.first().map_or(&[][..], Vec::as_slice);
    let due = vec![each("busway", all, |run| run.due.during), each("before", all, |run| run.due.before)];
    let call = vec![each("busway", all, |run| run.call.during), each("before", all, |run| run.call.before)];
    Ok(vec![
        of("", "ms/reload", TOOK, took.collect()),
        of("-publish", "ns p99", PUBLISH, due),
        of("-publish-call", "ns p99", CALL, call),
    ])
}

/// What differs between two files.
struct Shape {
    name: &'static str,
    /// Routes that differ.
    differing: u64,
    /// Routes that are durable.
    durable: u64,
    /// Whether what was read is put in force.
    is_applied: bool,
}

const SHAPES: [Shape; 4] = [
    Shape { name: "busway", differing: ROUTES, durable: 0, is_applied: true },
    Shape { name: "one-route", differing: 1, durable: 0, is_applied: true },
    Shape { name: "reading", differing: ROUTES, durable: 0, is_applied: false },
    Shape { name: "durable-100", differing: ROUTES, durable: 100, is_applied: true },
];

/// What a run came to.
struct Run {
    took_ms: f64,
    /// From when an event was due until it was accepted.
    due: Percentiles,
    /// The call alone.
    call: Percentiles,
}

struct Percentiles {
    before: f64,
    during: f64,
}

impl Shape {
    fn run(&self, reloads: u32) -> Result<Run> {
        let (runtime, folder) = (two_workers()?, Folder::fresh("busway-reload")?);
        let path = folder.path().join("busway.yaml");
        let handled = Arc::new(Handled::new());
        let first = Config::parse_with("busway.yaml", &self.file(0), busway::config::Format::Yaml, [])?;
        let store = folder.path().join("store");
        let builder = if self.durable > 0 { Bus::open(store) } else { Bus::memory() };
        let builder = ["one", "two"].into_iter().fold(builder, |builder, name| {
            let handled = Arc::clone(&handled);
            builder.handler(name, move |sample: Payload<Sample>| {
                handled.note(sample.number);
                std::future::ready(())
            })
        });
        let bus = runtime.block_on(first.configure(builder).start())?;
        let epoch = Instant::now();
        let load = OpenLoop::start(&bus, self.topics()?, epoch);
        thread::sleep(CALM);
        let calm_ns = nanoseconds(epoch);
        let mut reloading = Vec::new();
        for version in 1..=reloads {
            fs::write(&path, self.file(version))?;
            let from_ns = nanoseconds(epoch);
            let config = Config::load_with(&path, [])?;
            if self.is_applied {
                let diff = runtime.block_on(config.apply(&bus))?;
                ensure!(
                    diff.changed_routes().count() as u64 == self.differing,
                    "another diff than was meant"
                );
            }
            reloading.push((from_ns, nanoseconds(epoch)));
            thread::sleep(BETWEEN);
        }
        let published = load.end()?;
        finish(&runtime, &bus)?;
        handled.once_each(published.len())?;
        let took_ns: u64 = reloading.iter().map(|(from, to)| to - from).sum();
        let due = |one: &Published| one.accepted - one.due;
        let call = |one: &Published| one.accepted - one.called;
        Ok(Run {
            took_ms: as_f64(took_ns) / 1e6 / f64::from(reloads),
            due: percentiles(&published, calm_ns, &reloading, due)?,
            call: percentiles(&published, calm_ns, &reloading, call)?,
        })
    }

    /// One a route.
    fn topics(&self) -> Result<Vec<Topic>> {
        let first = |route| if route < self.durable { "kept" } else { "load" };
        let topics = (0..ROUTES).map(|route| Topic::new(format!("{}.t{route}.x", first(route))));
        Ok(topics.collect::<std::result::Result<_, _>>()?)
    }

    /// Version 0 is what the bus begins with.
    fn file(&self, version: u32) -> String {
        let mut text = String::new();
        if self.durable > 0 {
            text.push_str("streams: { kept: { capture: [kept.#], durability: memory } }\n");
        }
        text.push_str("routes:\n");
        for route in 0..ROUTES {
            let version = if route < self.differing { version } else { 0 };
            let handler = if version.is_multiple_of(2) { "one" } else { "two" };
            let concurrency = 1 + version % 3;
            let (first, durable, more) = match route < self.durable {
                true => ("kept", format!(", durable: r{route}"), ""),
                false => ("load", String::new(), ", overflow: block"),
            };
            _ = writeln!(
                text,
                "  r{route}: {{ filter: {first}.t{route}.#, handler: {handler}{durable}, limits: {{ concurrency: {concurrency}{more} }} }}"
            );
        }
        text
    }
}

/// How often each event was handled.
struct Handled(Vec<AtomicU8>);

impl Handled {
    fn new() -> Self {
        Self(std::iter::repeat_with(AtomicU8::default).take(EVENTS_MAX).collect())
    }

    fn note(&self, number: u64) {
        let times = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        times.map(|times| times.fetch_add(1, Ordering::Relaxed));
    }

    fn once_each(&self, published: usize) -> Result<()> {
        let times = || self.0.iter().take(published).map(|times| times.load(Ordering::Relaxed));
        let (lost, doubled) =
            (times().filter(|times| *times == 0).count(), times().filter(|times| *times > 1).count());
        ensure!(lost == 0 && doubled == 0, "of {published} events {lost} were lost and {doubled} doubled");
        Ok(())
    }
}

fn percentiles(
    published: &[Published],
    calm_ns: u64,
    reloading: &[(u64, u64)],
    value: impl Fn(&Published) -> u64,
) -> Result<Percentiles> {
    let of = |is_meant: &dyn Fn(&Published) -> bool| -> Result<f64> {
        Ok(as_f64(p99(published.iter().filter(|one| is_meant(one)).map(&value))?))
    };
    // The first tenth warms caches and queues up.
    let before = of(&|one| (calm_ns / 10..calm_ns).contains(&one.due))?;
    let during = of(&|one| reloading.iter().any(|(from, to)| (*from..*to).contains(&one.due)))?;
    Ok(Percentiles { before, during })
}

fn finish(runtime: &Runtime, bus: &Bus) -> Result<()> {
    runtime.block_on(async {
        bus.idle().await;
        let report = bus.shutdown(Duration::from_secs(10)).await;
        ensure!(report.is_drained(), "{report}");
        Ok(())
    })
}

#[expect(clippy::cast_precision_loss, reason = "three digits are kept anyway")]
const fn as_f64(value: u64) -> f64 {
    value as f64
}

const NAME: &str = "operate/reload";
const TOOK: &str = "a file with 1,000 routes while 5,000 events a second are published, each to one of them: from the file's being there to everything in it in \
                    force, reading and checking included; busway: handler or concurrency of each route differs; one-route: of one; reading: read and checked, and \
                    nothing else; durable-100: as busway, and 100 of the routes are durable, on a stream with durability memory. Each event is handled once, or the \
                    suite fails";
const PUBLISH: &str = "of the contender busway of operate/reload: from when an event was due until it was accepted, of events that were due during a reload; before: in \
                       the second before the first one. The publisher is a thread that sleeps in between";
const CALL: &str = "the same, of the call of publish alone";
const ROUTES: u64 = 1_000;
const ROUNDS_MAX: usize = 5;
const CALM: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_millis(20);
