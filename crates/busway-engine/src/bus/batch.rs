//! Publishing a batch: all of it, in order, or nothing.
//!
//! What an event costs alone is paid once: the clock is read once a batch, and events of one topic that follow each other
//! are matched once and find the same subscriptions. The first of them wakes a sleeping worker, the others find it awake.

use std::sync::Arc;

use busway_event::{Draft, Event, EventType};
use busway_observability::trace::Publish;

use super::dispatch::Source;
use super::offering::{Offering, Passage, receipt};
use super::publish::{Accepted, Patience, restored};
use super::stored::kind;
use super::{BusCore, PublishError, Receipt, Refused};
use crate::mailbox::Arrival;

impl BusCore {
    pub(crate) async fn publish_batch<T: EventType>(
        self: &Arc<Self>,
        drafts: Vec<Draft<T>>,
    ) -> Result<Vec<Receipt>, PublishError<Vec<Draft<T>>>> {
        let accepted = self.accept_batch(drafts)?;
        let sending =
            self.services.sending_all(accepted.iter().map(|one| (one.event.topic(), one.event.metadata())));
        let published = match &self.log {
            Some(log) => self.store_accepted(log, accepted).await,
            None => Ok(self.offer_accepted(accepted.into_iter().map(|one| one.event).collect()).await),
        };
        if let Err(error) = &published {
            sending.failed(kind(error));
        }
        drop(sending);
        published
    }

    pub(super) async fn offer_accepted<T: EventType>(
        self: &Arc<Self>,
        events: Vec<Event<T>>,
    ) -> Vec<Receipt> {
        // All are offered before the first wait: dropping this future takes none of them back.
        let (mut receipts, unfinished) = self.offer_batch(events);
        for (mut offering, place) in unfinished {
            self.complete(&mut offering.dispatched).await;
            if let Some(receipt) = receipts.get_mut(place) {
                receipt.offered = offering.dispatched.offered;
            }
            // The batch was accepted as a whole: an event that met a closing bus is in the account as abandoned.
            drop(self.finish(offering));
        }
        receipts
    }

    /// Offers all events: their receipts, and what could not be done at once with the place of its receipt.
    fn offer_batch<T: EventType>(&self, events: Vec<Event<T>>) -> (Vec<Receipt>, Vec<(Offering, usize)>) {
        let desk = self.desk();
        let mut receipts = Vec::with_capacity(events.len());
        let mut unfinished = Vec::new();
        let mut events = events.into_iter().peekable();
        while let Some(first) = events.next() {
            let topic = first.topic().clone();
            self.router.lookup_with(&topic, |targets| {
                let mut next = Some(first);
                while let Some(event) = next {
                    let (id, arrival) = (event.id(), Arrival::of(&event, event.weight()));
                    let passage = Passage::of(&id, arrival, Source::Outside, Patience::Waits);
                    let offering = self.begin_at(desk, event.into(), &passage, targets);
                    let offered = offering.dispatched.offered;
                    match offering.dispatched.is_over() {
                        true => self.count(offered, offering.observed.as_ref()),
                        false => unfinished.push((offering, receipts.len())),
                    }
                    receipts.push(receipt(id, offered));
                    next = events.next_if(|event| *event.topic() == topic);
                }
            });
        }
        (receipts, unfinished)
    }

    pub(super) fn accept_batch<T: EventType>(
        &self,
        drafts: Vec<Draft<T>>,
    ) -> Result<Vec<Accepted<T>>, PublishError<Vec<Draft<T>>>> {
        let time = self.services.clock.utc();
        let mut accepted: Vec<Accepted<T>> = Vec::with_capacity(drafts.len());
        let mut drafts = drafts.into_iter();
        while let Some(draft) = drafts.next() {
            match self.accept_at(time, draft, Source::Outside, Publish::OneOfMany) {
                Ok(next) => accepted.push(next),
                Err(PublishError::Unknown { ids, cause }) => return Err(PublishError::unknown(ids, cause)),
                Err(PublishError::Refused { event: refused, reason }) => {
                    let index = accepted.len();
                    let back = |Accepted { event, original, .. }: Accepted<T>| {
                        Some(restored(event.into_draft().ok()?, original))
                    };
                    let mut all: Vec<Draft<T>> = accepted.into_iter().filter_map(back).collect();
                    all.push(*refused);
                    all.extend(drafts);
                    let reason = Refused::InBatch { index, reason: Box::new(reason) };
                    return Err(PublishError::refused(all, reason));
                }
            }
        }
        Ok(accepted)
    }
}
