//! Two publisher tasks, one async handler, on a runtime with two workers.

use anyhow::Result;

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
        name: "inproc/2p1c",
        unit: Unit::PerSecond("events/s"),
        note: "two publisher tasks and one async handler on a runtime with two workers; busway-1p1c is busway with one publisher \
               in the same run; in memory, nothing lost; an Arc a message for the channels",
    };
    let contests = vec![
        Contest::new("busway", on_bus::version(), |messages| channels::busway(messages, Publishers::Two)),
        Contest::new("busway-1p1c", on_bus::version(), |messages| {
            channels::busway(messages, Publishers::One)
        }),
        Contest::new("tokio-mpsc", version_of("tokio"), |messages| {
            channels::tokio_mpsc(messages, Publishers::Two)
        }),
        Contest::new("flume", version_of("flume"), |messages| channels::flume(messages, Publishers::Two)),
        Contest::new("async-broadcast", version_of("async-broadcast"), |messages| {
            channels::async_broadcast(messages, Publishers::Two)
        }),
    ];
    interleave(terms, question, contests)
}
