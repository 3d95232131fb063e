//! What is told: how long things took, and what somebody should look at.

use std::collections::HashMap;
use std::sync::Arc;

use metrics::{Counter, Histogram, Label};
use parking_lot::RwLock;

use super::families::Recorded;
use super::names;
use crate::signal::Signal;

/// See the module.
pub(super) struct Timed {
    publish: Histogram,
    commit: Histogram,
    commit_events: Histogram,
    reload: Histogram,
    /// By subscription: as many as the program begins.
    subscriptions: RwLock<HashMap<Arc<str>, Arc<OfSubscription>>>,
}

struct OfSubscription {
    handler: Histogram,
    end_to_end: Histogram,
    hung: Counter,
    letters_full: Counter,
    parked_full: Counter,
    fallbacks: RwLock<HashMap<String, Counter>>,
}

impl Timed {
    pub(super) fn new(recorded: &Recorded) -> Self {
        let of_bus = |name| recorded.histogram(name, Vec::new());
        let (publish, commit) = (of_bus(names::PUBLISH), of_bus(names::COMMIT));
        Self {
            publish,
            commit,
            commit_events: of_bus(names::COMMIT_EVENTS),
            reload: of_bus(names::RELOAD),
            subscriptions: RwLock::default(),
        }
    }

    pub(super) fn collect(&self, recorded: &Recorded, signal: &Signal<'_>) {
        match *signal {
            Signal::Stored { took, .. } => self.publish.record(took.as_secs_f64()),
            Signal::Committed { took, requests } => {
                self.commit.record(took.as_secs_f64());
                self.commit_events.record(f64::from(u32::try_from(requests).unwrap_or(u32::MAX)));
            }
            Signal::Handled { subscription, took, since_published, .. } => {
                let of = self.of(recorded, subscription);
                of.handler.record(took.as_secs_f64());
                of.end_to_end.record(since_published.as_secs_f64());
            }
            Signal::Reloaded { took, .. } => self.reload.record(took.as_secs_f64()),
            Signal::Hung { subscription, .. } => self.of(recorded, subscription).hung.increment(1),
            Signal::DeadLettersFull { subscription, .. } => {
                self.of(recorded, subscription).letters_full.increment(1);
            }
            Signal::ParkedFull { subscription, .. } => {
                self.of(recorded, subscription).parked_full.increment(1);
            }
            Signal::FellBack { subscription, how, .. } => {
                let of = self.of(recorded, subscription);
                let mut fallbacks = of.fallbacks.write();
                let counter = fallbacks.entry(how.to_string()).or_insert_with(|| {
                    recorded.counter(names::FALLBACKS, labels(subscription, [("kind", how.to_string())]))
                });
                counter.increment(1);
            }
            _ => {}
        }
    }

    /// As many subscriptions have histograms.
    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions.read().len()
    }

    fn of(&self, recorded: &Recorded, subscription: &str) -> Arc<OfSubscription> {
        if let Some(of) = self.subscriptions.read().get(subscription) {
            return Arc::clone(of);
        }
        let histogram = |name| recorded.histogram(name, labels(subscription, []));
        let alarm =
            |kind: &str| recorded.counter(names::ALARMS, labels(subscription, [("kind", kind.to_owned())]));
        let of = Arc::new(OfSubscription {
            handler: histogram(names::HANDLER),
            end_to_end: histogram(names::END_TO_END),
            hung: alarm("hung"),
            letters_full: alarm("dead_letters_full"),
            parked_full: alarm("parked_full"),
            fallbacks: RwLock::default(),
        });
        // Whoever was first: both have the same series.
        Arc::clone(self.subscriptions.write().entry(subscription.into()).or_insert(of))
    }
}

pub(super) fn labels<const N: usize>(subscription: &str, more: [(&'static str, String); N]) -> Vec<Label> {
    let mut labels = vec![Label::new("subscription", subscription.to_owned())];
    labels.extend(more.into_iter().map(|(name, value)| Label::new(name, value)));
    labels
}
