//! An attempt that begins within the stretch of its worker, and mostly ends there: only what waits, or has more to do behind its handler, takes a future.

use std::task::Context;

use busway_event::AnyEvent;
use busway_middleware::chain::{self, begin_plain, go_on_plain};
use busway_middleware::{Delivery, Outcome, Reply};

use super::again::attempts_again;
use super::attempt::{
    Aborted, Ended, Slot, cut_short, emit, hands_back, has_more, let_go, published, settle,
};
use crate::mailbox::Ticket;
use crate::subscription::{Member, SubscriptionCore};

/// An attempt that could not end at once.
pub(super) struct Under {
    delivery: Delivery,
    ticket: Ticket,
    stands: Stands,
}

/// How an attempt began.
pub(super) enum Begun {
    /// Nothing waited; settled but for its ticket.
    Handled(AnyEvent),
    Under(Delivery, Stands),
}

/// How far an attempt has come.
pub(super) enum Stands {
    /// Without middleware: what the handler said; `None` while it runs.
    Plain(Option<Reply>),
    /// Behind middleware.
    Behind(chain::Begun),
}

/// Begins to handle an event without middleware, and counts its end when the handler does not wait.
#[inline]
pub(super) fn begin(
    (core, member): (&SubscriptionCore, &Member),
    slot: &mut Slot,
    event: AnyEvent,
    context: &mut Context<'_>,
) -> Begun {
    let delivery = slot.delivery(core, member, event);
    let mut reply = None;
    if begin_plain(&delivery, &mut *slot.invocation, context, &mut reply).is_pending() {
        return Begun::Under(delivery, Stands::Plain(None));
    }
    match reply {
        None => {
            core.settle(delivery.event(), &Outcome::Done, None);
            Begun::Handled(slot.keep(delivery))
        }
        Some(Reply { outcome, emits }) if emits.is_empty() && slot.is_over_with(&outcome) => {
            core.settle(delivery.event(), &outcome, None);
            let_go(outcome);
            Begun::Handled(slot.keep(delivery))
        }
        reply => Begun::Under(delivery, Stands::Plain(reply)),
    }
}

/// Begins to handle an event behind middleware, and counts its end when nothing of that waits.
#[inline]
pub(super) fn begin_behind(
    (core, member): (&SubscriptionCore, &Member),
    slot: &mut Slot,
    event: AnyEvent,
    context: &mut Context<'_>,
) -> Begun {
    let mut delivery = slot.delivery(core, member, event);
    let Slot { invocation, progress, chain, .. } = &mut *slot;
    let chain = chain.get(member, &core.services.middleware);
    match chain::begin(chain, &mut delivery, &mut **invocation, progress, context) {
        chain::Begun::Over(outcome)
            if slot.is_over_with(&outcome) && !has_more(member, &delivery, &slot.progress) =>
        {
            core.settle(delivery.event(), &outcome, slot.progress.cut_by());
            let_go(outcome);
            Begun::Handled(slot.keep(delivery))
        }
        begun => Begun::Under(delivery, Stands::Behind(begun)),
    }
}

impl Under {
    pub(super) const fn new(delivery: Delivery, stands: Stands, ticket: Ticket) -> Self {
        Self { delivery, ticket, stands }
    }
}

/// Does what is left of it.
pub(super) async fn go_on(
    core: &SubscriptionCore,
    member: &Member,
    slot: &mut Slot,
    under: Under,
    aborted: Aborted<'_, '_>,
) -> Ended {
    let Under { mut delivery, ticket, stands } = under;
    let attempt = async {
        let (outcome, is_behind) = match stands {
            Stands::Plain(reply) => {
                let Reply { outcome, emits } = match reply {
                    Some(reply) => reply,
                    None => go_on_plain(&delivery, &mut *slot.invocation).await,
                };
                (emit(core, outcome, emits).await, false)
            }
            Stands::Behind(begun) => {
                let Slot { invocation, progress, .. } = &mut *slot;
                let outcome = match begun {
                    chain::Begun::Over(outcome) => outcome,
                    chain::Begun::Waits(inside) => {
                        chain::go_on(inside, &mut delivery, &mut **invocation, progress).await
                    }
                };
                (published(core, member, &delivery, progress, outcome).await, true)
            }
        };
        match slot.is_over_with(&outcome) || hands_back(core, member, &delivery) {
            true => (outcome, is_behind),
            false => {
                let again = attempts_again(core, member, slot, delivery.event(), (outcome, None));
                (Box::pin(again).await, is_behind)
            }
        }
    };
    let outcome = tokio::select! {
        biased;
        outcome = attempt => Some(outcome),
        () = aborted => None,
    };
    match outcome {
        Some((outcome, is_behind)) => {
            let cut_by = slot.progress.cut_by().filter(|_| is_behind);
            settle(core, delivery.event(), &ticket, outcome, cut_by);
            Ended::Settled(slot.keep(delivery))
        }
        None => {
            cut_short(core, &ticket);
            Ended::CutShort
        }
    }
}
