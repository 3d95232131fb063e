//! Publishing into streams without waiting for the disk: [`Durability::Memory`].

use std::sync::Arc;

use busway_event::{Draft, Durability, EventId, EventType, Topic};
use busway_persistence::Entry;

use super::publish::{Later, Now, Original, Patience, REFUSED};
use super::stored::Stored;
use super::{BusCore, PublishError, Receipt, Refused};
use crate::log::{Log, NotAccepted, NotAppended};

impl BusCore {
    /// Publishes an event that need not be stored when this returns. Without room in the store's queue it is waited for, if that is
    /// wanted.
    pub(super) fn publish_unsynced<T: EventType>(
        self: &Arc<Self>,
        log: &Log,
        stored: Stored,
        patience: Patience,
    ) -> Now<T> {
        let Stored { entry, original, durability, sending } = stored;
        let told = Told::of(&entry);
        match log.try_accept(&self.services, vec![entry]) {
            Ok(()) => Ok(self.accepted_receipt(told)),
            Err(NotAccepted { mut entries, reason }) => {
                let Some(entry) = entries.pop() else { unreachable!("what is refused is given back") };
                let waits = patience == Patience::Waits && matches!(reason, Refused::Busy { .. });
                match waits {
                    true => {
                        let stored = Stored { entry, original, durability, sending };
                        Err(Box::new(Later::Stored { core: Arc::clone(self), stored }))
                    }
                    false => {
                        sending.failed(REFUSED);
                        let error = self.given_back(entry.into_event(), original, reason);
                        Err(Later::Refused(error).into())
                    }
                }
            }
        }
    }

    /// Publishes a batch that need not be stored when this returns; all of it is stored, or nothing.
    pub(super) async fn accept_stored_batch<T: EventType>(
        &self,
        log: &Log,
        entries: Vec<Entry>,
        originals: Vec<Original>,
    ) -> Result<Vec<Receipt>, PublishError<Vec<Draft<T>>>> {
        let told: Vec<Told> = entries.iter().map(Told::of).collect();
        match log.accept(&self.services, entries).await {
            Ok(()) => Ok(told.into_iter().map(|told| self.accepted_receipt(told)).collect()),
            Err(NotAppended::Unknown(cause)) => {
                let ids = told.into_iter().map(|told| told.id).collect();
                Err(PublishError::unknown(ids, cause))
            }
            Err(NotAppended::Refused(entries, reason)) => {
                let events = entries.into_iter().map(Entry::into_event).collect();
                Err(self.batch_given_back(events, originals, reason))
            }
        }
    }

    /// What storing an entry comes to: as its draft says, its stream or the bus; never less.
    pub(super) fn durability(&self, log: &Log, entry: &Entry, asked: Option<Durability>) -> Durability {
        self.served(log, entry, log.durability(entry.event().topic(), asked))
    }

    /// The same where it is known what is wanted: where a partition had no room for the event before, more.
    pub(super) fn served(&self, log: &Log, entry: &Entry, wanted: Durability) -> Durability {
        match wanted {
            Durability::Memory if log.refuses(&self.services, entry.partition()) => Durability::Synced,
            wanted => wanted,
        }
    }

    /// Of an event that is on its way into a stream.
    pub(super) fn accepted_receipt(&self, told: Told) -> Receipt {
        let Told { id, topic, due } = told;
        let receipt = self.stored_receipt(id, &topic, None);
        Receipt { durability: Durability::Memory, due, ..receipt }
    }
}

/// What a receipt says of an entry that is handed over.
pub(super) struct Told {
    id: EventId,
    topic: Topic,
    due: Option<busway_event::Timestamp>,
}

impl Told {
    pub(super) fn of(entry: &Entry) -> Self {
        let event = entry.event();
        Self { id: event.id(), topic: event.topic().clone(), due: entry.due() }
    }
}
