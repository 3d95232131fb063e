//! What `busway-counted` does: sets something up, and says what that took.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::course::Course;
use crate::inproc::on_bus::{self, Handling, TOPIC};
use crate::instructions::workload::{self, Workload};
use crate::sample::Sample;
use crate::terms::{CAPACITY, one_thread, two_workers};

/// What the allocator has counted so far.
#[derive(Debug, Clone, Copy)]
pub struct Heap {
    /// Allocations and reallocations.
    pub calls: u64,
    /// Bytes that are allocated now.
    pub live_bytes: u64,
}

/// Answers by contender.
pub type Answers = Vec<(String, f64)>;

/// Answers a question with the numbers of this process.
///
/// # Errors
/// The question is unknown, or its work fails.
pub fn answer(question: &str, folder: Option<&Path>, heap: fn() -> Heap) -> Result<Answers> {
    match question {
        "behind" => super::behind::answer(folder.context("the folder of the log is needed")?),
        "reloads-1k" => super::reloads::answer(folder.context("a folder is needed")?, 1_000, heap),
        "reloads-10k" => super::reloads::answer(folder.context("a folder is needed")?, 10_000, heap),
        "idle" => idle(heap),
        "subscription" => subscription(heap),
        "allocations" => allocations(heap),
        other => bail!(
            "{other:?} is no question; there are: idle, subscription, allocations, behind, reloads-1k, reloads-10k"
        ),
    }
}

/// Bytes on the heap, and in resident memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    heap: u64,
    resident: u64,
}

impl Footprint {
    pub(super) fn now(heap: fn() -> Heap) -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 =
            resident.map_or(Ok(0), |text| text.trim().trim_end_matches(" kB").parse()).context("VmRSS")?;
        Ok(Self { heap: heap().live_bytes, resident: kib * 1_024 })
    }

    /// In percent: resident memory, and the heap.
    pub(super) fn grown_since(self, before: Self) -> Answers {
        let percent = |after: u64, before: u64| (each(after, before) - 1.0) * 100.0;
        vec![
            ("busway".to_owned(), percent(self.resident, before.resident)),
            ("busway-heap".to_owned(), percent(self.heap, before.heap)),
        ]
    }

    fn since(self, before: Self, name: &str, share: u64) -> Answers {
        vec![
            (name.to_owned(), each(self.heap.saturating_sub(before.heap), share)),
            (format!("{name}-rss"), each(self.resident.saturating_sub(before.resident), share)),
        ]
    }
}

fn idle(heap: fn() -> Heap) -> Result<Answers> {
    let runtime = two_workers()?;
    // The runtime's own first task is not the bus's.
    runtime.block_on(async { tokio::spawn(std::future::ready(())).await })?;
    let before = Footprint::now(heap)?;
    let bus = on_bus::start(&runtime)?;
    let after = Footprint::now(heap)?;
    runtime.block_on(bus.shutdown(Duration::from_secs(1)));
    Ok(after.since(before, "busway", 1))
}

fn subscription(heap: fn() -> Heap) -> Result<Answers> {
    let runtime = two_workers()?;
    let bus = on_bus::start(&runtime)?;
    let course = Course::new(1);
    let subscribe = |number: u64| {
        let subscription = bus.subscribe(format!("sensors.hall{}.probe{number}", number % 100));
        // The handle is dropped, as most are: that detaches it.
        runtime.block_on(on_bus::count(subscription, &course, 0, Handling::Async)).map(drop)
    };
    // The first one makes what all share.
    subscribe(SUBSCRIPTIONS)?;
    let before = Footprint::now(heap)?;
    (0..SUBSCRIPTIONS).try_for_each(subscribe)?;
    let mut answers = Footprint::now(heap)?.since(before, "busway", SUBSCRIPTIONS);
    runtime.block_on(bus.shutdown(Duration::from_secs(10)));

    let before = Footprint::now(heap)?;
    let mut senders = Vec::with_capacity(usize::try_from(SUBSCRIPTIONS)?);
    for _ in 0..SUBSCRIPTIONS {
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<Arc<Sample>>(CAPACITY);
        let course = Arc::clone(&course);
        runtime.spawn(async move {
            while let Some(sample) = receiver.recv().await {
                course.handled(0, &sample);
            }
        });
        senders.push(sender);
    }
    answers.extend(Footprint::now(heap)?.since(before, "tokio-mpsc", SUBSCRIPTIONS).into_iter().take(1));
    drop(senders);

    let before = Footprint::now(heap)?;
    let channels: Vec<_> =
        (0..SUBSCRIPTIONS).map(|_| crossbeam_channel::bounded::<Arc<Sample>>(CAPACITY)).collect();
    answers
        .extend(Footprint::now(heap)?.since(before, "crossbeam-channel", SUBSCRIPTIONS).into_iter().take(1));
    drop(channels);
    Ok(answers)
}

fn allocations(heap: fn() -> Heap) -> Result<Answers> {
    workload::probe(move || heap().calls);
    let mut answers = Vec::new();
    for (name, suite, contender) in [
        ("busway", "queue-drain", "busway"),
        ("tokio-mpsc", "queue-drain", "tokio-mpsc"),
        ("crossbeam-channel", "queue-drain", "crossbeam-channel"),
        ("busway-inline", "publish-inline", "busway"),
        ("busway-fanout-16", "fan-out-16", "busway"),
    ] {
        let workload = Workload::find(suite, contender)?;
        workload.run()?;
        let calls = workload::probed().with_context(|| format!("{suite} of {contender} was not probed"))?;
        answers.push((name.to_owned(), each(calls, u64::from(workload.messages))));
    }
    answers.extend(halves(heap)?);
    Ok(answers)
}

/// Publishing and delivering apart: on one thread nothing is delivered before the publisher awaits.
fn halves(heap: fn() -> Heap) -> Result<Answers> {
    let runtime = one_thread()?;
    let course = Course::new(1);
    let bus = on_bus::with_receivers(&runtime, &course, 1, Handling::Async)?;
    let publisher = bus.publisher::<Sample>(TOPIC)?;
    let (mut publishing, mut delivering) = (0, 0);
    for lap in 0..=LAPS {
        course.start(LAP);
        let before = heap().calls;
        for number in 0..LAP {
            publisher.try_publish(Sample::new(number))?;
        }
        let between = heap().calls;
        runtime.block_on(bus.idle());
        let after = heap().calls;
        // The first lap is the warm-up.
        if lap > 0 {
            publishing += between - before;
            delivering += after - between;
        }
    }
    on_bus::finish(&runtime, &bus, &course, LAP, crate::contest::Lap::default())?;
    Ok(vec![
        ("busway-publish".to_owned(), each(publishing, LAPS * LAP)),
        ("busway-delivery".to_owned(), each(delivering, LAPS * LAP)),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "a mean is no count")]
fn each(all: u64, share: u64) -> f64 {
    all as f64 / share as f64
}

const SUBSCRIPTIONS: u64 = 10_000;

/// Half of a queue, as in the workloads.
const LAP: u64 = 512;
const LAPS: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_nobody_knows_is_an_error() {
        let heap = || Heap { calls: 0, live_bytes: 0 };
        assert!(answer("idl", None, heap).unwrap_err().to_string().contains("no question"));
    }

    #[test]
    fn both_halves_of_an_event_are_counted() {
        let heap = || Heap { calls: 7, live_bytes: 0 };
        assert_eq!(
            halves(heap).unwrap(),
            [("busway-publish".to_owned(), 0.0), ("busway-delivery".to_owned(), 0.0)]
        );
    }
}
