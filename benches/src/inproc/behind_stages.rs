//! 1p1c behind sync middlewares that look at the event and at the outcome.

use anyhow::Result;
use busway::prelude::*;
use tokio::runtime::Runtime;

use super::on_bus;
use super::stage::Look;
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::report::Suite;
use crate::terms::Terms;

/// Runs the suite with one stage.
///
/// # Errors
/// A message is lost.
pub fn measure_1(terms: &Terms) -> Result<Vec<Suite>> {
    measure(terms, "inproc/middleware-1", 1)
}

/// Runs the suite with four stages.
///
/// # Errors
/// A message is lost.
pub fn measure_4(terms: &Terms) -> Result<Vec<Suite>> {
    measure(terms, "inproc/middleware-4", 4)
}

fn measure(terms: &Terms, name: &'static str, stages: usize) -> Result<Vec<Suite>> {
    let question = Question {
        name,
        unit: Unit::PerSecond("events/s"),
        note: "the terms of inproc/1p1c, behind so many sync middlewares; busway-bare has none, in the same run; what a stage \
               costs alone: inproc/stage",
    };
    let contests = vec![
        Contest::new("busway", on_bus::version(), move |messages| run(messages, stages)),
        Contest::new("busway-bare", on_bus::version(), |messages| run(messages, 0)),
    ];
    interleave(terms, question, contests)
}

fn run(messages: u64, stages: usize) -> Result<Lap> {
    let start = |runtime: &Runtime| {
        let bus = on_bus::start(runtime)?;
        for stage in 0..stages {
            bus.middleware(Stage::User).add(&format!("look-{stage}"), Look)?;
        }
        Ok(bus)
    };
    on_bus::one_to_one(messages, start, on_bus::singly)
}
