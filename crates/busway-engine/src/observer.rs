//! Observers: told what happens, never asked.

use std::panic::{AssertUnwindSafe, catch_unwind};

use busway_event::AnyEvent;
use busway_middleware::Outcome;

/// Is told what happens on a bus: for test kits, metrics, audit. Called on the thread where it happens, so it must be quick;
/// a panic in it is contained and logged.
pub trait Observer: Send + Sync + 'static {
    /// An event was accepted and offered to this many subscriptions.
    fn published(&self, event: &AnyEvent, offered: usize) {
        let _ = (event, offered);
    }

    /// A subscription has handled an event.
    fn settled(&self, subscription: &str, event: &AnyEvent, outcome: &Outcome) {
        let _ = (subscription, event, outcome);
    }

    /// A durable subscription has as many dead letters as it may keep, `max`, and is about to give up one more: its lane stops until some are redriven
    /// or discarded. Told once, and again when there was room in between.
    fn dead_letters_full(&self, subscription: &str, max: u64) {
        let _ = (subscription, max);
    }
}

/// Tells an observer, if there is one. Its panic must not become the publisher's or the worker's.
pub(crate) fn tell(observer: Option<&dyn Observer>, what: impl FnOnce(&dyn Observer)) {
    let Some(observer) = observer else { return };
    if catch_unwind(AssertUnwindSafe(|| what(observer))).is_err() {
        tracing::error!("an observer panicked");
    }
}
