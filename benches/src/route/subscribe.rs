//! The table changes while it is read: 100,000 subscriptions, one writer, one reader.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use busway::{Filter, Topic};
use busway_router::Router;
use fastrand::Rng;

use super::tables::{Table, mixed_literal, mixed_topics};
use crate::contest::{Contest, Lap, Question, Unit, interleave_alone};
use crate::inproc::on_bus::version;
use crate::report::{Contender, Suite};
use crate::statistics::median;
use crate::terms::Terms;

/// Runs the suite, and `route/subscribe-100k-reader`: what the reader saw meanwhile.
///
/// # Errors
/// A subscription that was inserted is not found, or one that was removed is.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    eprintln!("building route/subscribe-100k");
    let table = Table::mixed(100_000)?;
    let mut map: HashMap<Box<str>, u32> = table.map.clone();
    let filters = literals(FILTERS)?;
    let topics = mixed_topics(4_096, 3)?;
    let question = Question {
        name: "route/subscribe-100k",
        unit: Unit::Nanoseconds("ns/pair"),
        note: "one insert and one remove of a literal, 100,000 mixed subscriptions present, while another thread matches random \
               topics; hashmap: insert and remove in a plain HashMap of as many, nobody reading",
    };
    let mut reads: Vec<f64> = Vec::new();
    let contests = vec![
        Contest::new("busway", version(), |pairs| {
            let (lap, read_ns) =
                while_reading(&table.router, &topics, || change(&table.router, &filters, pairs))?;
            reads.push(read_ns);
            Ok(lap)
        }),
        Contest::new("hashmap", "std".to_owned(), |pairs| change_map(&mut map, &filters, pairs)),
    ];
    let mut suite = interleave_alone(terms, question, contests)?;
    suite.note += "; the router's answers before and after were compared with a scan of the filters";
    table.agrees_on(&mixed_topics(10, 4)?)?;
    // The first round is discarded here too.
    let reads = reads.split_off(1.min(reads.len()));
    let quiet = quiet_reads(&table.router, &topics, reads.len())?;
    ensure!(median(&reads).is_finite(), "the reader saw nothing");
    let reader = Suite {
        name: "route/subscribe-100k-reader".to_owned(),
        unit: "ns/op".to_owned(),
        higher_is_better: false,
        note: "one match (Router::walk) on another thread: busway while subscriptions come and go as fast as they can, \
               busway-quiet while nothing changes and the other core rests"
            .to_owned(),
        contenders: vec![
            Contender::new("busway", version(), reads),
            Contender::new("busway-quiet", version(), quiet),
        ],
        curves: Vec::new(),
    };
    Ok(vec![suite, reader])
}

fn literals(count: usize) -> Result<Vec<(Filter, Topic)>> {
    let mut random = Rng::with_seed(5);
    let filters = (0..count).map(|_| mixed_literal(&mut random));
    filters
        .map(|filter| filter.and_then(|filter| Ok((filter.clone(), Topic::new(filter.as_str())?))))
        .collect()
}

fn change(router: &Router<u32>, filters: &[(Filter, Topic)], pairs: u64) -> Result<Lap> {
    let before = router.len();
    let target = Arc::new(u32::MAX);
    let started = Instant::now();
    for (filter, _) in filters.iter().cycle().take(usize::try_from(pairs)?) {
        let route = router.insert(filter, Arc::clone(&target));
        router.remove(route).context("a route that was inserted is gone")?;
    }
    let elapsed = started.elapsed();
    ensure!(router.len() == before, "the table has another size than before");
    let (filter, topic) = filters.first().context("there is nothing to insert")?;
    let found = |router: &Router<u32>| router.lookup(topic).iter().any(|found| **found == u32::MAX);
    let route = router.insert(filter, target);
    ensure!(found(router), "a route that was inserted is not found");
    router.remove(route);
    ensure!(!found(router), "a route that was removed is found");
    Ok(Lap { handled: pairs, lost: 0, elapsed })
}

fn change_map(map: &mut HashMap<Box<str>, u32>, filters: &[(Filter, Topic)], pairs: u64) -> Result<Lap> {
    let started = Instant::now();
    for (_, topic) in filters.iter().cycle().take(usize::try_from(pairs)?) {
        let old = map.insert(topic.as_str().into(), u32::MAX);
        match old {
            Some(old) => map.insert(topic.as_str().into(), old),
            None => map.remove(topic.as_str()),
        };
    }
    Ok(Lap { handled: pairs, lost: 0, elapsed: started.elapsed() })
}

/// Runs `work` while another thread matches, and says how long one match took there.
fn while_reading(
    router: &Router<u32>,
    topics: &[Topic],
    work: impl FnOnce() -> Result<Lap>,
) -> Result<(Lap, f64)> {
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let started = Instant::now();
            for topic in topics.iter().cycle() {
                black_box(router.walk(topic));
                reads.fetch_add(1, Ordering::Relaxed);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            nanoseconds_each(&started, reads.load(Ordering::Relaxed))
        });
        let lap = work();
        stop.store(true, Ordering::Relaxed);
        let read_ns = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
        Ok((lap?, read_ns))
    })
}

fn quiet_reads(router: &Router<u32>, topics: &[Topic], runs: usize) -> Result<Vec<f64>> {
    let runs = (0..runs).map(|_| {
        let started = Instant::now();
        let results: usize = topics.iter().map(|topic| black_box(router.walk(topic)).len()).sum();
        ensure!(results > 0, "nothing was found");
        Ok(nanoseconds_each(&started, topics.len() as u64))
    });
    runs.collect()
}

#[expect(clippy::cast_precision_loss, reason = "a mean is no count")]
fn nanoseconds_each(started: &Instant, operations: u64) -> f64 {
    started.elapsed().as_secs_f64() * 1e9 / operations as f64
}

/// Enough that no two pairs in a row touch the same path.
const FILTERS: usize = 4_096;
