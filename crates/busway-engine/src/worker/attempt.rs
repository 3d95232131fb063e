//! One attempt: an event through the chain to the handler, and its settlement.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use busway_event::{AnyDraft, AnyEvent};
use busway_middleware::chain::{drop_contained, run};
use busway_middleware::{Delivery, Invocation, Outcome, Progress, Scope};
use busway_observability::trace::within;
use tokio_util::sync::WaitForCancellationFuture;

use super::again::{Again, attempts_again};
use super::budget::Metered;
use crate::bus::Source;
use crate::idempotency::Kept;
use crate::mailbox::{Job, Ticket};
use crate::subscription::{ChainCache, Member, SubscriptionCore};
use crate::traced::ended;

/// What a worker, or a thread that runs an inline handler, keeps for one event after the other.
pub(crate) struct Slot {
    pub(crate) invocation: Box<dyn Invocation>,
    pub(crate) progress: Progress,
    pub(crate) chain: ChainCache,
    /// Moved into each delivery and back; counting it for each event would cost more than the move.
    scope: Option<Arc<Scope>>,
    /// Whether events are attempted again.
    pub(super) again: Option<Arc<Again>>,
}

impl Slot {
    pub(crate) fn new(core: &SubscriptionCore, member: &Member) -> Self {
        Self {
            invocation: member.handler.invocation(),
            progress: progress_of(core),
            chain: ChainCache::new(member, &core.services.middleware),
            scope: None,
            again: member.again.clone(),
        }
    }

    /// A delivery that tells what was lost since the one before.
    #[inline]
    pub(crate) fn delivery(&mut self, core: &SubscriptionCore, member: &Member, event: AnyEvent) -> Delivery {
        let scope = self.scope.take().unwrap_or_else(|| Arc::clone(member.scope(core)));
        said_by_the_broker(core, Delivery::live(event, scope, core.mailbox.take_lagged()))
    }

    /// What an event has before it.
    #[inline]
    pub(super) fn way(&mut self, core: &SubscriptionCore, member: &Member, event: &AnyEvent) -> Way {
        let is_plain = self.chain.get(member, &core.services.middleware).is_empty();
        let is_watched =
            core.settings.traces > 0 || core.services.is_traced(event) || self.metered(core).is_some();
        match (is_watched, is_plain) {
            (true, _) => Way::Watched,
            (false, true) => Way::Plain,
            (false, false) => Way::Behind,
        }
    }

    /// Whether its chain has to be driven.
    pub(super) fn has_async(&mut self, core: &SubscriptionCore, member: &Member) -> bool {
        self.chain.get(member, &core.services.middleware).has_async()
    }

    /// Whether nothing follows an attempt with this outcome.
    #[inline]
    pub(super) fn is_over_with(&self, outcome: &Outcome) -> bool {
        self.again.is_none() || matches!(outcome, Outcome::Done | Outcome::Skip)
    }

    /// The budget that attempts here are counted in.
    #[inline]
    fn metered<'a>(&self, core: &'a SubscriptionCore) -> Option<&'a Metered> {
        core.budget.as_deref().filter(|_| self.again.is_some())
    }

    /// Takes the delivery apart when its attempt is over.
    #[inline]
    pub(crate) fn keep(&mut self, delivery: Delivery) -> AnyEvent {
        let (event, scope) = delivery.into_parts();
        self.scope = Some(scope);
        event
    }
}

/// What an event has before it, see [`Slot::way`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Nothing but its handler.
    Plain,
    /// Middleware.
    Behind,
    /// It is traced, timed or counted.
    Watched,
}

/// A progress record that takes times when the subscription keeps traces.
pub(crate) fn progress_of(core: &SubscriptionCore) -> Progress {
    let mut progress = Progress::new();
    if core.settings.traces > 0 {
        let clock = Arc::clone(&core.services.clock);
        let now: Arc<dyn Fn() -> Instant + Send + Sync> = Arc::new(move || clock.now());
        progress.time_with(Some(now));
    }
    progress
}

/// How an attempt ended.
pub(crate) enum Ended {
    /// The event is let go by the worker.
    Settled(AnyEvent),
    /// The subscription was aborted meanwhile.
    CutShort,
}

/// A worker's registration for the abort of its subscription, made once for all events.
pub(crate) type Aborted<'a, 'b> = Pin<&'a mut WaitForCancellationFuture<'b>>;

/// Handles one event behind its chain.
pub(crate) async fn handle(
    core: &SubscriptionCore,
    member: &Member,
    slot: &mut Slot,
    job: Job,
    aborted: Aborted<'_, '_>,
) -> Ended {
    let Job { event, ticket } = job;
    let mut delivery = slot.delivery(core, member, event);
    let attempt = async {
        let place = core.services.traced(&delivery);
        let outcome = within(place.as_ref(), async {
            let Slot { invocation, progress, chain, .. } = &mut *slot;
            let chain = chain.get(member, &core.services.middleware);
            let outcome = run(chain, &mut delivery, &mut **invocation, progress).await;
            if let Some(trace) = progress.take_trace() {
                core.keep_trace(trace);
            }
            published(core, member, &delivery, progress, outcome).await
        });
        let outcome = outcome.await;
        ended(place.as_ref(), &outcome);
        // What did not come to its handler is no traffic.
        if let Some(budget) = slot.metered(core).filter(|_| slot.progress.cut_by().is_none()) {
            budget.attempted(core.services.clock.now());
        }
        match slot.is_over_with(&outcome) || hands_back(core, member, &delivery) {
            true => outcome,
            false => Box::pin(attempts_again(core, member, slot, delivery.event(), (outcome, place))).await,
        }
    };
    let outcome = tokio::select! {
        biased;
        outcome = attempt => Some(outcome),
        () = aborted => None,
    };
    match outcome {
        Some(outcome) => {
            settle(core, delivery.event(), &ticket, outcome, slot.progress.cut_by());
            Ended::Settled(slot.keep(delivery))
        }
        None => {
            cut_short(core, &ticket);
            Ended::CutShort
        }
    }
}

/// Publishes what a chain has left to be published, and concludes the key that it has left.
#[inline]
pub(super) async fn published(
    core: &SubscriptionCore,
    member: &Member,
    delivery: &Delivery,
    progress: &mut Progress,
    outcome: Outcome,
) -> Outcome {
    match has_more(member, delivery, progress) {
        // Boxed: most attempts emit nothing, and the future of each is moved.
        true => Box::pin(finish(core, delivery, outcome, progress.take_emits())).await,
        false => outcome,
    }
}

/// Whether a chain has left something to be done.
#[inline]
pub(super) fn has_more(member: &Member, delivery: &Delivery, progress: &Progress) -> bool {
    progress.has_emits() || member.keeper.is_some() && Kept::has_key(delivery)
}

/// Whether an event was left unhandled, as its subscription ends: its broker, if it has one, hears that before it hears of a failure.
pub(super) fn hands_back(core: &SubscriptionCore, member: &Member, delivery: &Delivery) -> bool {
    let is_left = member.keeper.is_some() && Kept::is_left_unhandled(delivery);
    if let Some(feed) = core.feed.as_ref().filter(|_| is_left) {
        feed.back(delivery.event().id());
    }
    is_left
}

/// A delivery that tells what was lost since the one before.
pub(crate) fn delivery_of(core: &SubscriptionCore, member: &Member, event: AnyEvent) -> Delivery {
    said_by_the_broker(
        core,
        Delivery::live(event, Arc::clone(member.scope(core)), core.mailbox.take_lagged()),
    )
}

/// With what its broker says of it, when it has come from one.
#[inline]
fn said_by_the_broker(core: &SubscriptionCore, delivery: Delivery) -> Delivery {
    match &core.feed {
        None => delivery,
        Some(feed) => feed.delivery(delivery),
    }
}

/// Publishes what a handler wants published, all of it or, when one of them is refused, nothing: that makes a failure of
/// the whole.
pub(crate) async fn emit(core: &SubscriptionCore, outcome: Outcome, emits: Vec<AnyDraft>) -> Outcome {
    if emits.is_empty() || !outcome.is_done() {
        return outcome;
    }
    let Some(bus) = core.bus.upgrade() else {
        return Outcome::failed("the bus is gone: nothing was published");
    };
    match bus.publish_emits(emits, Source::Handler(core.id)).await {
        Ok(()) => outcome,
        Err(reason) => Outcome::failed(reason),
    }
}

/// Publishes what a handler wants published, and then concludes the key of its event, if it has one: it is not done before.
pub(crate) async fn finish(
    core: &SubscriptionCore,
    delivery: &Delivery,
    outcome: Outcome,
    emits: Vec<AnyDraft>,
) -> Outcome {
    let published = emit(core, outcome, emits);
    match Kept::take(delivery) {
        Some(mut kept) => {
            let outcome = kept.keep(published).await;
            kept.conclude(outcome, delivery).await
        }
        None => published.await,
    }
}

#[inline]
pub(crate) fn settle(
    core: &SubscriptionCore,
    event: &AnyEvent,
    ticket: &Ticket,
    outcome: Outcome,
    cut_by: Option<&str>,
) {
    core.settle(event, &outcome, cut_by);
    core.mailbox.finish(ticket);
    let_go(outcome);
}

/// Lets go of an outcome that is counted. An error's drop is code of the program's: what it does is no end of a worker, and nothing of who publishes.
#[inline]
pub(crate) fn let_go(outcome: Outcome) {
    if let Outcome::Failed(_) | Outcome::Dead(_) = outcome {
        drop_contained(outcome);
    }
}

pub(crate) fn cut_short(core: &SubscriptionCore, ticket: &Ticket) {
    core.mailbox.account.cut_short();
    core.mailbox.finish(ticket);
}
