//! A handler that runs inside the publish: the least that an event can cost.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};
use busway::prelude::*;

use super::on_bus::{self, Handling, TOPIC};
use super::stage::Look;
use crate::contest::{Contest, Lap, Question, Unit, interleave, interleave_alone};
use crate::course::Course;
use crate::report::{Contender, Suite};
use crate::sample::Sample;
use crate::terms::{Terms, two_workers};

/// Runs the suite.
///
/// # Errors
/// A contender fails.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "inproc/inline",
        unit: Unit::Nanoseconds("ns/event"),
        note: "Publisher::try_publish to one inline handler, warm topic, one thread; hashmap: a hit on the topic's text in a \
               HashMap<Box<str>, u32> with the default hasher",
    };
    let contests = vec![
        Contest::new("busway", on_bus::version(), |messages| busway(messages, 0)),
        Contest::new("hashmap", "std".to_owned(), hashmap),
    ];
    Ok(vec![interleave_alone(terms, question, contests)?])
}

/// What a sync middleware stage costs: inline events with four stages and with none, round by round.
///
/// # Errors
/// A contender fails.
pub fn measure_stage(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "inproc/stage",
        unit: Unit::Nanoseconds("ns/event"),
        note: "inline handler, with four sync stages and with none; the difference of each round by four",
    };
    let contests = vec![
        Contest::new("four", on_bus::version(), |messages| busway(messages, 4)),
        Contest::new("none", on_bus::version(), |messages| busway(messages, 0)),
    ];
    let mut suites = interleave(terms, question, contests)?;
    let Some(suite) = suites.first_mut() else { return Ok(suites) };
    let [four, none] = ["four", "none"].map(|name| suite.contender(name).map_or(&[][..], Contender::samples));
    let costs = four.iter().zip(none).map(|(four, none)| (four - none) / 4.0).collect();
    let costs = Contender::new("busway", on_bus::version(), costs);
    "ns/stage".clone_into(&mut suite.unit);
    suite.contenders = vec![costs];
    suites.truncate(1);
    Ok(suites)
}

fn busway(messages: u64, stages: usize) -> Result<Lap> {
    let runtime = two_workers()?;
    let course = Course::new(1);
    let bus = on_bus::with_receivers(&runtime, &course, 1, Handling::Inline)?;
    for stage in 0..stages {
        bus.middleware(Stage::User).add(&format!("look-{stage}"), Look)?;
    }
    let publisher = bus.publisher::<Sample>(TOPIC)?;
    let lap = crate::course::from_this_thread(&course, messages, |mut numbers| {
        numbers.try_for_each(|number| publisher.try_publish(Sample::new(number)).map(|_receipt| ()))?;
        Ok(())
    })?;
    on_bus::finish(&runtime, &bus, &course, messages, lap)
}

fn hashmap(hits: u64) -> Result<Lap> {
    let map: HashMap<Box<str>, u32> = HashMap::from([(TOPIC.into(), 1)]);
    let started = Instant::now();
    let found: u64 =
        (0..hits).map(|_| u64::from(map.get(black_box(TOPIC)).copied().unwrap_or(0))).map(black_box).sum();
    let elapsed = started.elapsed();
    ensure!(found == hits, "{hits} hits found {found}");
    Ok(Lap { handled: hits, lost: 0, elapsed })
}
