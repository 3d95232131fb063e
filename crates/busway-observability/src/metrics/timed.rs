//! What is told: how long things took, and what somebody should look at.

use std::collections::HashMap;
use std::sync::Arc;

use busway_middleware::Outcome;
use metrics::{Counter, Histogram, Label};
use parking_lot::RwLock;

use super::families::Recorded;
use super::names;
use crate::signal::{FallbackKind, Signal};

/// See the module.
pub(super) struct Timed {
    publish: Histogram,
    commit: Histogram,
    commit_requests: Histogram,
    commit_events: Histogram,
    reload: Histogram,
    /// By subscription: as many as the program begins.
    subscriptions: RwLock<HashMap<Arc<str>, Arc<OfSubscription>>>,
    fallbacks: RwLock<HashMap<Fallbacks, Counter>>,
}

/// What is counted together: of a name, or, without one, of a filter.
type Fallbacks = (String, String, FallbackKind);

struct OfSubscription {
    handler: Histogram,
    end_to_end: Histogram,
    hung: Counter,
    letters_full: Counter,
    parked_full: Counter,
}

impl Timed {
    pub(super) fn new(recorded: &Recorded) -> Self {
        let of_bus = |name| recorded.histogram(name, Vec::new());
        let (publish, commit) = (of_bus(names::PUBLISH), of_bus(names::COMMIT));
        Self {
            publish,
            commit,
            commit_requests: of_bus(names::COMMIT_REQUESTS),
            commit_events: of_bus(names::COMMIT_EVENTS),
            reload: of_bus(names::RELOAD),
            subscriptions: RwLock::default(),
            fallbacks: RwLock::default(),
        }
    }

    pub(super) fn collect(&self, recorded: &Recorded, signal: &Signal<'_>) {
        match *signal {
            Signal::Stored { took, .. } => self.publish.record(took.as_secs_f64()),
            Signal::Committed { took, requests, events } => {
                let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
                self.commit.record(took.as_secs_f64());
                self.commit_requests.record(count(requests));
                self.commit_events.record(count(events));
            }
            Signal::Handled { subscription, outcome, took, since_published, .. } => {
                let of = self.of(recorded, subscription);
                of.handler.record(took.as_secs_f64());
                // An attempt that fails is not the end of its event.
                if matches!(outcome, Outcome::Done | Outcome::Skip) {
                    of.end_to_end.record(since_published.as_secs_f64());
                }
            }
            Signal::Reloaded { took, .. } => self.reload.record(took.as_secs_f64()),
            Signal::Hung { subscription, .. } => self.of(recorded, subscription).hung.increment(1),
            Signal::DeadLettersFull { subscription, .. } => {
                self.of(recorded, subscription).letters_full.increment(1);
            }
            Signal::ParkedFull { subscription, .. } => {
                self.of(recorded, subscription).parked_full.increment(1);
            }
            Signal::FellBack { subscription, unnamed, how, .. } => {
                let own = match unnamed {
                    Some(filter) => (String::new(), filter.to_string(), how),
                    None => (subscription.to_owned(), String::new(), how),
                };
                self.fell_back(recorded, own);
            }
            _ => {}
        }
    }

    /// As many subscriptions have histograms.
    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions.read().len()
    }

    fn fell_back(&self, recorded: &Recorded, own: Fallbacks) {
        if let Some(counter) = self.fallbacks.read().get(&own) {
            return counter.increment(1);
        }
        let mut fallbacks = self.fallbacks.write();
        let counter = fallbacks.entry(own).or_insert_with_key(|(subscription, filter, how)| {
            let mut all = labels_of(subscription, filter);
            all.push(Label::new("kind", how.to_string()));
            recorded.counter(names::FALLBACKS, all)
        });
        counter.increment(1);
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
        });
        // Whoever was first: both have the same series.
        Arc::clone(self.subscriptions.write().entry(subscription.into()).or_insert(of))
    }
}

/// Of a subscription; those without a name are told apart by their filter.
pub(super) fn labels_of(subscription: &str, filter: &str) -> Vec<Label> {
    let mut all = labels(subscription, []);
    all.extend(subscription.is_empty().then(|| Label::new("filter", filter.to_owned())));
    all
}

pub(super) fn labels<const N: usize>(subscription: &str, more: [(&'static str, String); N]) -> Vec<Label> {
    let mut labels = vec![Label::new("subscription", subscription.to_owned())];
    labels.extend(more.into_iter().map(|(name, value)| Label::new(name, value)));
    labels
}
