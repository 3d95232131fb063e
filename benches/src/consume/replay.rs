//! Replay: the log is read from its first offset on, through a filter. Headers are decoded, payloads stay bytes.

use std::cell::RefCell;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use busway::prelude::*;
use busway_event::AnyEvent;
use busway_persistence::{ReadLimits, Store, StoreOptions, Stream};

use super::backlog::{self, STREAM};
use super::shelf::{self, Shelf, is_event};
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::inproc::on_bus::version;
use crate::report::Suite;
use crate::terms::{Terms, two_workers};

/// Runs the suite.
///
/// # Errors
/// A contender fails, or shows something else than it was given.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "consume/replay",
        unit: Unit::PerSecond("events/s"),
        note: "a log of 256-byte events is read from the first to the last, again and again, from the page cache, on one thread; busway: \
               pages of 256 through a filter that wants all, each record checked, its headers decoded, its payload left as bytes; \
               busway-tenth: through a filter that wants one in ten, of all events that it passes; the bare stores show number and \
               bytes and check and decode nothing: lmdb, one cursor over a map; redb, fjall: one range; sqlite: one SELECT",
    };
    let events = if terms.is_quick() { 100_000 } else { 500_000 };
    let folder = backlog::make(&two_workers()?, events)?;
    let stream = Stream::new(STREAM).capture("orders.#");
    let store = Store::open(folder.path(), StoreOptions::new().stream(stream))?;
    let partition = store.partitions(STREAM).context("the stream is there")?.start;
    let (all, tenth) = (Filter::new("orders.#")?, Filter::new("orders.+.cancelled")?);
    let replay = |filter: &Filter, wanted: u64| read(&store, partition, filter, events, wanted);

    let (_folders, shelves) = shelf::all()?;
    let mut contests = vec![
        Contest::new("busway", version(), |_| replay(&all, events)),
        Contest::new("busway-tenth", version(), |_| replay(&tenth, events / 10)),
    ];
    for (name, version, mut shelf) in shelves {
        shelf::fill(&mut *shelf, events)?;
        let shelf = RefCell::new(shelf);
        contests.push(Contest::new(name, version, move |_| show(&mut **shelf.borrow_mut(), events)));
    }
    interleave(terms, question, contests)
}

/// Reads the whole log once.
fn read(store: &Store, partition: u32, filter: &Filter, events: u64, wanted: u64) -> Result<Lap> {
    let (mut from, mut found, mut seen) = (0, 0_u64, 0);
    let started = Instant::now();
    while from < events {
        let page = store.read(partition, from, Some(filter), ReadLimits::default())?;
        found += page.events.len() as u64;
        seen += page.events.iter().map(|stored| headers(&stored.event)).sum::<usize>();
        ensure!(page.next > from, "nothing is at offset {from}");
        from = page.next;
    }
    let elapsed = started.elapsed();
    ensure!(found == wanted, "{found} events were found of {wanted}");
    std::hint::black_box(seen);
    Ok(Lap { handled: events, lost: 0, elapsed })
}

/// Looks at what was decoded.
fn headers(event: &AnyEvent) -> usize {
    event.topic().as_str().len()
        + event.metadata().producer().len()
        + usize::from(event.id().as_uuid().is_nil())
}

fn show(shelf: &mut dyn Shelf, events: u64) -> Result<Lap> {
    let mut shown = 0;
    let started = Instant::now();
    shelf.show(0, events, &mut |number, bytes| {
        shown += u64::from(number == shown && is_event(number, bytes));
    })?;
    let elapsed = started.elapsed();
    ensure!(shown == events, "{shown} events were shown of {events}");
    Ok(Lap { handled: events, lost: 0, elapsed })
}
