//! The [straight way](super::straight) to a subscription that handles its events elsewhere: it ends in a queue.
//!
//! What a thread remembers of such a topic is what it has found there: one subscription in memory, and nobody who looks on. The next publish of a payload
//! makes an event in an envelope that says all but payload, id and time already, and offers it. The offer is that of all others: it is counted, closed, bounded, waited for and
//! handed over as theirs are (`mailbox/offer.rs`), and a subscription that is over sends the event back, which then takes the way of all others to whoever has its place.

use std::sync::Arc;

use busway_event::{EventType, Key, Moment, Topic};
use busway_reliability::MayWait;
use busway_router::Generation;

use super::BusCore;
use super::desk::Desk;
use super::dispatch::Dispatched;
use super::offering::unfinished;
use super::straight::{Astray, Straight};
use crate::mailbox::{Arrival, Offer};
use crate::subscription::SubscriptionCore;

impl BusCore {
    /// Lays the way to a topic whose only subscription is this one, if it is straight and was sought. `generation` is from before the match.
    #[cold]
    pub(super) fn lay_to_queue(
        &self,
        desk: &Desk,
        topic: &Topic,
        generation: Generation,
        core: &Arc<SubscriptionCore>,
    ) {
        // One whose handler runs inside of the publish, behind middleware here, has no queue that anybody looks into; one whose place another one has takes nothing in.
        let takes_in = core.inline.get().is_none() && core.feed.is_none() && !core.has_heir();
        let is_straight = takes_in && !self.is_watched() && self.log.is_none();
        if is_straight && desk.ways.is_sought(topic) {
            self.lay(desk, topic, generation, core, None);
        }
    }

    /// Publishes a payload by such a way.
    ///
    /// `Ok`: its subscription was offered it, and nothing is left to do.
    ///
    /// Never inlined: beside it the way of inline handlers stays as short as it is.
    #[inline(never)]
    pub(super) fn go_into_queue<T: EventType>(
        &self,
        desk: &Desk,
        way: &Straight,
        (key, payload): (Option<Key>, T),
        moment: &Moment,
    ) -> Result<(), Astray<T>> {
        let arrival = Arrival::plain(payload.weight().saturating_add(self.metadata.size()));
        let event = desk.event_of(&way.form, key, payload, moment);
        let core = &way.core;
        match core.mailbox.offer(event, &arrival, MayWait::Yes) {
            Offer::Queued if core.is_staffed() => {}
            Offer::Closed(event) => {
                // Somebody may wait for this very offer's end.
                core.touch();
                return Err(Astray::Event(event));
            }
            Offer::Woken => {}
            offer => return offered_otherwise(desk, core, offer, moment),
        }
        desk.published(1);
        Ok(())
    }
}

/// What most offers do not come to.
#[cold]
#[inline(never)]
fn offered_otherwise<T>(
    desk: &Desk,
    core: &Arc<SubscriptionCore>,
    offer: Offer,
    moment: &Moment,
) -> Result<(), Astray<T>> {
    let mut dispatched = Dispatched { offered: 1, ..Dispatched::default() };
    dispatched.done(core, offer);
    if !dispatched.is_over() {
        return Err(Astray::Left(Box::new(unfinished(moment.id, dispatched))));
    }
    desk.published(1);
    Ok(())
}
