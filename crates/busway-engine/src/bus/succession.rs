//! Events that find a subscription whose place another one has taken.
//!
//! A publisher that looked a topic up before the routing table was changed may come with its event when the old subscription is over. The table that it
//! saw had the old one in it and not the new one, so the event goes on to the successor: it is offered once, by whichever table it came.

use std::sync::Arc;

use busway_event::AnyEvent;

use super::BusCore;
use super::desk::Desk;
use super::dispatch::{Dispatched, Source};
use super::offering::Passage;
use super::publish::Patience;
use crate::mailbox::{Arrival, Offer};
use crate::subscription::{Entry, SubscriptionCore};

impl BusCore {
    /// Offers an event that its subscription takes no more to the one that took its place, when there is one that wants its topic.
    #[cold]
    pub(super) fn offer_successor(
        &self,
        desk: &Desk,
        over: &Entry,
        event: AnyEvent,
        passage: &Passage<'_>,
        patience: Patience,
        dispatched: &mut Dispatched,
    ) {
        match over.successor().filter(|successor| successor.filter.matches(event.topic())) {
            Some(successor) => self.offer(desk, &successor, event, passage, patience, dispatched),
            // Not offered, not counted.
            None => desk.let_go(event),
        }
    }

    /// Does what the offer of a publisher that has waited for room asks for.
    pub(super) fn done_waiting(
        &self,
        dispatched: &mut Dispatched,
        core: &Arc<SubscriptionCore>,
        offer: Offer,
    ) {
        match (offer, core.heir()) {
            (Offer::Closed(event) | Offer::Late(Some(event)), Some(successor)) => {
                core.touch();
                // Counted once already.
                dispatched.offered = dispatched.offered.saturating_sub(1);
                // Who took the place may want less than was wanted there.
                if !successor.filter.matches(event.topic()) {
                    return;
                }
                let (id, arrival) = (event.id(), Arrival::of(&event, event.weight()));
                let passage = Passage::of(&id, arrival, Source::Outside, Patience::Waits);
                self.offer(self.desk(), &successor, event, &passage, Patience::Waits, dispatched);
            }
            (offer, _) => dispatched.done(core, offer),
        }
    }
}
