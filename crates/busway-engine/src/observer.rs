//! Observers: told what happens, never asked.

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
}
