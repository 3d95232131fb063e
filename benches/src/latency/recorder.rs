//! When each message was handled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::runtime::Runtime;

use super::generator::{Load, Offer, nanoseconds_since};
use crate::course::Course;
use crate::sample::Sample;

/// A place for the latency of each message; written once each, so that recording is one store.
#[derive(Debug)]
pub(super) struct Recorder {
    course: Arc<Course>,
    epoch: Instant,
    latencies_ns: Vec<AtomicU64>,
}

impl Recorder {
    pub(super) fn new(load: &Load) -> Result<Arc<Self>> {
        let places = usize::try_from(load.messages)?;
        let latencies_ns = std::iter::repeat_with(|| AtomicU64::new(NEVER)).take(places).collect();
        Ok(Arc::new(Self { course: Course::new(1), epoch: Instant::now(), latencies_ns }))
    }

    /// A message is being handled.
    #[inline]
    pub(super) fn handled(&self, sample: &Sample) {
        let latency_ns = nanoseconds_since(self.epoch).saturating_sub(sample.mark);
        let place = usize::try_from(sample.number).ok().and_then(|number| self.latencies_ns.get(number));
        if let Some(place) = place {
            place.store(latency_ns, Ordering::Relaxed);
        }
        self.course.handled(0, sample);
    }

    /// Offers the load from a task and returns the latencies, once all messages were handled; without the first tenth, in
    /// which caches and queues warm up. `publish` sends what the offer gives out.
    ///
    /// # Errors
    /// A message is lost or refused.
    pub(super) fn run<F, Fut>(&self, runtime: &Runtime, load: &Load, publish: F) -> Result<Histogram<u64>>
    where
        F: FnOnce(Offer) -> Fut,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let started = self.course.start(load.messages);
        let (work, course) = (publish(load.start(self.epoch)), Arc::clone(&self.course));
        let publisher = runtime.spawn(async move {
            if let Err(error) = work.await {
                course.fail(&error);
            }
        });
        let lap = self.course.wait(started)?;
        runtime.block_on(publisher)?;
        self.course.verify(load.messages, lap)?;
        let mut latencies = histogram()?;
        for place in self.latencies_ns.iter().skip(self.latencies_ns.len() / 10) {
            let latency_ns = place.load(Ordering::Relaxed);
            ensure!(latency_ns != NEVER, "a message was counted and not handled");
            latencies.saturating_record(latency_ns.max(1));
        }
        Ok(latencies)
    }
}

/// Three digits, up to a minute.
pub(super) fn histogram() -> Result<Histogram<u64>> {
    let most_ns = u64::try_from(Duration::from_mins(1).as_nanos())?;
    Histogram::new_with_bounds(1, most_ns, 3).context("the bounds of the histogram are wrong")
}

/// No latency is as long.
const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::two_workers;

    #[test]
    fn every_message_of_a_run_is_recorded_but_those_of_the_warm_up() {
        let load = Load::new(1_000_000.0, Duration::from_millis(300));
        let (runtime, recorder) = (two_workers().unwrap(), Recorder::new(&load).unwrap());
        let handler = Arc::clone(&recorder);
        let latencies = recorder.run(&runtime, &load, |mut offer| async move {
            while let Some(sample) = offer.next().await {
                handler.handled(&sample);
            }
            Ok(())
        });
        assert_eq!(latencies.unwrap().len(), load.messages - load.messages / 10);
    }
}
