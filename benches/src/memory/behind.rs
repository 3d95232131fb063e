//! What a consumer that is five million events behind takes: the log is its queue, so it should be nothing.
//!
//! The log is made by the harness; the process that is looked at only opens it. What it takes is anonymous memory (`RssAnon`): the
//! file's own pages belong to the page cache, and go when somebody else needs them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use busway::StartAt;

use super::child;
use super::counted::Answers;
use crate::consume::backlog;
use crate::durable::folder::has_room;
use crate::inproc::on_bus::version;
use crate::progress::Progress;
use crate::report::{Contender, Suite};
use crate::terms::{Terms, two_workers};

/// Runs the suite; left out, with a line, where the disk has no room for it. Shortly it is another one: `memory/behind-500k`.
///
/// # Errors
/// The child fails, or the system does not say what it takes.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let (name, events) =
        if terms.is_quick() { ("memory/behind-500k", 500_000) } else { ("memory/behind-5m", 5_000_000) };
    if !has_room(name, events * BYTES_AN_EVENT)? {
        return Ok(Vec::new());
    }
    let progress = Progress::new(name, 1);
    progress.running("busway-counted");
    let folder = backlog::make(&two_workers()?, events)?;
    let path = folder.path().to_str().context("the folder's name is no text")?;
    let answers = child::ask(&["behind", path])?;
    progress.ran();
    progress.done();
    let contenders = answers.into_iter().map(|(name, bytes)| Contender::new(name, version(), vec![bytes]));
    Ok(vec![Suite {
        name: name.to_owned(),
        unit: "bytes".to_owned(),
        higher_is_better: false,
        note: format!(
            "anonymous memory (RssAnon) of a process of its own, at its highest, while a durable subscription (concurrency 8) works through a \
             backlog of {events} events of 256 bytes, and a publisher adds {PUBLISHED} meanwhile in batches of 4,096; busway-start: before the \
             bus is opened"
        ),
        contenders: contenders.collect(),
        curves: Vec::new(),
    }])
}

/// The child's part.
///
/// # Errors
/// The bus fails, or an event is missing.
pub(super) fn answer(folder: &Path) -> Result<Answers> {
    let runtime = two_workers()?;
    let start = anonymous()?;
    let (most, handled) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let behind = runtime.block_on(async {
        let bus = backlog::open(folder, backlog::stream()).await?;
        let (peak, counter) = (Arc::clone(&most), Arc::clone(&handled));
        let counting = move || {
            // Now and then: reading it takes some microseconds.
            if counter.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLED) {
                peak.fetch_max(anonymous().unwrap_or(u64::MAX), Ordering::Relaxed);
            }
            std::future::ready(())
        };
        let subscription = bus.subscribe("orders.#").durable("behind").start_at(StartAt::Earliest);
        let subscription = subscription.concurrency(8).to(counting).await?;
        let behind = subscription.lag().events;
        backlog::publish(&bus, 0, PUBLISHED).await?;
        bus.idle().await;
        backlog::finish(&bus).await?;
        anyhow::Ok(behind)
    })?;
    let handled = handled.load(Ordering::Relaxed);
    ensure!(handled >= behind + PUBLISHED, "{handled} events were handled, {behind} were there before");
    let most = most.load(Ordering::Relaxed);
    ensure!(most != u64::MAX, "the system does not say RssAnon");
    Ok(vec![("busway".to_owned(), as_number(most)), ("busway-start".to_owned(), as_number(start))])
}

fn anonymous() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("there is no /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("RssAnon")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("RssAnon")?;
    Ok(kib * 1_024)
}

#[expect(clippy::cast_precision_loss, reason = "a footprint is below 2^52")]
const fn as_number(bytes: u64) -> f64 {
    bytes as f64
}

/// Events that are published while the backlog is worked through.
const PUBLISHED: u64 = 200_000;
const SAMPLED: u64 = 10_000;

/// On the disk at most.
const BYTES_AN_EVENT: u64 = 450;
