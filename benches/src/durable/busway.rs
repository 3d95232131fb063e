//! busway as its users publish: through a bus with a stream, each event awaited to its receipt.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use busway::Durability;
use busway::prelude::*;
use busway_persistence::{ReadLimits, Store, StoreOptions};
use bytes::Bytes;
use tokio::runtime::Runtime;

use super::awaited::{self, Publish};
use super::event::event;
use super::flight::{Counts, Until, flying};
use super::folder::Folder;
use super::lap::{Holding, SyncedLap};
use super::written::Written;
use crate::terms::{Terms, two_workers};

/// Publishes for one lap with so many events in flight, each awaited to its receipt.
///
/// # Errors
/// The bus fails, or its log holds something else than it was given.
pub fn lap(terms: &Terms, in_flight: usize) -> Result<SyncedLap> {
    measured(terms, in_flight, |runtime, bus, until| {
        let publisher = Arc::new(bus.publisher::<Raw>(TOPIC)?);
        awaited::in_flight(runtime, Synced(publisher), in_flight, until)
    })
}

/// One handle, which all tasks share.
#[derive(Clone)]
struct Synced(Arc<Publisher<Raw>>);

impl Publish for Synced {
    async fn publish(&self, number: u64) -> Result<()> {
        let receipt = self.0.publish(payload(number)).await?;
        ensure!(receipt.durability == Durability::Synced, "{receipt}");
        Ok(())
    }
}

/// The same through `publish_batch`, so many events at a time.
///
/// # Errors
/// As [`lap`].
pub fn batches(terms: &Terms, per_sync: usize) -> Result<SyncedLap> {
    measured(terms, per_sync, |runtime, bus, until| {
        runtime.block_on(async move { tokio::spawn(by_batches(bus, per_sync, until)).await? })
    })
}

fn measured(
    terms: &Terms,
    per_sync: usize,
    publish: impl Fn(&Runtime, Bus, Until) -> Result<()>,
) -> Result<SyncedLap> {
    let folder = Folder::fresh("busway")?;
    let runtime = two_workers()?;
    let start = Bus::open(folder.path()).stream(Stream::new("events").capture("events.#")).start();
    let bus = runtime.block_on(start)?;
    let counts = || Ok(Counts { syncs: commits(folder.path())?, written: Written::so_far() });
    let lap = flying(terms, per_sync, counts, |until| publish(&runtime, bus.clone(), until))?;
    runtime.block_on(bus.shutdown(Duration::from_secs(10)));
    drop(runtime);
    lap.verified(&holding(folder.path(), per_sync)?)
}

async fn by_batches(bus: Bus, count: usize, until: Until) -> Result<()> {
    let topic = Topic::new(TOPIC)?;
    while let Some(numbers) = until.take(count) {
        let drafts = numbers.map(|number| Event::new(&topic, payload(number))).collect();
        let receipts = bus.publish_batch(drafts).await?;
        ensure!(receipts.len() == count, "{} receipts", receipts.len());
    }
    Ok(())
}

fn payload(number: u64) -> Raw {
    Raw(Bytes::copy_from_slice(&event(number)))
}

/// Commits so far: the number of the last transaction, in the newer one of the two pages that LMDB begins its file with.
fn commits(folder: &Path) -> Result<u64> {
    let mut pages = [0; 2 * PAGE_BYTES];
    File::open(folder.join("data.mdb"))?.read_exact(&mut pages)?;
    let number = |page: usize| -> Option<u64> {
        pages.get(page * PAGE_BYTES + TRANSACTION_AT..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
    };
    number(0).max(number(1)).context("the file has no number of a transaction")
}

/// How many events the log holds, and the newest of the last ones: tasks do not finish in the order of their numbers.
fn holding(folder: &Path, in_flight: usize) -> Result<Holding> {
    let store = Store::open(folder, StoreOptions::new())?;
    let (first, count) = store.bounds(0).unwrap_or_default();
    ensure!(first == 0, "the log begins at {first}");
    let mut from = count.saturating_sub(u64::try_from(in_flight)?);
    let mut last = None;
    while from < count {
        let page = store.read(0, from, None, ReadLimits::default())?;
        for stored in &page.events {
            let bytes = stored.event.typed::<Raw>()?.payload().0.to_vec();
            let number = bytes.first_chunk().map(|number| u64::from_be_bytes(*number));
            last = last.max(number.map(|number| (number, bytes)));
        }
        from = page.next;
    }
    Ok(Holding { count, last })
}

const TOPIC: &str = "events.measured";
/// Where LMDB writes the number of a transaction into its first two pages (`mdb.c`: `MDB_page`, `MDB_meta`), on machines of 64 bits with
/// pages of 4 KiB.
const TRANSACTION_AT: usize = 16 + 4 + 4 + 8 + 8 + 2 * 48 + 8;
const PAGE_BYTES: usize = 4_096;
