//! What is between a durable subscription's pump and the store's writer.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use busway_persistence::{Refusal, RequestError, Settlement};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::settlements::decided;
use crate::bus::Services;

/// What the store's writer touches when a settlement is stored. It holds neither the log nor the bus: the writer's thread must
/// never be the last to let go of its own store.
pub(super) struct Flow {
    services: Arc<Services>,
    /// Rings for the pump.
    pub(super) bell: Notify,
    /// Held for moments, by who holds the hand or nothing.
    sent: Mutex<Sent>,
    failed: OnceLock<String>,
}

#[derive(Default)]
struct Sent {
    /// What is on its way, by partition: one settlement each, so that others gather meanwhile.
    in_flight: BTreeMap<u32, Arc<Settlement>>,
    /// What the store had no room for.
    no_room: Vec<(u32, Arc<Settlement>)>,
    /// Events of what will never be stored.
    lost: u64,
}

impl Flow {
    pub(super) fn new(services: Arc<Services>) -> Self {
        Self { services, bell: Notify::const_new(), sent: Mutex::default(), failed: OnceLock::new() }
    }

    /// Whether nothing of the partition is on its way.
    pub(super) fn is_free(&self, partition: u32) -> bool {
        !self.sent.lock().in_flight.contains_key(&partition)
    }

    /// It is on its way. Kept until it is stored: a store without room is asked again.
    pub(super) fn begin(&self, partition: u32, settlement: Arc<Settlement>) {
        self.sent.lock().in_flight.insert(partition, settlement);
    }

    /// It is not on its way any more.
    pub(super) fn end(&self, partition: u32) {
        self.sent.lock().in_flight.remove(&partition);
    }

    /// The store has answered.
    pub(super) fn answered(&self, partition: u32, answer: Result<(), RequestError>) {
        use Refusal::{StorageFull, StoreFull};
        let mut sent = self.sent.lock();
        let settlement = sent.in_flight.remove(&partition);
        match (answer, settlement) {
            (Ok(()), _) => drop(sent),
            (Err(RequestError::Refused(StorageFull { .. } | StoreFull { .. })), Some(settlement)) => {
                sent.no_room.push((partition, settlement));
                drop(sent);
                tracing::warn!(
                    "the store has no room for what a durable subscription has settled; it is asked again"
                );
            }
            (Err(error), settlement) => {
                sent.lost += settlement.as_deref().map_or(0, decided);
                drop(sent);
                return self.fail(&error.to_string());
            }
        }
        self.bell.notify_one();
        self.services.idle.touch();
    }

    /// What was decided is not stored, and never will be.
    pub(super) fn fail(&self, error: &str) {
        tracing::error!(error, "a durable subscription stops: what it has settled is not stored");
        _ = self.failed.set(error.to_owned());
        self.bell.notify_one();
        self.services.idle.touch();
    }

    /// What the store had no room for, to be given to it again.
    pub(super) fn take_refused(&self) -> Vec<(u32, Arc<Settlement>)> {
        std::mem::take(&mut self.sent.lock().no_room)
    }

    /// Events of what is on its way, waits for room, or will never be stored.
    pub(super) fn unstored(&self) -> u64 {
        let Sent { in_flight, no_room, lost } = &*self.sent.lock();
        let open = in_flight.values().chain(no_room.iter().map(|(_, settlement)| settlement));
        open.map(|settlement| decided(settlement)).sum::<u64>() + lost
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.get().is_some()
    }

    /// Whether nothing is on its way, or waits for room. Whoever wants to know whether all is stored asks the window and this under the hand's lock, under which the pump moves
    /// settlements from one to the other: else one that has left the window, and is not here yet, would be in neither, and a subscription that ends would
    /// begin anew before what it has settled is stored.
    pub(super) fn is_clear(&self) -> bool {
        let sent = self.sent.lock();
        sent.in_flight.is_empty() && sent.no_room.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use busway_middleware::Registry;

    use super::*;
    use crate::clock::SystemClock;
    use crate::idle::IdleWatch;

    #[tokio::test]
    async fn what_the_store_had_no_room_for_is_kept_and_what_it_refuses_otherwise_ends_the_subscription() {
        let flow = Flow::new(Arc::new(Services {
            clock: Arc::new(SystemClock),
            shown: crate::shown::Shown::default(),
            idle: Arc::<IdleWatch>::default(),
            middleware: Registry::new(),
            signals: busway_observability::Collectors::new(),
            tracing: None,
            runtime: tokio::runtime::Handle::current(),
        }));
        let settlement = || Arc::new(Settlement { settled: vec![(3, 5)], ..Settlement::default() });
        flow.begin(7, settlement());
        assert!(!flow.is_free(7) && !flow.is_clear());
        flow.answered(7, Err(Refusal::StoreFull { limit: 1 }.into()));
        assert!(flow.is_free(7) && !flow.is_clear() && !flow.has_failed());
        assert_eq!(flow.unstored(), 2);
        let refused = flow.take_refused();
        assert_eq!(
            refused.iter().map(|(at, kept)| (*at, kept.settled.clone())).collect::<Vec<_>>(),
            [(7, vec![(3, 5)])]
        );
        assert!(flow.is_clear());
        flow.begin(7, settlement());
        flow.answered(7, Ok(()));
        assert!(flow.is_clear() && flow.unstored() == 0);
        flow.begin(7, settlement());
        flow.answered(7, Err(RequestError::UnknownSubscription { number: 1 }));
        assert!(flow.has_failed() && flow.take_refused().is_empty());
        assert_eq!(flow.unstored(), 2, "it never will be");
    }
}
