//! Settling: a durable subscription works through a backlog with a handler that does nothing.

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use busway::StartAt;
use tokio::runtime::Runtime;

use super::backlog::{self, publish};
use super::shelf::{self, Shelf, is_event};
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::durable::event::EVENT_BYTES;
use crate::durable::folder::Folder;
use crate::durable::written::Written;
use crate::inproc::on_bus::version;
use crate::lockfile::version_of;
use crate::report::{Contender, Suite};
use crate::terms::{Terms, two_workers};

/// Runs the suite. Beside the answer come `-switches` and `-bytes`.
///
/// # Errors
/// A contender fails, or handles something else than it was given.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "consume/settle",
        unit: Unit::PerSecond("events/s"),
        note: "a backlog of 256-byte events, published in batches before the clock starts: from the start of a new durable \
               subscription (concurrency 1, an async handler that counts) until every settlement is synced; busway-8: concurrency 8; \
               busway-live: while a publisher adds the events in batches of 4,096, synced, so publishing is part of it; \
               the bare stores copy 256 events out, count them, and commit how far they came, synced: no decoding, no checks",
    };
    let events = if terms.is_quick() { 100_000 } else { 300_000 };
    let runtime = two_workers()?;
    let folder = backlog::make(&runtime, events)?;
    let written = RefCell::new(Vec::new());
    let names = AtomicU64::new(0);
    let lap = |concurrency, source| {
        let name = format!("lap-{}", names.fetch_add(1, Ordering::Relaxed));
        consume(&runtime, folder.path(), &name, concurrency, source, events)
    };
    let (_folders, shelves) = shelf::all()?;
    let mut contests = vec![
        Contest::new("busway", version(), counted(&written, "busway", |_| lap(1, Source::Backlog))),
        Contest::new("busway-8", version(), counted(&written, "busway-8", |_| lap(8, Source::Backlog))),
        Contest::new("busway-live", version(), |_| lap(1, Source::Live)),
    ];
    for (name, version, mut shelf) in shelves {
        shelf::fill(&mut *shelf, events)?;
        contests.push(Contest::new(
            name,
            version,
            counted(&written, name, move |_| work_through(&mut *shelf, events)),
        ));
    }
    let mut suites = interleave(terms, question, contests)?;
    suites.extend(bytes(&written.into_inner(), events));
    Ok(suites)
}

/// Settles a backlog of so many events under a new name, one at a time.
///
/// # Errors
/// The bus fails, or handles something else.
pub fn from_backlog(runtime: &Runtime, backlog: &Path, name: &str, events: u64) -> Result<Lap> {
    consume(runtime, backlog, name, 1, Source::Backlog, events)
}

/// Where the events of a lap come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// They were there before.
    Backlog,
    /// They are published meanwhile, into a log of their own.
    Live,
}

fn consume(
    runtime: &Runtime,
    backlog: &Path,
    name: &str,
    concurrency: usize,
    source: Source,
    events: u64,
) -> Result<Lap> {
    let own = (source == Source::Live).then(|| Folder::fresh("busway-live")).transpose()?;
    let folder = own.as_ref().map_or(backlog, Folder::path);
    runtime.block_on(async {
        let bus = backlog::open(folder, backlog::stream()).await?;
        let (handled, counting) = backlog::counting();
        let started = Instant::now();
        let subscription = bus.subscribe("orders.#").durable(name).start_at(StartAt::Earliest);
        let subscription = subscription.concurrency(concurrency).to(counting).await?;
        if source == Source::Live {
            publish(&bus, 0, events).await?;
        }
        bus.idle().await;
        let elapsed = started.elapsed();
        let (handled, lag) = (handled.load(Ordering::Relaxed), subscription.lag().events);
        ensure!(handled == events && lag == 0, "{handled} events were handled of {events}, {lag} are left");
        backlog::finish(&bus).await?;
        Ok(Lap { handled, lost: 0, elapsed })
    })
}

fn work_through(shelf: &mut dyn Shelf, events: u64) -> Result<Lap> {
    let mut handled = 0;
    let started = Instant::now();
    while handled < events {
        let mut page: Vec<(u64, Vec<u8>)> = Vec::with_capacity(PAGE);
        shelf.show(handled, PAGE as u64, &mut |number, bytes| page.push((number, bytes.to_vec())))?;
        ensure!(!page.is_empty(), "nothing lies behind event {handled}");
        for (number, bytes) in page {
            ensure!(number == handled && is_event(number, &bytes), "event {handled} is {number}");
            handled += 1;
        }
        shelf.settle(handled)?;
    }
    Ok(Lap { handled, lost: 0, elapsed: started.elapsed() })
}

type Count = (&'static str, Written);

fn counted<'a>(
    counts: &'a RefCell<Vec<Count>>,
    name: &'static str,
    mut run: impl FnMut(u64) -> Result<Lap> + 'a,
) -> impl FnMut(u64) -> Result<Lap> + 'a {
    move |messages| {
        let before = Written::so_far();
        let lap = run(messages)?;
        counts
            .borrow_mut()
            .extend(Written::so_far().zip(before).map(|(now, before)| (name, now.since(before))));
        Ok(lap)
    }
}

/// `None` where the system does not count them.
#[expect(clippy::cast_precision_loss, reason = "a ratio is no count")]
fn bytes(counts: &[Count], events: u64) -> Option<Suite> {
    let row = |(name, version): (&'static str, String)| {
        // The first round is discarded here too.
        let samples = counts.iter().filter(|(of, _)| *of == name).skip(1);
        let samples = samples.map(|(_, written)| written.by_calls as f64 / events as f64);
        Contender::new(name, version, samples.collect())
    };
    let rows = [
        ("busway", version()),
        ("busway-8", version()),
        ("lmdb", version_of("heed")),
        ("redb", version_of("redb")),
        ("fjall", version_of("fjall")),
        ("sqlite", version_of("rusqlite")),
    ];
    (!counts.is_empty()).then(|| Suite {
        name: "consume/settle-bytes".to_owned(),
        unit: "bytes/event".to_owned(),
        higher_is_better: false,
        note: format!(
            "handed to write calls (wchar of /proc/self/io) for settling an event of {EVENT_BYTES} bytes, in the laps of consume/settle, \
             opening and closing of the log included"
        ),
        contenders: rows.into_iter().map(row).collect(),
        curves: Vec::new(),
    })
}

/// Events that a bare store copies out at once: as many as a page of busway's.
const PAGE: usize = 256;
