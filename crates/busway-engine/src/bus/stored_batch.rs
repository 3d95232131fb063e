//! Publishing a batch into streams: all of it is stored, or nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_event::{AnyEvent, Draft, Durability, Event, EventId, EventType, Topic};
use busway_persistence::Entry;

use super::publish::{Accepted, Original, restored, taken_back};
use super::stored::Wishes;
use super::{BusCore, PublishError, Receipt, Refused};
use crate::log::{Log, NotAppended, Placed};

/// A batch that is to be stored.
struct ToStore {
    entries: Vec<Entry>,
    durability: Durability,
}

/// What is true of all events of a topic: found out once for those that follow each other.
#[derive(Debug)]
struct ByTopic<V>(Option<(Topic, V)>);

impl<V: Copy> ByTopic<V> {
    fn ask(&mut self, topic: &Topic, find: impl FnOnce(&Topic) -> V) -> V {
        match &self.0 {
            Some((known, value)) if known == topic => *value,
            _ => self.0.insert((topic.clone(), find(topic))).1,
        }
    }
}

impl BusCore {
    /// Stores a batch, or offers it when no stream captures it.
    pub(super) async fn store_accepted<T: EventType>(
        self: &Arc<Self>,
        log: &Log,
        batch: Vec<Accepted<T>>,
    ) -> Result<Vec<Receipt>, PublishError<Vec<Draft<T>>>> {
        let (mut events, mut originals, mut wishes) = (Vec::new(), Vec::new(), Vec::new());
        for accepted in batch {
            events.push(accepted.event);
            originals.push(accepted.original);
            wishes.push(accepted.wishes);
        }
        let mut by_topic = ByTopic(None);
        let mut captured =
            events.iter().map(|event| by_topic.ask(event.topic(), |topic| log.captures(topic)));
        let first = captured.next();
        let other = captured.position(|captured| Some(captured) != first);
        drop(captured);
        if let Some(at) = other {
            let reason = Refused::MixedBatch { index: at + 1 };
            let events = events.into_iter().map(AnyEvent::from).collect();
            return Err(self.batch_given_back(events, originals, reason));
        }
        if first != Some(true) {
            return Ok(self.offer_accepted(events).await);
        }
        let ToStore { entries, durability } = match self.entries_of(log, events, &wishes) {
            Ok(to_store) => to_store,
            Err((events, reason)) => return Err(self.batch_given_back(events, originals, reason)),
        };
        if durability == Durability::Memory {
            return self.accept_stored_batch(log, entries, originals).await;
        }
        let ids: Vec<EventId> = entries.iter().map(|entry| entry.event().id()).collect();
        let begun = self.services.begun();
        let appended = log.append(&self.services, entries).await;
        self.services.stored(begun, ids.len());
        match appended {
            Ok(appended) => {
                let receipts = self.receipts_of(appended.entries());
                self.taken_up(appended);
                Ok(receipts)
            }
            Err(NotAppended::Unknown(cause)) => Err(PublishError::unknown(ids, cause)),
            Err(NotAppended::Refused(entries, reason)) => {
                let events = entries.into_iter().map(Entry::into_event).collect();
                Err(self.batch_given_back(events, originals, reason))
            }
        }
    }

    fn receipts_of(&self, entries: &[Entry]) -> Vec<Receipt> {
        let mut by_topic = ByTopic(None);
        let receipt = |entry: &Entry| {
            let event = entry.event();
            let offered = by_topic.ask(event.topic(), |topic| self.offered_from_log(topic));
            self.placed_receipt(event.id(), offered, Some(Placed::of(entry)))
        };
        entries.iter().map(receipt).collect()
    }

    /// Makes all events ready to be stored, or gives them back when one cannot be.
    fn entries_of<T: EventType>(
        &self,
        log: &Log,
        events: Vec<Event<T>>,
        wishes: &[Wishes],
    ) -> Result<ToStore, (Vec<AnyEvent>, Refused)> {
        let now = self.services.clock.utc();
        let mut entries = Vec::with_capacity(events.len());
        let mut durability = Durability::Memory;
        let mut events = events.into_iter().map(AnyEvent::from);
        for (index, wishes) in wishes.iter().enumerate() {
            let Some(event) = events.next() else { break };
            match log.entry(event, wishes.given, now, self.payload_bytes_max) {
                Ok(entry) => {
                    // The strongest of its wishes is that of the whole batch.
                    durability = durability.max(self.durability(log, &entry, wishes.durability));
                    entries.push(self.waiting(log, entry, wishes.due));
                }
                Err((event, reason)) => {
                    let before = entries.into_iter().map(Entry::into_event);
                    let reason = Refused::InBatch { index, reason: Box::new(reason.into()) };
                    return Err((before.chain([event]).chain(events).collect(), reason));
                }
            }
        }
        Ok(ToStore { entries, durability })
    }

    pub(super) fn batch_given_back<T: EventType>(
        &self,
        events: Vec<AnyEvent>,
        originals: Vec<Original>,
        reason: Refused,
    ) -> PublishError<Vec<Draft<T>>> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let back = |(event, original)| Some(restored(taken_back::<T>(event)?, original));
        PublishError::refused(events.into_iter().zip(originals).filter_map(back).collect(), reason)
    }
}
