//! What a comparison does: it reads the log by a cursor of its own, and is subscribed at the broker; neither handles anything.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use busway_event::{AnyEvent, EventId};
use busway_persistence::Cursor;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::comparer::{CarriedDifference, Compared, Comparer, Side};
use crate::bus::Services;
use crate::transport::{Received, Receiver, TransportError, Verdict};

/// A comparison at work.
#[derive(Debug)]
pub(super) struct Comparison {
    comparer: Mutex<Comparer>,
    /// By partition: what was sent before this began, and does not come again.
    sent: HashMap<u16, Cursor>,
    /// Rung when a side may go on that was ahead.
    moved: Notify,
    services: Arc<Services>,
    stop: CancellationToken,
    stream: Arc<str>,
}

impl Comparison {
    pub(super) fn new(
        services: Arc<Services>,
        stream: Arc<str>,
        (comparer, sent): (Comparer, HashMap<u16, Cursor>),
        stop: CancellationToken,
    ) -> Arc<Self> {
        let (comparer, moved) = (Mutex::new(comparer), Notify::new());
        Arc::new(Self { comparer, sent, moved, services, stop, stream })
    }

    /// The broker says that it had this before.
    pub(super) fn was_there(&self, id: EventId) {
        self.comparer.lock().was_there(id);
    }

    pub(super) fn compared(&self) -> Compared {
        self.comparer.lock().compared()
    }

    /// Compares until it is stopped.
    pub(super) async fn run(self: Arc<Self>, log: Vec<Arc<dyn Receiver>>, broker: Vec<Arc<dyn Receiver>>) {
        let sides = log
            .iter()
            .map(|side| (Side::Log, side))
            .chain(broker.iter().map(|side| (Side::Broker, side)))
            .map(|(side, receiver)| self.listen(side, &**receiver));
        tokio::join!(futures_util::future::join_all(sides), self.watch());
        for receiver in log.iter().chain(&broker) {
            if let Err(error) = receiver.close().await {
                tracing::debug!(stream = &*self.stream, %error, "a comparison leaves and is not heard");
            }
        }
    }

    async fn listen(&self, side: Side, from: &dyn Receiver) {
        while !self.stop.is_cancelled() {
            if self.comparer.lock().is_ahead(side) {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = self.moved.notified() => continue,
                }
            }
            let received = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                received = from.receive(BATCH) => received,
            };
            match received {
                Ok(received) => self.heard(side, from, received).await,
                Err(TransportError::Closed) => return,
                Err(error) => {
                    tracing::warn!(stream = &*self.stream, %error, "a comparison waits");
                    let clock = &self.services.clock;
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = clock.sleep_until(clock.now() + PAUSE) => {}
                    }
                }
            }
        }
    }

    async fn heard(&self, side: Side, from: &dyn Receiver, received: Vec<Received>) {
        let now = self.services.clock.now();
        let verdicts = received.iter().map(|received| (received.id, Verdict::Done)).collect();
        let is_to_come = |received: &Received| match (side, received.partition, received.offset) {
            (Side::Log, partition, Some(offset)) => {
                let sent = self.sent.get(&partition.unwrap_or(0));
                !sent.is_some_and(|sent| sent.is_settled(offset))
            }
            _ => true,
        };
        let to_come = received.into_iter().filter(is_to_come);
        for event in to_come.filter_map(|received| received.event.ok()) {
            let differences = self.comparer.lock().said(side, event, now);
            self.tell(differences);
        }
        self.moved.notify_waiters();
        for heard in from.settle(verdicts).await {
            if let Err(error) = heard {
                tracing::debug!(stream = &*self.stream, %error, "a comparison sees an event again");
            }
        }
    }

    /// Finds what one side never says.
    async fn watch(&self) {
        loop {
            let due = self.comparer.lock().next_due();
            let clock = &self.services.clock;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = clock.sleep_until(due.unwrap_or_else(|| clock.now() + PAUSE)) => {}
            }
            let differences = self.comparer.lock().overdue(self.services.clock.now());
            self.tell(differences);
            self.moved.notify_waiters();
        }
    }

    fn tell(&self, differences: Vec<(AnyEvent, CarriedDifference)>) {
        for (event, difference) in differences {
            let (stream, event_id, topic) = (&*self.stream, event.id(), event.topic().as_str());
            tracing::warn!(stream, %event_id, topic, ?difference, "the copy at the broker differs from the log");
        }
    }
}

const BATCH: usize = 256;
const PAUSE: Duration = Duration::from_secs(1);
