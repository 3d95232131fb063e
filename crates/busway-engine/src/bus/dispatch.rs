//! Dispatch: one event to all subscriptions that it matches.
//!
//! Offering never waits, so it is one loop on the publisher's thread. What must wait (a blocked subscription, an inline
//! handler behind async middleware) is left over for `publish`, which awaits it, or `try_publish`, which does not.

use std::collections::VecDeque;
use std::sync::Arc;

use busway_event::{AnyDraft, AnyEvent};
use busway_middleware::chain::{self, Progress, call_plain, run_now};
use busway_middleware::{Delivery, Outcome, Reply};
use busway_observability::trace::{Place, within};
use busway_reliability::MayWait;
use busway_router::Reached;

use super::desk::Desk;
use super::inline_run::{Emitting, InlineRun};
use super::offering::{Passage, needs_await};
use super::publish::Patience;
use super::waiter::Waiter;
use super::{BusCore, Refused};
use crate::mailbox::Offer;
use crate::subscription::{Begun, Entry, Member, SubscriptionCore};
use crate::traced::ended;
use crate::worker::{Slot, delivery_of, let_go, progress_of};

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Anybody: refused from the start of a shutdown.
    Outside,
    /// A running handler of this subscription: passes until the bus is closed.
    Handler(u64),
}

/// What a dispatch came to.
#[derive(Debug, Default)]
pub(crate) struct Dispatched {
    /// Subscriptions that were offered the event.
    pub(crate) offered: usize,
    /// What could not be done at once; most publishes leave nothing over.
    pub(crate) left: Option<Box<Left>>,
    pub(crate) late: Option<Box<Late>>,
    /// The event, when it could not be offered to the only subscription without an await.
    pub(crate) refused: Option<Box<(AnyEvent, Refused)>>,
}

/// Offers that came too late: the subscription was closing.
#[derive(Debug, Default)]
pub(crate) struct Late {
    pub(crate) offers: usize,
    /// The event, when a subscription closed while its publisher waited for room.
    pub(crate) back: Option<AnyEvent>,
}

/// What a dispatch leaves over for its publisher.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Subscriptions without room whose policy is to wait.
    pub(crate) blocked: Vec<Waiter>,
    /// Inline handlers behind async middleware.
    pub(crate) inline: Vec<InlineCall>,
    /// Inline handlers that want events published before they are settled.
    pub(crate) emitting: VecDeque<Emitting>,
}

/// An inline handler that is to be called, behind async middleware.
#[derive(Debug)]
pub(crate) struct InlineCall {
    run: InlineRun,
    member: Arc<Member>,
    event: AnyEvent,
}

/// An inline event that is neither settled nor dropped.
#[derive(Debug)]
pub(super) enum Unsettled {
    /// Its handler wants something published first.
    Emits(Emitting),
    /// Its subscription is over: it was not offered.
    Over(AnyEvent),
}

impl BusCore {
    /// Offers an event to all its targets.
    #[inline]
    pub(crate) fn dispatch(
        &self,
        desk: &Desk,
        event: AnyEvent,
        passage: &Passage<'_>,
        targets: Reached<'_, Entry>,
        dispatched: &mut Dispatched,
    ) {
        let mut targets = targets.iter();
        let Some(mut entry) = targets.next() else { return desk.let_go(event) };
        for next in targets {
            self.offer(desk, entry, event.clone(), passage, Patience::Waits, dispatched);
            entry = next;
        }
        // The last one gets the event itself: with one subscription nothing is counted up and down.
        self.offer(desk, entry, event, passage, Patience::Waits, dispatched);
    }

    /// Offers it to one subscription. An inline handler that needs an await refuses it, for a publisher without patience: to be
    /// had only when it is the one and only, so that nobody was offered the event.
    #[inline]
    pub(super) fn offer(
        &self,
        desk: &Desk,
        entry: &Arc<Entry>,
        event: AnyEvent,
        passage: &Passage<'_>,
        patience: Patience,
        dispatched: &mut Dispatched,
    ) {
        match entry.core() {
            Some(core) => self.offer_to(desk, (entry, core), event, passage, patience, dispatched),
            // It has ended: not offered, not counted.
            None => self.offer_successor(desk, entry, event, passage, patience, dispatched),
        }
    }

    /// The same for one that is at work.
    #[inline]
    pub(super) fn offer_to(
        &self,
        desk: &Desk,
        (entry, core): (&Arc<Entry>, &Arc<SubscriptionCore>),
        event: AnyEvent,
        passage: &Passage<'_>,
        patience: Patience,
        dispatched: &mut Dispatched,
    ) {
        // Out of line, so that the event of the others stays in registers: read back in one piece after it was written in two, it
        // would have to wait for both.
        if core.inline.get().is_some() {
            return self.offer_inline(desk, (entry, core), event, passage, patience, dispatched);
        }
        // A handler that publishes to its own full subscription would wait for itself.
        let may_wait = match passage.from {
            Source::Handler(id) if id == core.id || core.is_held_for(id) => MayWait::No,
            _ => MayWait::Yes,
        };
        match core.mailbox.offer(event, &passage.arrival, may_wait) {
            Offer::Queued => {
                dispatched.offered += 1;
                if !core.is_staffed() {
                    core.ensure_worker();
                }
            }
            Offer::Closed(event) => {
                // Somebody may wait for this very offer's end.
                core.touch();
                self.offer_successor(desk, entry, event, passage, patience, dispatched);
            }
            offer => {
                dispatched.offered += 1;
                dispatched.done(core, offer);
            }
        }
    }

    /// Runs an inline handler, or leaves it over.
    #[inline(never)]
    fn offer_inline(
        &self,
        desk: &Desk,
        (entry, core): (&Arc<Entry>, &Arc<SubscriptionCore>),
        event: AnyEvent,
        passage: &Passage<'_>,
        patience: Patience,
        dispatched: &mut Dispatched,
    ) {
        let Some(member) = core.inline.get() else { return };
        let back = match self.runs_plain(core, member, &event) {
            true => match Self::run_plain_inline(desk, core, member, event) {
                Ok(offered) => {
                    dispatched.offered += offered;
                    None
                }
                Err(unsettled) => dispatched.leave_over(*unsettled),
            },
            false => self.run_chained_inline(desk, core, member, event, patience, dispatched),
        };
        if let Some(event) = back {
            self.offer_successor(desk, entry, event, passage, patience, dispatched);
        }
    }

    /// Runs an inline handler behind its middleware, or leaves it over when that is async. The event comes back when the subscription is over.
    #[inline(never)]
    fn run_chained_inline(
        &self,
        desk: &Desk,
        core: &Arc<SubscriptionCore>,
        member: &Arc<Member>,
        event: AnyEvent,
        patience: Patience,
        dispatched: &mut Dispatched,
    ) -> Option<AnyEvent> {
        let place = member.inline_slot();
        let mut slot = place.take().unwrap_or_else(|| Box::new(Slot::new(core, member)));
        if patience == Patience::Never && slot.chain.get(member, &self.services.middleware).has_async() {
            place.set(Some(slot));
            dispatched.refused = Some(Box::new((event, needs_await(core))));
            return None;
        }
        let begun = core.begin_inline();
        dispatched.offered += begun.offered();
        if begun != Begun::Runs {
            place.set(Some(slot));
            return (begun == Begun::Closed).then_some(event);
        }
        let mut delivery = slot.delivery(core, member, event);
        let Slot { chain, progress, .. } = &mut *slot;
        let chain = chain.get(member, &self.services.middleware);
        let within = if chain.has_async() { None } else { self.services.traced(&delivery) };
        let entered = within.as_ref().map(Place::enter);
        // A panic of a step or of the handler is an outcome. Without one there is an async step: nothing was called.
        let Some(outcome) = run_now(chain, &mut delivery, &member.handler, progress) else {
            drop(entered);
            let run = InlineRun::new(core);
            let event = slot.keep(delivery);
            place.set(Some(slot));
            dispatched.left().inline.push(InlineCall { run, member: Arc::clone(member), event });
            return None;
        };
        if progress.has_trace()
            && let Some(trace) = progress.take_trace()
        {
            core.keep_trace(trace);
        }
        ended(within.as_ref(), &outcome);
        if progress.has_emits() {
            let (run, mut emits) = (InlineRun::new(core), progress.take_emits());
            self.create_emits(&mut emits);
            let event = slot.keep(delivery);
            place.set(Some(slot));
            dispatched.emit(Emitting { run, event, emits });
            return None;
        }
        // Settled before the delivery is taken apart: what a middleware left in it is dropped then, by code of the user's.
        core.settle(delivery.event(), &outcome, progress.cut_by());
        core.inline_ended();
        let_go(outcome);
        let event = slot.keep(delivery);
        place.set(Some(slot));
        desk.let_go(event);
        None
    }

    /// Whether nothing but the handler of an inline subscription is to be run, in no trace, and no times are to be taken.
    #[inline]
    pub(super) fn runs_plain(&self, core: &SubscriptionCore, member: &Member, event: &AnyEvent) -> bool {
        core.settings.traces == 0
            && member.is_plain(&self.services.middleware)
            && !self.services.is_traced(event)
    }

    /// Runs an inline handler without middleware: says to how many the event was offered, or what is left to do with it. Nothing here unwinds: the handler's panic is its outcome.
    #[inline]
    pub(super) fn run_plain_inline(
        desk: &Desk,
        core: &Arc<SubscriptionCore>,
        member: &Member,
        event: AnyEvent,
    ) -> Result<usize, Box<Unsettled>> {
        let begun = core.begin_inline();
        match begun {
            Begun::Runs => {}
            Begun::Dropped => return Ok(begun.offered()),
            Begun::Closed => return Err(Box::new(Unsettled::Over(event))),
        }
        let delivery = Delivery::live(event, desk.scope_of(core), core.mailbox.take_lagged());
        let mut reply = None;
        call_plain(&delivery, &member.handler, &mut reply);
        let (event, scope) = delivery.into_parts();
        desk.keep_scope(scope);
        match reply {
            None => core.settle(&event, &Outcome::Done, None),
            Some(Reply { outcome: Outcome::Done, emits }) => {
                let emitting = Emitting { run: InlineRun::new(core), event, emits };
                return Err(Box::new(Unsettled::Emits(emitting)));
            }
            Some(Reply { outcome, .. }) => {
                core.settle(&event, &outcome, None);
                let_go(outcome);
            }
        }
        core.inline_ended();
        desk.let_go(event);
        Ok(begun.offered())
    }

    /// Runs an inline handler whose chain is async.
    pub(crate) async fn run_inline_async(&self, call: InlineCall, dispatched: &mut Dispatched) {
        let InlineCall { run, member, event } = call;
        let core = &run.core;
        let mut delivery = delivery_of(core, &member, event);
        let mut progress = progress_of(core);
        let mut invocation = member.handler.invocation();
        let chain = member.chain(&self.services.middleware);
        let place = self.services.traced(&delivery);
        let attempt = chain::run(&chain, &mut delivery, &mut *invocation, &mut progress);
        // Aborted: dropping the run counts it as cut short.
        let outcome = core.abort.run_until_cancelled(within(place.as_ref(), attempt)).await;
        let Some(outcome) = outcome else { return };
        ended(place.as_ref(), &outcome);
        let mut emits = progress.take_emits();
        if !emits.is_empty() {
            let _entered = place.as_ref().map(Place::enter);
            self.create_emits(&mut emits);
        }
        let (event, _) = delivery.into_parts();
        dispatched.inline_ran(run, event, (outcome, emits), &mut progress);
    }

    /// Whether a publish from there passes now.
    #[inline]
    pub(crate) fn admit(&self, from: Source) -> Result<(), Refused> {
        match self.closing.admits(from) {
            true => Ok(()),
            false => Err(Refused::Closed),
        }
    }
}

impl Dispatched {
    /// Whether nothing is left to be done or to be looked at.
    pub(crate) const fn is_over(&self) -> bool {
        self.left.is_none() && self.late.is_none() && self.refused.is_none()
    }

    pub(crate) fn left(&mut self) -> &mut Left {
        self.left.get_or_insert_default()
    }

    /// Leaves over what is left to do with an inline event; gives it back when its subscription is over.
    #[cold]
    pub(super) fn leave_over(&mut self, unsettled: Unsettled) -> Option<AnyEvent> {
        match unsettled {
            Unsettled::Emits(emitting) => {
                self.offered += 1;
                self.emit(emitting);
                None
            }
            Unsettled::Over(event) => Some(event),
        }
    }

    /// Leaves over what an inline handler wants published; it is settled when that is done.
    #[cold]
    fn emit(&mut self, emitting: Emitting) {
        self.left().emitting.push_back(emitting);
    }

    /// Settles an inline handler behind async middleware, now or when its events are published.
    fn inline_ran(
        &mut self,
        run: InlineRun,
        event: AnyEvent,
        (outcome, emits): (Outcome, Vec<AnyDraft>),
        progress: &mut Progress,
    ) {
        if let Some(trace) = progress.take_trace() {
            run.core.keep_trace(trace);
        }
        match emits.is_empty() {
            true => run.settle(&event, outcome, progress.cut_by()),
            false => self.left().emitting.push_back(Emitting { run, event, emits }),
        }
    }

    /// Does what an offer asks for.
    pub(crate) fn done(&mut self, core: &Arc<SubscriptionCore>, offer: Offer) {
        match offer {
            Offer::Queued => core.ensure_worker(),
            Offer::Blocked(blocked) => {
                self.left().blocked.push(Waiter::new(core, *blocked));
            }
            Offer::Late(back) => {
                let late = self.late.get_or_insert_default();
                late.offers += 1;
                late.back = back.or(late.back.take());
                core.touch();
            }
            Offer::Disconnect => core.disconnect(),
            // Somebody may wait for this event's end, or, closing, for this very offer's.
            Offer::Dropped | Offer::Closed(_) => core.touch(),
            Offer::Woken => {}
        }
    }
}
