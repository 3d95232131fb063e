//! What is allocated, and how often.
//!
//! The numbers come from `busway-counted`, a program of its own whose allocator counts (`stats_alloc` around the system's:
//! two atomic additions a call, over all threads, and no `unsafe` here; `dhat` would take a backtrace a call, and
//! `allocation-counter` sees the calling thread only). So the programs that are timed keep the plain allocator.

pub mod behind;
mod child;
pub mod counted;
pub mod reloads;

use anyhow::{Result, ensure};

use crate::inproc::on_bus::version;
use crate::lockfile::version_of;
use crate::progress::Progress;
use crate::report::{Contender, Suite};
use crate::terms::Terms;

/// Bytes that an idle bus adds to a running runtime.
///
/// # Errors
/// The child fails.
pub fn measure_idle(terms: &Terms) -> Result<Vec<Suite>> {
    let shape = Shape {
        name: "memory/idle",
        question: "idle",
        unit: "bytes",
        note: "what a bus without subscriptions adds to a process with a running runtime: on the heap, and in resident memory \
               (busway-rss: pages, with those of code that ran for the first time)",
    };
    ask(terms, &shape)
}

/// Bytes of a subscription before its first event.
///
/// # Errors
/// The child fails.
pub fn measure_subscription(terms: &Terms) -> Result<Vec<Suite>> {
    let shape = Shape {
        name: "memory/subscription",
        question: "subscription",
        unit: "bytes/subscription",
        note: "10,000 subscriptions to a topic each, with an async handler, capacity 1,024, before the first event; busway-rss: \
               resident memory; tokio-mpsc: a channel of 1,024 and the task that receives from it; crossbeam-channel: a bounded \
               channel of 1,024 and no thread",
    };
    ask(terms, &shape)
}

/// Allocations in steady state.
///
/// # Errors
/// The child fails.
pub fn measure_allocations(terms: &Terms) -> Result<Vec<Suite>> {
    let shape = Shape {
        name: "inproc/allocs",
        question: "allocations",
        unit: "allocations/event",
        note: "steady state, on one thread: 512 messages are queued, then handled; busway is both together, busway-publish and \
               busway-delivery the two halves, busway-fanout-16 a delivery of 16; reallocations count",
    };
    ask(terms, &shape)
}

struct Shape {
    name: &'static str,
    question: &'static str,
    unit: &'static str,
    note: &'static str,
}

fn ask(terms: &Terms, shape: &Shape) -> Result<Vec<Suite>> {
    let runs = terms.rounds.min(RUNS_MAX);
    let progress = Progress::new(shape.name, runs);
    let mut answers: Vec<(String, Vec<f64>)> = Vec::new();
    for _ in 0..runs {
        progress.running("busway-counted");
        for (name, value) in child::ask(&[shape.question])? {
            match answers.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => answers.push((name, vec![value])),
            }
        }
        progress.ran();
    }
    progress.done();
    ensure!(!answers.is_empty(), "{} has no answers", shape.name);
    let contenders = answers.into_iter().map(|(name, values)| {
        let version = match name.as_str() {
            "tokio-mpsc" => version_of("tokio"),
            "crossbeam-channel" => version_of(&name),
            _ => version(),
        };
        Contender::new(name, version, values)
    });
    Ok(vec![Suite {
        name: shape.name.to_owned(),
        unit: shape.unit.to_owned(),
        higher_is_better: false,
        note: shape.note.to_owned(),
        contenders: contenders.collect(),
        curves: Vec::new(),
    }])
}

/// What is counted hardly changes from run to run.
const RUNS_MAX: usize = 5;
