//! Observers: told what happens, never asked.

use std::panic::{AssertUnwindSafe, catch_unwind};

use busway_event::AnyEvent;
use busway_middleware::Outcome;

use crate::breaker::{BreakerChange, FallbackKind};

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
    /// or discarded. Told once, and again when there was room for an eighth of
    /// them in between.
    fn dead_letters_full(&self, subscription: &str, max: u64) {
        let _ = (subscription, max);
    }

    /// As many events of a durable subscription are parked as may be, `max`: nothing more is read for it until some have come to their end. An alarm, told
    /// once, and again when an eighth of them had ended in between.
    fn parked_full(&self, subscription: &str, max: u64) {
        let _ = (subscription, max);
    }

    /// A handler of a durable subscription has overrun its deadline and cannot be cancelled: its lane waits for it. An alarm: something is wrong
    /// with it.
    fn hung(&self, subscription: &str, event: &AnyEvent) {
        let _ = (subscription, event);
    }

    /// The circuit of a channel has opened, closed or begun to probe.
    fn breaker_moved(&self, change: &BreakerChange<'_>) {
        let _ = change;
    }

    /// A breaker has refused a call, and this was done with the event instead. Not told of an event that waits; of one that was acknowledged and is
    /// retried, each time that its call is refused.
    fn fell_back(&self, subscription: &str, event: &AnyEvent, how: FallbackKind) {
        let _ = (subscription, event, how);
    }
}

/// Tells an observer, if there is one. Its panic must not become the publisher's or the worker's.
pub(crate) fn tell(observer: Option<&dyn Observer>, what: impl FnOnce(&dyn Observer)) {
    let Some(observer) = observer else { return };
    if catch_unwind(AssertUnwindSafe(|| what(observer))).is_err() {
        tracing::error!("an observer panicked");
    }
}
