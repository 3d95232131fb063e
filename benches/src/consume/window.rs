//! A window: ten million events go through a log that keeps a million, and its file is looked at.

use std::path::Path;

use anyhow::{Context, Result};
use busway::{Retention, Stream};
use busway_persistence::{Store, StoreOptions};

use super::backlog::{self, BATCH, STREAM, publish};
use super::shelf::{self, LmdbShelf};
use crate::durable::event::EVENT_BYTES;
use crate::durable::folder::{Folder, has_room};
use crate::inproc::on_bus::version;
use crate::lockfile::version_of;
use crate::progress::Progress;
use crate::report::{Contender, Suite};
use crate::terms::{Terms, two_workers};

/// Runs the suite; left out, with a line, where the disk has no room for it. Shortly it is another one: `consume/retention-1m`.
///
/// # Errors
/// A contender fails.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let (name, events, kept) = match terms.is_quick() {
        true => ("consume/retention-1m", 1_000_000, 100_000),
        false => ("consume/retention-10m", 10_000_000, 1_000_000),
    };
    if !has_room(name, kept * BYTES_AN_EVENT)? {
        return Ok(Vec::new());
    }
    let progress = Progress::new(name, 2);
    progress.running("busway");
    let [file, records] = busway(events, kept)?;
    progress.ran();
    progress.running("lmdb");
    let bare = lmdb(events, kept)?;
    progress.ran();
    progress.done();
    Ok(vec![Suite {
        name: name.to_owned(),
        unit: "bytes of file / live byte".to_owned(),
        higher_is_better: false,
        note: format!(
            "{events} events of {EVENT_BYTES} bytes, in batches of 4,096, into a log that keeps {kept}: the length of its file, by the bytes \
             of the payloads of the {kept}; busway-records: by the bytes of all events that it still holds, with their headers, as they \
             are encoded; lmdb: the oldest 4,096 are removed in the commit that adds 4,096, by the bytes of its values"
        ),
        contenders: vec![
            Contender::new("busway", version(), vec![file]),
            Contender::new("busway-records", version(), vec![records]),
            Contender::new("lmdb", version_of("heed"), vec![bare]),
        ],
        curves: Vec::new(),
    }])
}

fn busway(events: u64, kept: u64) -> Result<[f64; 2]> {
    let folder = Folder::fresh("busway")?;
    let stream = || Stream::new(STREAM).capture("orders.#").retention(Retention::forever().count(kept));
    two_workers()?.block_on(async {
        let bus = backlog::open(folder.path(), stream()).await?;
        publish(&bus, 0, events).await?;
        backlog::finish(&bus).await
    })?;
    let bytes = bytes_of(folder.path())?;
    let store = Store::open(folder.path(), StoreOptions::new().stream(stream()))?;
    let partition = store.partitions(STREAM).context("the stream is there")?.start;
    let (first, next) = store.bounds(partition).context("the partition is there")?;
    anyhow::ensure!(next == events && next - first >= kept, "the log goes from {first} to {next}");
    Ok([ratio(bytes, kept * EVENT_BYTES as u64), ratio(bytes, (next - first) * RECORD_BYTES)])
}

fn lmdb(events: u64, kept: u64) -> Result<f64> {
    let folder = Folder::fresh("lmdb")?;
    let mut shelf = LmdbShelf::open(folder.path())?;
    shelf::fill(&mut shelf, kept)?;
    let (mut first, mut next) = (0, kept);
    while next < events {
        let step = BATCH.min(events - next);
        shelf.replace((first, first + step), next)?;
        (first, next) = (first + step, next + step);
    }
    shelf.close();
    Ok(ratio(bytes_of(folder.path())?, kept * EVENT_BYTES as u64))
}

fn bytes_of(folder: &Path) -> Result<u64> {
    let file = folder.join("data.mdb");
    Ok(std::fs::metadata(&file).with_context(|| format!("no {}", file.display()))?.len())
}

#[expect(clippy::cast_precision_loss, reason = "a ratio is no count")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// An event of these suites as a record: payload, eight bytes of prefix, a head of 75 bytes with three numbered names.
const RECORD_BYTES: u64 = EVENT_BYTES as u64 + 8 + 75;

/// On the disk at most, with pages that wait to be used again.
const BYTES_AN_EVENT: u64 = 1_000;
