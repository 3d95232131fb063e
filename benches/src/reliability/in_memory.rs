//! Events in memory, on one thread: published a few hundred at a time, then handled.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use busway::prelude::*;
use tokio::runtime::Runtime;

use crate::instructions::workload::counted_region;
use crate::sample::Sample;

/// A handler that does nothing but count, and its count.
pub(crate) fn counting()
-> (Arc<AtomicU64>, impl Fn(Payload<Sample>) -> Ready<()> + Clone + Send + Sync + 'static) {
    let handled = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&handled);
    let count = move |sample: Payload<Sample>| {
        std::hint::black_box(sample.number);
        counter.fetch_add(1, Ordering::Relaxed);
        ready(())
    };
    (handled, count)
}

/// Publishes so many events, behind a chunk that warms up: how many that is together, and how long those took.
pub(super) fn in_chunks(
    runtime: &Runtime,
    bus: &Bus,
    messages: u64,
    publish_one: impl Fn(u64) -> Result<()>,
) -> Result<(u64, Duration)> {
    let publish = |messages: u64| -> Result<()> {
        for first in (0..messages).step_by(CHUNK) {
            (first..messages.min(first + CHUNK as u64)).try_for_each(&publish_one)?;
            runtime.block_on(bus.idle());
        }
        Ok(())
    };
    publish(CHUNK as u64)?;
    let started = Instant::now();
    counted_region(|| publish(messages))?;
    Ok((messages + CHUNK as u64, started.elapsed()))
}

/// Published and then handled.
const CHUNK: usize = 512;
