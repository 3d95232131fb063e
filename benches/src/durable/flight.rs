//! The clock of publishers that are tasks: they take the next numbers from one counter until the time or the volume is used up.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::lap::{SyncedLap, events_max};
use super::written::Written;
use crate::terms::Terms;

/// Which events are published, and until when.
#[derive(Debug, Clone)]
pub struct Until {
    next: Arc<AtomicU64>,
    end: u64,
    time: Option<Instant>,
}

impl Until {
    /// So many events, however long it takes.
    #[must_use]
    pub fn number(events: u64) -> Self {
        Self { next: Arc::default(), end: events, time: None }
    }

    /// The numbers of the next events; `None` when it is over.
    #[must_use]
    pub fn take(&self, count: usize) -> Option<Range<u64>> {
        let count = u64::try_from(count).ok()?;
        if self.time.is_some_and(|time| Instant::now() >= time) {
            return None;
        }
        let take = |next: u64| (next + count <= self.end).then_some(next + count);
        let first = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(first..first + count)
    }
}

/// What a store, or a server, has done so far.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// How often it made everything durable; 0 where it does not say.
    pub syncs: u64,
    /// What it wrote, where the system counts that.
    pub written: Option<Written>,
}

/// Publishes events from 0 on, `in_flight` of them on their way at once: first for a tenth of a block or of the volume to warm up, then for a
/// block with the clock running, or to the end of the volume. `publish` returns when it gets no more numbers and all that it took are answered.
///
/// # Errors
/// Those of `publish` and of `counts`.
pub fn flying(
    terms: &Terms,
    in_flight: usize,
    counts: impl Fn() -> Result<Counts>,
    publish: impl Fn(Until) -> Result<()>,
) -> Result<SyncedLap> {
    let next = Arc::new(AtomicU64::new(0));
    let run = |end: u64, block: Duration| -> Result<Duration> {
        let started = Instant::now();
        publish(Until { next: Arc::clone(&next), end, time: Some(started + block) })?;
        Ok(started.elapsed())
    };
    let limit = events_max(terms, in_flight);
    run(limit / 10, terms.block / 10)?;
    let (first, before) = (next.load(Ordering::Relaxed), counts()?);
    let elapsed = run(limit, terms.block)?;
    let after = counts()?;
    let stored = next.load(Ordering::Relaxed);
    let written = after.written.zip(before.written).map(|(now, before)| now.since(before));
    let syncs = after.syncs.saturating_sub(before.syncs);
    Ok(SyncedLap { events: stored - first, syncs, elapsed, written, stored })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn no_number_is_taken_twice_and_the_warm_up_does_not_count() {
        let terms = Terms { block: Duration::from_millis(10), rounds: 1 };
        let (expected, syncs) = (Cell::new(0), Cell::new(0));
        let counts = || Ok(Counts { syncs: syncs.get(), written: None });
        let lap = flying(&terms, 64, counts, |until| {
            while let Some(numbers) = until.take(3) {
                assert_eq!(numbers.start, expected.replace(numbers.end));
                syncs.set(syncs.get() + 1);
            }
            Ok(())
        });
        let lap = lap.unwrap();
        assert_eq!((lap.stored, lap.events), (expected.get(), lap.syncs * 3));
        assert!(0 < lap.events && lap.events < lap.stored, "{lap:?}");
    }
}
