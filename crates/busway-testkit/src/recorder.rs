//! A handler that remembers what it was given.

use std::fmt::Debug;
use std::sync::Arc;

use busway_event::{Event, EventType};
use busway_middleware::{AnyHandler, Delivery, IntoHandler, Mode};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::script::Script;

/// Remembers deliveries with a payload of type `T`. Clones share what they remember.
pub struct Recorder<T> {
    pub(crate) shared: Arc<Recorded<T>>,
}

pub(crate) struct Recorded<T> {
    deliveries: Mutex<Vec<(Event<T>, Delivery)>>,
    more: Notify,
}

impl<T: EventType> Recorder<T> {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let recorded = Recorded { deliveries: Mutex::new(Vec::new()), more: Notify::new() };
        Self { shared: Arc::new(recorded) }
    }

    /// The handler: `bus.subscribe(filter).to(recorder.handler())`. Always done.
    #[must_use]
    pub fn handler<M: Mode>(&self) -> AnyHandler<M> {
        let recorder = self.clone();
        let handle = move |event: Event<T>, delivery: Delivery| {
            recorder.shared.record(event, delivery);
            std::future::ready(())
        };
        handle.into_handler()
    }

    /// A handler that remembers and then does what `script` says.
    #[must_use]
    pub fn scripted<M: Mode>(&self, script: &Script) -> AnyHandler<M> {
        let (recorder, script) = (self.clone(), script.clone());
        let handle = move |event: Event<T>, delivery: Delivery| {
            recorder.shared.record(event, delivery);
            let step = script.next();
            async move { step.run().await }
        };
        handle.into_handler()
    }

    /// What was delivered, in the order in which handling started.
    #[must_use]
    pub fn events(&self) -> Vec<Event<T>> {
        self.shared.deliveries.lock().iter().map(|(event, _)| event.clone()).collect()
    }

    /// With attempt, lag and position.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.deliveries.lock().iter().map(|(_, delivery)| delivery.clone()).collect()
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.deliveries.lock().len()
    }

    /// What was delivered, and forgets it.
    #[must_use]
    pub fn take(&self) -> Vec<Event<T>> {
        std::mem::take(&mut *self.shared.deliveries.lock()).into_iter().map(|(event, _)| event).collect()
    }

    /// Waits until `count` deliveries were remembered.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait_for(&self, count: usize) {
        loop {
            let more = self.shared.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if self.count() >= count {
                return;
            }
            more.await;
        }
    }
}

impl<T: EventType + Clone> Recorder<T> {
    /// The payloads, in the order in which handling started.
    #[must_use]
    pub fn payloads(&self) -> Vec<T> {
        self.events().iter().map(|event| event.payload().clone()).collect()
    }
}

impl<T: EventType + Clone + PartialEq + Debug> Recorder<T> {
    /// The payloads were these, in this order.
    ///
    /// # Panics
    /// When they were not: the message names the first difference.
    #[track_caller]
    pub fn assert_payloads(&self, expected: &[T]) {
        let found = self.payloads();
        let differs = expected.iter().zip(&found).position(|(expected, found)| expected != found);
        let at = differs.unwrap_or_else(|| expected.len().min(found.len()));
        assert!(
            found == expected,
            "payload {at} differs: expected {:?}, handled {:?} ({} expected, {} handled)",
            expected.get(at),
            found.get(at),
            expected.len(),
            found.len()
        );
    }
}

impl<T> Recorded<T> {
    fn record(&self, event: Event<T>, delivery: Delivery) {
        self.deliveries.lock().push((event, delivery));
        self.more.notify_waiters();
    }
}

impl<T> Clone for Recorder<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: EventType> Default for Recorder<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Debug for Recorder<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorder({} deliveries)", self.shared.deliveries.lock().len())
    }
}
