//! Who watches a bus: collectors, metrics, and the moments that are timed for them. Without one of them no clock is read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use busway_observability::{
    BusNumbers, Collector, Collectors, Metrics, Redactor, Signal, SubscriptionNumbers, Wants,
};

use super::builder::BusBuilder;
use super::core::BusCore;
use super::services::Services;
use crate::durable::DurableCore;
use crate::log::StorePlan;
use crate::seen::{self, Seen};
use crate::subscription::Entry;

impl BusBuilder {
    /// Is told of the [`Signal`]s that it wants, where they happen. As many as there are, in their order. Default: nobody is told.
    pub fn collector(mut self, collector: Arc<dyn Collector>) -> Self {
        self.signals.add(collector);
        self
    }

    /// What is kept out of texts of failures: those of dead letters and of attempts, of `stats()`, of signals, of the trail and of what the bus logs. Payloads are not touched: what is
    /// given again is what was published. What it finds, and what it cannot, is said [there](busway_observability::redact). Give the [logs](busway_observability) the same one: they make
    /// lines of what the program logs itself. Default: nothing is.
    pub fn redact(mut self, redactor: impl Into<Redactor>) -> Self {
        self.redactor = redactor.into();
        self
    }

    /// Metrics of this bus: [`Metrics::render`] says how it is. Each bus has metrics of its own: those of another that is still there are refused when it
    /// starts ([`BuildProblem::MetricsTaken`](super::BuildProblem::MetricsTaken)). Default: none.
    pub fn metrics(mut self, metrics: &Metrics) -> Self {
        self.metrics = Some(metrics.clone());
        self
    }
}

/// The bus is what its metrics are of.
pub(super) fn attach(metrics: Option<&Metrics>, core: &Arc<BusCore>) {
    if let Some(metrics) = metrics
        && !metrics.attach(Arc::new(Seen(Arc::downgrade(core))))
    {
        tracing::error!("two buses were started with the same metrics at once: the second is not in them");
    }
}

impl StorePlan {
    /// Commits are told, if somebody wants to know how long they take.
    pub(super) fn watched(mut self, signals: &Collectors) -> Self {
        if signals.want(Wants::TIMES) {
            let signals = signals.clone();
            let told = move |commit: busway_persistence::Commit| {
                let busway_persistence::Commit { took, requests, events, .. } = commit;
                signals.tell(&Signal::Committed { took, requests, events });
            };
            self.options = self.options.on_committed(told);
        }
        self
    }
}

impl BusCore {
    /// Forgets a durable subscription that has ended, but for what it has counted.
    pub(crate) fn forget_durable(&self, core: &DurableCore) {
        let mut ended = self.ended.lock();
        if self.durable.leave(core) {
            ended.counted(&seen::counts_of_durable(core));
        }
    }

    /// All subscriptions that are not forgotten, and what those that are have counted.
    pub(crate) fn all_counted(&self) -> (Vec<Arc<Entry>>, Vec<Arc<DurableCore>>, Vec<SubscriptionNumbers>) {
        let ended = self.ended.lock();
        (self.entries(), self.durable.list(), ended.past())
    }

    /// Its publishes, and nothing of its subscriptions yet.
    pub(crate) fn passed(&self) -> BusNumbers {
        let (mut numbers, log) = (BusNumbers::default(), self.log.as_ref());
        let stored = log.map(|log| log.published()).unwrap_or_default();
        (numbers.published, numbers.unrouted) = self.desk_tallies.lock().iter().fold(stored, |sum, desk| {
            let (published, unrouted) = desk.read();
            (sum.0 + published, sum.1 + unrouted)
        });
        numbers.refused = self.refused.load(Ordering::Relaxed);
        numbers.unstored = log.map_or(0, |log| log.unstored());
        numbers.reloads = *self.reloads.lock();
        numbers
    }
}

impl Services {
    /// Something begins that is timed, if somebody wants to know.
    #[inline]
    pub(crate) fn begun(&self) -> Option<Instant> {
        self.signals.want(Wants::TIMES).then(|| self.clock.now())
    }

    /// A durable publish of so many events has come to its end.
    #[inline]
    pub(super) fn stored(&self, begun: Option<Instant>, events: usize) {
        if let Some(begun) = begun {
            let took = self.clock.now().saturating_duration_since(begun);
            self.signals.tell(&Signal::Stored { took, events });
        }
    }
}
