//! Random topics among many subscriptions, some with wildcards.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use busway::Topic;

use super::tables::{Table, mixed_topics, visit};
use crate::contest::{Contest, Lap, Question, Unit, interleave_alone};
use crate::inproc::on_bus::version;
use crate::report::Suite;
use crate::terms::Terms;

/// Runs the suite with 100,000 subscriptions.
///
/// # Errors
/// The router does not agree with a scan of the filters.
pub fn measure_100k(terms: &Terms) -> Result<Vec<Suite>> {
    measure(terms, "route/mixed-100k", 100_000)
}

/// Runs the suite with 1,000,000 subscriptions.
///
/// # Errors
/// The router does not agree with a scan of the filters.
pub fn measure_1m(terms: &Terms) -> Result<Vec<Suite>> {
    measure(terms, "route/mixed-1m", 1_000_000)
}

fn measure(terms: &Terms, name: &'static str, subscriptions: usize) -> Result<Vec<Suite>> {
    eprintln!("building {name}");
    let table = Table::mixed(subscriptions)?;
    table.agrees_on(&mixed_topics(10, 1)?)?;
    // Texts that are there: a hit is a hit.
    let keys: Vec<&str> = table.map.keys().take(TOPICS).map(AsRef::as_ref).collect();
    let topics = mixed_topics(TOPICS, 2)?;
    let results: usize = topics.iter().map(|topic| table.router.walk(topic).len()).sum();
    let question = Question {
        name,
        unit: Unit::Nanoseconds("ns/op"),
        note: "so many subscriptions of four tokens, a tenth with + at a random level, one in fifty ending in #; random topics \
               that the thread's memory has not seen lately, matched and all targets visited; busway: Router::lookup_with as \
               publish calls it, busway-walk: Router::walk_with; hashmap: hits on as many texts of the table",
    };
    let (at_lookup, at_walk, at_hit) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let contests =
        vec![
            Contest::new("busway", version(), |lookups| {
                over(&topics, &at_lookup, lookups, |topic: &Topic| Ok(table.router.lookup_with(topic, visit)))
            }),
            Contest::new("hashmap", "std".to_owned(), |lookups| {
                over(&keys, &at_hit, lookups, |key| {
                    Ok(*table.map.get(*key).context("a key is missing")? as usize)
                })
            }),
            Contest::new("busway-walk", version(), |lookups| {
                over(&topics, &at_walk, lookups, |topic: &Topic| Ok(table.router.walk_with(topic, visit)))
            }),
        ];
    let mut suite = interleave_alone(terms, question, contests)?;
    let each = (results * 10 / TOPICS).to_string();
    let (whole, tenth) = each.split_at(each.len() - 1);
    suite.note = format!("{}; {whole}.{tenth} results a topic", suite.note);
    Ok(vec![suite])
}

/// Looks the items up in turn, beginning where the last lap ended.
fn over<T>(
    items: &[T],
    at: &Cell<usize>,
    operations: u64,
    find: impl Fn(&T) -> Result<usize>,
) -> Result<Lap> {
    ensure!(!items.is_empty(), "there is nothing to look up");
    let mut left = operations;
    let started = Instant::now();
    let mut found = 0_usize;
    for (next, item) in items.iter().enumerate().cycle().skip(at.get()) {
        if left == 0 {
            at.set(next);
            break;
        }
        found = found.wrapping_add(black_box(find(black_box(item))?));
        left -= 1;
    }
    let elapsed = started.elapsed();
    ensure!(found > 0, "nothing was found");
    Ok(Lap { handled: operations, lost: 0, elapsed })
}

/// Many times as many as a thread remembers, so that hardly any is found there.
const TOPICS: usize = 65_536;
