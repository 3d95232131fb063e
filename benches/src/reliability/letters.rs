//! Dead letters: how fast events become some, and how long an operator waits for a page among a million.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use busway::prelude::*;
use busway::{DurableSubscription, Selection};
use tokio::runtime::Runtime;

use super::few_rounds;
use crate::consume::backlog;
use crate::contest::{Contest, Lap, Question, Unit, interleave, interleave_alone};
use crate::durable::folder::has_room;
use crate::inproc::on_bus::version;
use crate::report::Suite;
use crate::terms::{Terms, two_workers};

/// Runs the suite of events that become letters.
///
/// # Errors
/// One does not.
pub fn measure_moves(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "reliability/dead-letters",
        unit: Unit::PerSecond("events/s"),
        note: "a backlog of 256-byte events, published before the clock starts: from the start of a new durable subscription whose handler gives each \
               event up until all of them are dead letters, with their records, reasons and attempts, and synced; busway: concurrency 1; \
               busway-8: concurrency 8; settled: the same backlog when the handler is done with each, concurrency 1. Letters of the laps before lie in \
               the store",
    };
    let events = if terms.is_quick() { 20_000 } else { 100_000 };
    let runtime = two_workers()?;
    let folder = backlog::make(&runtime, events)?;
    let bus = runtime.block_on(backlog::open(folder.path(), backlog::stream()))?;
    let laps = AtomicU64::new(0);
    let lap = |concurrency, gives_up| {
        let name = format!("lap-{}", laps.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(async {
            let started = Instant::now();
            let subscription = work_through(&bus, &name, concurrency, gives_up).await?;
            let elapsed = started.elapsed();
            let stats = subscription.stop().await;
            let decided = if gives_up { stats.dead } else { stats.done };
            ensure!(decided == events, "not what was meant: {stats}");
            bus.cursor(&name).remove().await?;
            Ok(Lap { handled: events, lost: 0, elapsed })
        })
    };
    let contests = vec![
        Contest::new("busway", version(), |_| lap(1, true)),
        Contest::new("busway-8", version(), |_| lap(8, true)),
        Contest::new("settled", version(), |_| lap(1, false)),
    ];
    let suites = interleave(&few_rounds(terms), question, contests)?;
    runtime.block_on(backlog::finish(&bus))?;
    Ok(suites)
}

/// Runs the suite of pages; left out, with a line, where the disk has no room for it. Shortly it is another one:
/// `reliability/dead-letters-page-100k`.
///
/// # Errors
/// A page shows something else than it should.
pub fn measure_page(terms: &Terms) -> Result<Vec<Suite>> {
    let (name, events) = match terms.is_quick() {
        true => ("reliability/dead-letters-page-100k", 100_000),
        false => ("reliability/dead-letters-page", 1_000_000),
    };
    if !has_room(name, events * BYTES_A_LETTER)? {
        return Ok(Vec::new());
    }
    let question = Question {
        name,
        unit: Unit::Milliseconds("ms/page"),
        note: "the first page of 100 among dead letters of 256-byte events: a million, 100,000 in the short suite; busway: with a text that is in one \
               of a hundred reasons; topics: of a filter that matches one in ten; rare: pages until the one letter is found, the last, that has a text, \
               so all of them are looked at",
    };
    let runtime = two_workers()?;
    let folder = backlog::make(&runtime, events)?;
    let bus = runtime.block_on(backlog::open(folder.path(), backlog::stream()))?;
    fill(&runtime, &bus, events)?;
    let of = || Selection::all().subscription(GIVEN_UP);
    let contests = vec![
        Contest::new("busway", version(), |_| first_page(&runtime, &bus, &of().text(TIMED_OUT))),
        Contest::new("topics", version(), |_| {
            first_page(&runtime, &bus, &of().topics("orders.+.cancelled")?)
        }),
        Contest::new("rare", version(), |_| search(&runtime, &bus, &of().text(LAST))),
    ];
    let suite = interleave_alone(&few_rounds(terms), question, contests)?;
    runtime.block_on(backlog::finish(&bus))?;
    Ok(vec![suite])
}

fn fill(runtime: &Runtime, bus: &Bus, events: u64) -> Result<()> {
    runtime.block_on(async {
        let stats = work_through(bus, GIVEN_UP, 1, true).await?.stop().await;
        ensure!(stats.dead == events, "not what was meant: {stats}");
        let count = bus.dead_letters().count(GIVEN_UP).await?;
        ensure!(count == events, "{count} letters of {events}");
        Ok(())
    })
}

/// A new subscription that has been through the backlog.
async fn work_through(
    bus: &Bus,
    name: &str,
    concurrency: usize,
    gives_up: bool,
) -> Result<DurableSubscription> {
    let handle = move |delivery: Delivery| {
        let offset = delivery.position().map_or(0, |position| position.offset);
        std::future::ready(match gives_up {
            true => Outcome::dead(reason(offset)),
            false => Outcome::Done,
        })
    };
    let subscription = bus.subscribe("orders.#").durable(name).start_at(StartAt::Earliest);
    let subscription = subscription.concurrency(concurrency).to(handle).await?;
    bus.idle().await;
    Ok(subscription)
}

fn reason(offset: u64) -> &'static str {
    match offset {
        SOMEWHERE => LAST,
        offset if offset.is_multiple_of(100) => TIMED_OUT,
        _ => "the service refuses it: there is no such customer",
    }
}

fn first_page(runtime: &Runtime, bus: &Bus, selection: &Selection) -> Result<Lap> {
    let started = Instant::now();
    for _ in 0..PAGES {
        let page = runtime.block_on(bus.dead_letters().list(selection))?;
        ensure!(page.letters.len() == 100, "{} letters in a page", page.letters.len());
    }
    Ok(Lap { handled: PAGES, lost: 0, elapsed: started.elapsed() })
}

fn search(runtime: &Runtime, bus: &Bus, selection: &Selection) -> Result<Lap> {
    let started = Instant::now();
    let mut selection = selection.clone();
    loop {
        let page = runtime.block_on(bus.dead_letters().list(&selection))?;
        if !page.letters.is_empty() {
            return Ok(Lap { handled: 1, lost: 0, elapsed: started.elapsed() });
        }
        let Some(next) = page.next else { anyhow::bail!("the letter was not found") };
        selection = selection.start(next);
    }
}

const GIVEN_UP: &str = "given-up";
const TIMED_OUT: &str = "the service timed out";
const LAST: &str = "the one that is looked for";
const SOMEWHERE: u64 = 99_999;
const PAGES: u64 = 5;
/// In the log and as a letter, with room for LMDB's pages.
const BYTES_A_LETTER: u64 = 1_500;
