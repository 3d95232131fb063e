//! An open loop: a thread publishes an event when it is due, whatever became of those before it, and notes when it was accepted. It sleeps in between, so that cores
//! are left for what is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use busway::prelude::*;
use hdrhistogram::Histogram;

use crate::sample::Sample;

/// 5,000 events a second, of one topic after the other, each marked with when it is due.
pub(super) struct OpenLoop {
    publisher: JoinHandle<Result<Vec<Published>>>,
    stop: Arc<AtomicBool>,
}

/// An event that was accepted; all in nanoseconds from the epoch.
pub(super) struct Published {
    pub(super) due: u64,
    pub(super) called: u64,
    pub(super) accepted: u64,
}

impl OpenLoop {
    pub(super) fn start(bus: &Bus, topics: Vec<Topic>, epoch: Instant) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (bus, stopped) = (bus.clone(), Arc::clone(&stop));
        let publisher = thread::spawn(move || {
            let mut published = Vec::with_capacity(EVENTS_MAX);
            let start = nanoseconds(epoch);
            for (number, topic) in (0..).zip(topics.iter().cycle()).take(EVENTS_MAX) {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let due = start + number * PERIOD_NS;
                if let Some(early) = due.checked_sub(nanoseconds(epoch)) {
                    thread::sleep(Duration::from_nanos(early));
                }
                let called = nanoseconds(epoch);
                pollster::block_on(bus.publish(Event::new(topic, Sample::new(number).marked(due))))?;
                published.push(Published { due, called, accepted: nanoseconds(epoch) });
            }
            Ok(published)
        });
        Self { publisher, stop }
    }

    /// Stops it: what was published.
    pub(super) fn end(self) -> Result<Vec<Published>> {
        self.stop.store(true, Ordering::Relaxed);
        self.publisher.join().map_err(|_| anyhow!("the publisher panicked"))?
    }
}

pub(super) fn nanoseconds(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// What one in a hundred has or exceeds; three digits.
pub(super) fn p99(values: impl IntoIterator<Item = u64>) -> Result<u64> {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3)?;
    values.into_iter().for_each(|value| histogram.saturating_record(value));
    Ok(histogram.value_at_quantile(0.99))
}

const PERIOD_NS: u64 = 200_000;
/// A minute's.
pub(super) const EVENTS_MAX: usize = 300_000;
/// Longer than any that is not a failure.
const LONGEST_NS: u64 = 60_000_000_000;
