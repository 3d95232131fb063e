//! Offering: an event that is valid, on its way to all subscriptions that it matches.
//!
//! Nothing here knows the payload's type, so that it is compiled once. Most publishes are over when [`BusCore::route`]
//! returns; what is left of the others is done by [`complete`](BusCore::complete) and told by [`finish`](BusCore::finish).

use busway_event::{AnyEvent, EventId, Topic};
use busway_observability::{Signal, Wants};
use busway_router::Reached;
use futures_util::future::join_all;
use std::sync::Arc;

use super::desk::Desk;
use super::dispatch::{Dispatched, Late, Left, Source};
use super::publish::Patience;
use super::waiter::Waiter;
use super::{BusCore, Durability, Receipt, Refused};
use crate::mailbox::Arrival;
use crate::subscription::{Entry, SubscriptionCore};

/// An event on its way to its subscriptions.
pub(crate) struct Offering {
    pub(super) id: EventId,
    /// For those who are told, if there are any.
    pub(crate) observed: Option<AnyEvent>,
    pub(crate) dispatched: Dispatched,
}

/// An event's way to its subscriptions: what is asked of it at each of them.
pub(crate) struct Passage<'a> {
    /// Of the event. Lent: a copy would be read back from where it was put a moment ago.
    pub(super) id: &'a EventId,
    pub(super) arrival: Arrival,
    pub(super) from: Source,
    pub(super) patience: Patience,
    seeks: Seeks,
}

impl<'a> Passage<'a> {
    #[inline]
    pub(super) const fn of(id: &'a EventId, arrival: Arrival, from: Source, patience: Patience) -> Self {
        Self { id, arrival, from, patience, seeks: Seeks::Nothing }
    }

    /// For a publisher's handle.
    #[inline]
    pub(super) const fn seeking_way(mut self) -> Self {
        self.seeks = Seeks::Way;
        self
    }
}

/// What a publish would like to find beside its subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seeks {
    Nothing,
    /// A [straight way](super::straight), for the next one of its publisher's handle.
    Way,
}

/// A publish that is not over at once.
pub(crate) enum Unfinished {
    /// Nobody was offered the event.
    Refused(AnyEvent, Refused),
    Left(Offering),
}

impl BusCore {
    /// Offers an event to everybody whose filter matches: says to how many, or what is left to do. `topic` is the event's.
    pub(super) fn route(
        &self,
        desk: &Desk,
        topic: &Topic,
        event: AnyEvent,
        passage: &Passage<'_>,
    ) -> Result<usize, Box<Unfinished>> {
        let generation = self.router.generation();
        desk.ways.renew(generation);
        let Some(lent) = self.router.lent(topic) else {
            return self.router.lookup_with(topic, |targets| self.route_to(desk, event, passage, targets));
        };
        match &*lent {
            // One subscription, and nobody looks on: most publishes come by here.
            [entry] if !self.services.signals.want(Wants::EVENTS) => {
                let mut dispatched = Dispatched::default();
                let inline = entry.core().and_then(|core| Some((core, core.inline.get()?)));
                match inline.filter(|(core, member)| self.runs_plain(core, member, &event)) {
                    Some((core, member)) => match Self::run_plain_inline(desk, core, member, event) {
                        Ok(offered) => {
                            if passage.seeks == Seeks::Way {
                                self.lay_straight(desk, topic, generation, (core, member));
                            }
                            return Ok(over(desk, offered));
                        }
                        Err(unsettled) => {
                            if let Some(event) = dispatched.leave_over(*unsettled) {
                                self.offer_successor(
                                    desk,
                                    entry,
                                    event,
                                    passage,
                                    passage.patience,
                                    &mut dispatched,
                                );
                            }
                        }
                    },
                    None => {
                        self.offer(desk, entry, event, passage, passage.patience, &mut dispatched);
                        if passage.seeks == Seeks::Way
                            && let Some(core) = entry.awake()
                        {
                            self.lay_to_queue(desk, topic, generation, core);
                        }
                    }
                }
                ended(desk, passage, &mut dispatched)
            }
            targets => self.route_to(desk, event, passage, Reached::from(targets)),
        }
    }

    fn route_to(
        &self,
        desk: &Desk,
        event: AnyEvent,
        passage: &Passage<'_>,
        targets: Reached<'_, Entry>,
    ) -> Result<usize, Box<Unfinished>> {
        if passage.patience == Patience::Never
            && let Some(reason) = self.needs_await(targets)
        {
            return Err(Box::new(Unfinished::Refused(event, reason)));
        }
        let offering = self.begin_at(desk, event, passage, targets);
        if !offering.dispatched.is_over() {
            return Err(Box::new(Unfinished::Left(offering)));
        }
        self.count(offering.dispatched.offered, offering.observed.as_ref());
        Ok(offering.dispatched.offered)
    }

    /// Offers an event to everybody whose filter matches.
    pub(crate) fn begin(&self, event: AnyEvent, from: Source) -> Offering {
        let topic = event.topic().clone();
        self.router.lookup_with(&topic, |targets| self.begin_with(event, targets, from))
    }

    pub(super) fn begin_with(&self, event: AnyEvent, targets: Reached<'_, Entry>, from: Source) -> Offering {
        let (id, arrival) = (event.id(), Arrival::of(&event, event.weight()));
        self.begin_at(self.desk(), event, &Passage::of(&id, arrival, from, Patience::Waits), targets)
    }

    pub(super) fn begin_at(
        &self,
        desk: &Desk,
        event: AnyEvent,
        passage: &Passage<'_>,
        targets: Reached<'_, Entry>,
    ) -> Offering {
        desk.ways.renew(self.router.generation());
        let observed = self.services.signals.want(Wants::EVENTS).then(|| event.clone());
        let mut dispatched = Dispatched::default();
        self.dispatch(desk, event, passage, targets, &mut dispatched);
        Offering { id: *passage.id, observed, dispatched }
    }

    /// The first inline subscription that could not run without an await.
    pub(crate) fn needs_await(&self, targets: Reached<'_, Entry>) -> Option<Refused> {
        // Nobody has to be asked where there was never an inline one.
        if !self.has_had_inline() {
            return None;
        }
        targets.iter().filter_map(|entry| entry.awake()).find_map(|core| {
            let middleware = &self.services.middleware;
            let member = core.inline.get().filter(|member| !member.is_plain(middleware))?;
            member.merged(middleware).chain.has_async().then(|| needs_await(core))
        })
    }

    /// Waits for what could not be done at once, and publishes what inline handlers emitted.
    pub(crate) async fn complete(self: &Arc<Self>, dispatched: &mut Dispatched) {
        while let Some(mut left) = dispatched.left.take() {
            // All at once: one that is full does not keep another from taking the event when it has room.
            let waits = std::mem::take(&mut left.blocked).into_iter().map(Waiter::wait);
            for (core, offer) in join_all(waits).await {
                self.done_waiting(dispatched, &core, offer);
            }
            for call in std::mem::take(&mut left.inline) {
                self.run_inline_async(call, dispatched).await;
            }
            for mut emitting in std::mem::take(&mut left.emitting) {
                let emits = std::mem::take(&mut emitting.emits);
                let published = Box::pin(self.publish_emits(emits, emitting.source())).await;
                emitting.settle(published.err());
            }
        }
    }

    /// Publishes what inline handlers emitted, without waiting, and what those emit in turn. Whoever blocks loses the
    /// event: this publisher does not wait.
    pub(super) fn complete_now(&self, mut left: Left) {
        left.blocked.clear();
        while let Some(mut emitting) = left.emitting.pop_front() {
            let emits = std::mem::take(&mut emitting.emits);
            let published = self.publish_emits_now(emits, emitting.source(), &mut left);
            emitting.settle(published.err());
        }
    }

    /// The receipt; or the receipt and the event again, when all its offers came too late.
    pub(super) fn finish(&self, offering: Offering) -> Result<Receipt, (Receipt, AnyEvent)> {
        let Offering { id, observed, dispatched } = offering;
        let Dispatched { offered, late, .. } = dispatched;
        // A subscription that ends by itself abandons the event; only the end of the bus refuses it.
        if let Some(Late { offers, back: Some(back) }) = late.map(|late| *late)
            && offers == offered
            && !self.closing.admits(Source::Outside)
        {
            return Err((receipt(id, offered), back));
        }
        self.count(offered, observed.as_ref());
        Ok(receipt(id, offered))
    }

    /// Counts a publish that is over.
    pub(super) fn count(&self, offered: usize, observed: Option<&AnyEvent>) {
        self.desk().published(offered);
        if let Some(event) = observed {
            self.services.signals.tell(&Signal::Published { event, offered });
        }
    }
}

#[cold]
pub(super) fn needs_await(core: &SubscriptionCore) -> Refused {
    Refused::NeedsAwait { subscription: core.name.to_string() }
}

/// Counts a publish that is over and that nobody observes.
#[inline]
fn over(desk: &Desk, offered: usize) -> usize {
    desk.published(offered);
    offered
}

/// What is left of a dispatch that nobody observes.
#[inline]
fn ended(desk: &Desk, passage: &Passage<'_>, dispatched: &mut Dispatched) -> Result<usize, Box<Unfinished>> {
    match dispatched.is_over() {
        true => {
            desk.published(dispatched.offered);
            Ok(dispatched.offered)
        }
        false => Err(Box::new(unfinished(*passage.id, std::mem::take(dispatched)))),
    }
}

#[cold]
pub(super) fn unfinished(id: EventId, mut dispatched: Dispatched) -> Unfinished {
    match dispatched.refused.take().map(|refused| *refused) {
        Some((event, reason)) => Unfinished::Refused(event, reason),
        None => Unfinished::Left(Offering { id, observed: None, dispatched }),
    }
}

pub(super) const fn receipt(id: EventId, offered: usize) -> Receipt {
    Receipt { id, offered, durability: Durability::Memory, position: None, due: None }
}
