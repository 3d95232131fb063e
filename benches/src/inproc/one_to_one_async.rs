//! One publisher task, one async handler, on a runtime with two workers.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};

use super::channels::{self, Publishers};
use super::on_bus;
use crate::contest::{Contest, Question, Unit, interleave};
use crate::lockfile::version_of;
use crate::report::Suite;
use crate::terms::Terms;

/// Runs the suite.
///
/// # Errors
/// A contender fails.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "inproc/1p1c-async",
        unit: Unit::PerSecond("events/s"),
        note: "one publisher task and one async handler on a runtime with two workers; in memory, nothing lost; channels carry an \
               Arc a message, allocated by the sender; ruststream-memory copies the 64 bytes into a queue without a bound and runs \
               a service's handler on its byte lane, no codec",
    };
    let contests = vec![
        Contest::new("busway", on_bus::version(), |messages| channels::busway(messages, Publishers::One)),
        Contest::new("tokio-mpsc", version_of("tokio"), |messages| {
            channels::tokio_mpsc(messages, Publishers::One)
        }),
        Contest::new("flume", version_of("flume"), |messages| channels::flume(messages, Publishers::One)),
        Contest::new("async-broadcast", version_of("async-broadcast"), |messages| {
            channels::async_broadcast(messages, Publishers::One)
        }),
        Contest::new("ruststream-memory", version_of("ruststream"), |messages| {
            channels::ruststream(messages, Publishers::One)
        }),
    ];
    let suites = interleave(terms, question, contests)?;
    if let Some(slowest) = suites.first().and_then(slowest_of) {
        // Measured twice in one run, the first one stays.
        let _ = SLOWEST.set(slowest);
    }
    Ok(suites)
}

/// The slowest contender of this suite in this run, and its rate; the suite is measured shortly if it has not been.
///
/// # Errors
/// As [`measure`].
pub fn slowest(terms: &Terms) -> Result<(String, f64)> {
    if SLOWEST.get().is_none() {
        let terms = Terms { rounds: 3, ..terms.with_block(Duration::from_millis(100)) };
        measure(&terms)?;
    }
    SLOWEST.get().cloned().context("no contender has a rate")
}

fn slowest_of(suite: &Suite) -> Option<(String, f64)> {
    let rates = suite.contenders.iter().map(|contender| (contender.name().to_owned(), contender.median()));
    rates.min_by(|left, right| left.1.total_cmp(&right.1))
}

static SLOWEST: OnceLock<(String, f64)> = OnceLock::new();
