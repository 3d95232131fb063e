//! A literal of four tokens among 37,449 subscriptions: from the thread's memory (warm), and without it (cold).

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use busway::Topic;

use super::tables::{Table, visit};
use crate::contest::{Contest, Lap, Question, Unit, interleave_alone};
use crate::inproc::on_bus::version;
use crate::report::Suite;
use crate::terms::Terms;

/// Runs the suite with a topic that has been looked up before.
///
/// # Errors
/// A lookup finds something else than it should.
pub fn measure_warm(terms: &Terms) -> Result<Vec<Suite>> {
    let table = Table::four_tokens()?;
    let topic = Topic::new(TOPIC)?;
    let question = Question {
        name: "route/four-warm",
        unit: Unit::Nanoseconds("ns/op"),
        note: "one of 37,449 subscriptions (and three with wildcards), a literal of four tokens, looked up again and again \
               (Router::lookup_with, as publish calls it, all targets visited); hashmap: a hit on the same text, default hasher",
    };
    let contests = vec![
        Contest::new("busway", version(), |lookups| {
            timed(lookups, || table.router.lookup_with(black_box(&topic), visit))
        }),
        hashmap(&table),
    ];
    Ok(vec![interleave_alone(terms, question, contests)?])
}

/// Runs the suite without any memory of earlier lookups.
///
/// # Errors
/// A lookup finds something else than it should.
pub fn measure_cold(terms: &Terms) -> Result<Vec<Suite>> {
    let table = Table::four_tokens()?;
    let (topic, two) = (Topic::new(TOPIC)?, Topic::new(TOPIC_OF_TWO)?);
    let question = Question {
        name: "route/four-cold",
        unit: Unit::Nanoseconds("ns/op"),
        note: "the same without the thread's memory of matches (Router::walk_with); busway-two: a topic of four tokens that two \
               wildcard subscriptions match and no literal",
    };
    let contests = vec![
        Contest::new("busway", version(), |lookups| {
            timed(lookups, || table.router.walk_with(black_box(&topic), visit))
        }),
        hashmap(&table),
        Contest::new("busway-two", version(), |lookups| {
            timed(lookups, || table.router.walk_with(black_box(&two), visit) / 2)
        }),
    ];
    Ok(vec![interleave_alone(terms, question, contests)?])
}

/// A hit in a hash map: what a lookup in memory costs people who write it by hand.
fn hashmap(table: &Table) -> Contest<'_> {
    Contest::new("hashmap", "std".to_owned(), |lookups| {
        timed(lookups, || usize::from(table.map.contains_key(black_box(TOPIC))))
    })
}

/// Runs an operation that finds exactly one thing.
fn timed(operations: u64, mut find: impl FnMut() -> usize) -> Result<Lap> {
    let started = Instant::now();
    let mut found = 0_u64;
    for _ in 0..operations {
        found += u64::try_from(black_box(find())).context("too much was found")?;
    }
    let elapsed = started.elapsed();
    ensure!(found == operations, "{operations} lookups found {found}");
    Ok(Lap { handled: operations, lost: 0, elapsed })
}

/// In the table once.
pub const TOPIC: &str = "apcera.continuum.component.router";

/// Matched by `cloud.#` and `cloud.nats.component.#`.
const TOPIC_OF_TWO: &str = "cloud.nats.component.router";
