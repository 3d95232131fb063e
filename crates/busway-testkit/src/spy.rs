//! What a bus was seen to do.

use busway_engine::Observer;
use busway_event::{AnyEvent, EventId, Topic};
use busway_middleware::Outcome;
use parking_lot::Mutex;

/// Remembers what was published and handled.
#[derive(Debug, Default)]
pub(crate) struct Spy {
    pub(crate) published: Mutex<Vec<AnyEvent>>,
    pub(crate) handled: Mutex<Vec<Handled>>,
}

/// One event that a subscription has handled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handled {
    /// The subscription's name.
    pub subscription: String,
    /// The event.
    pub event: EventId,
    /// Its topic.
    pub topic: Topic,
    /// The outcome's word: `done`, `failed`, `dead`, `skipped`, `retry`.
    pub outcome: &'static str,
    /// The error or reason, with all its sources.
    pub error: Option<String>,
}

impl Observer for Spy {
    fn published(&self, event: &AnyEvent, _offered: usize) {
        self.published.lock().push(event.clone());
    }

    fn settled(&self, subscription: &str, event: &AnyEvent, outcome: &Outcome) {
        self.handled.lock().push(Handled {
            subscription: subscription.to_owned(),
            event: event.id(),
            topic: event.topic().clone(),
            outcome: outcome.label(),
            error: outcome.error_text(),
        });
    }
}
