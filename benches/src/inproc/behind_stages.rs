//! 1p1c behind sync middlewares that look at the event and at the outcome.

use std::sync::Arc;

use anyhow::Result;
use busway::prelude::*;

use super::on_bus::{self, Handling, TOPIC};
use super::stage::Look;
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::course::{Course, from_this_thread};
use crate::report::Suite;
use crate::sample::Sample;
use crate::terms::{Terms, two_workers};

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
    let runtime = two_workers()?;
    let course = Course::new(1);
    let bus = on_bus::with_receivers(&runtime, &course, 1, Handling::Blocking)?;
    for stage in 0..stages {
        bus.middleware(Stage::User).add(&format!("look-{stage}"), Look)?;
    }
    let publisher = Arc::new(bus.publisher::<Sample>(TOPIC)?);
    let lap = from_this_thread(&course, messages, |numbers| {
        pollster::block_on(on_bus::publish(Arc::clone(&publisher), numbers))
    })?;
    on_bus::finish(&runtime, &bus, &course, messages, lap)
}
