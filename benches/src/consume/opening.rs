//! Opening: a log of ten million events, from the start of the bus until the first one is with its handler.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use busway::StartAt;
use busway::prelude::*;
use tokio::runtime::Runtime;

use super::backlog;
use super::shelf::{self, LmdbShelf, Shelf as _, is_event};
use crate::contest::{Contest, Lap, Question, Unit, interleave_alone};
use crate::durable::folder::{Folder, has_room};
use crate::inproc::on_bus::version;
use crate::lockfile::version_of;
use crate::report::Suite;
use crate::terms::{Terms, two_workers};

/// Runs the suite; left out, with a line, where the disk has no room for it. Shortly it is another one: `consume/open-1m`.
///
/// # Errors
/// A contender fails.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let (name, events) =
        if terms.is_quick() { ("consume/open-1m", 1_000_000) } else { ("consume/open-10m", 10_000_000) };
    if !has_room(name, events * BYTES_AN_EVENT)? {
        return Ok(Vec::new());
    }
    let question = Question {
        name,
        unit: Unit::Milliseconds("ms"),
        note: "a log of so many 256-byte events, which is in the page cache: from the start of the bus until the handler of a new durable \
               subscription has the first one; lmdb: from opening it until the first event is seen",
    };
    let runtime = two_workers()?;
    let log = backlog::make(&runtime, events)?;
    let bare = Folder::fresh("lmdb")?;
    let mut shelf = LmdbShelf::open(bare.path())?;
    shelf::fill(&mut shelf, events)?;
    shelf.close();
    let names = AtomicU64::new(0);
    let contests = vec![
        Contest::new("busway", version(), |_| {
            open(&runtime, log.path(), &format!("lap-{}", names.fetch_add(1, Ordering::Relaxed)))
        }),
        Contest::new("lmdb", version_of("heed"), |_| open_bare(bare.path())),
    ];
    Ok(vec![interleave_alone(terms, question, contests)?])
}

fn open(runtime: &Runtime, folder: &Path, name: &str) -> Result<Lap> {
    let (first, seen) = mpsc::channel();
    let started = Instant::now();
    let handler = move |event: Event<Raw>, stopping: Stopping| {
        let first = first.clone();
        async move {
            _ = first.send((Instant::now(), is_event(0, &event.payload().0)));
            // One is enough: the others stay where they are.
            stopping.stopped().await;
        }
    };
    let bus = runtime.block_on(async {
        let bus = backlog::open(folder, backlog::stream()).await?;
        let subscription = bus.subscribe("orders.#").durable(name).start_at(StartAt::Earliest);
        subscription.to(handler).await?;
        anyhow::Ok(bus)
    })?;
    let (at, is_first) = seen.recv().context("no event came")?;
    ensure!(is_first, "another event than the first one came");
    runtime.block_on(bus.shutdown(std::time::Duration::ZERO));
    Ok(Lap { handled: 1, lost: 0, elapsed: at - started })
}

fn open_bare(folder: &Path) -> Result<Lap> {
    let started = Instant::now();
    let mut shelf = LmdbShelf::open(folder)?;
    let mut is_there = false;
    shelf.show(0, 1, &mut |number, bytes| is_there = is_event(0, bytes) && number == 0)?;
    let elapsed = started.elapsed();
    shelf.close();
    ensure!(is_there, "the first event is not there");
    Ok(Lap { handled: 1, lost: 0, elapsed })
}

/// In both logs together, with room for what a commit takes: 256 bytes in a page that is not full, twice, and a header.
const BYTES_AN_EVENT: u64 = 900;
