//! A backlog: a bus's log with events in it, published in batches before anything is measured.

use std::future::{Ready, ready};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use busway::draft::Draft;
use busway::prelude::*;
use busway::{Stream, Topic};
use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::durable::event::event;
use crate::durable::folder::Folder;

/// Starts a bus on the log in a folder.
///
/// # Errors
/// It does not start.
pub async fn open(folder: &Path, stream: Stream) -> Result<Bus> {
    Ok(Bus::open(folder).stream(stream).producer("bench").start().await?)
}

/// The stream of every suite: one partition, and everything that is published.
#[must_use]
pub fn stream() -> Stream {
    Stream::new(STREAM).capture("orders.#")
}

/// A handler that does nothing but count, and its count.
pub fn counting() -> (Arc<AtomicU64>, impl Fn() -> Ready<()> + Clone + Send + Sync + 'static) {
    let handled = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&handled);
    let count = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        ready(())
    };
    (handled, count)
}

/// Publishes events from number `first` to `past`, the last one excluded, in batches.
///
/// # Errors
/// One is refused.
pub async fn publish(bus: &Bus, first: u64, past: u64) -> Result<()> {
    let topics: Vec<Topic> = TOPICS.iter().map(Topic::new).collect::<std::result::Result<_, _>>()?;
    let mut next = first;
    while next < past {
        let end = past.min(next + BATCH);
        let drafts = (next..end).map(|number| draft(&topics, number)).collect::<Result<Vec<_>>>()?;
        let receipts = bus.publish_batch(drafts).await?;
        ensure!(receipts.len() as u64 == end - next, "{} receipts for {} events", receipts.len(), end - next);
        next = end;
    }
    Ok(())
}

fn draft(topics: &[Topic], number: u64) -> Result<Draft<Raw>> {
    let at = usize::try_from(number % TOPICS.len() as u64)?;
    let topic = topics.get(at).context("there are topics")?;
    Ok(Event::new(topic, Raw(Bytes::copy_from_slice(&event(number)))))
}

/// A folder with a log of so many events; the bus that made it is closed.
///
/// # Errors
/// It cannot be made.
pub fn make(runtime: &Runtime, events: u64) -> Result<Folder> {
    let folder = Folder::fresh("busway")?;
    runtime.block_on(async {
        let bus = open(folder.path(), stream()).await?;
        publish(&bus, 0, events).await?;
        finish(&bus).await
    })?;
    Ok(folder)
}

/// Stops a bus that has nothing left to do.
///
/// # Errors
/// Something was left.
pub async fn finish(bus: &Bus) -> Result<()> {
    let report = bus.shutdown(Duration::from_secs(10)).await;
    ensure!(report.is_drained(), "the bus did not drain: {report}");
    Ok(())
}

/// The stream's name.
pub const STREAM: &str = "orders";

/// Event `n` has topic `n % 10`: one in ten is a cancellation.
pub const TOPICS: [&str; 10] = [
    "orders.us-east.created",
    "orders.us-west.created",
    "orders.eu-north.created",
    "orders.us-east.paid",
    "orders.us-west.paid",
    "orders.eu-north.paid",
    "orders.us-east.shipped",
    "orders.us-west.shipped",
    "orders.eu-north.shipped",
    "orders.us-east.cancelled",
];

/// Events a batch, and a commit of the stores beside it.
pub const BATCH: u64 = 4_096;
