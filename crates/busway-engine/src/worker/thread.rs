//! A thread that handles one event after the other, for blocking handlers.

use std::sync::OnceLock;
use std::thread;

use busway_event::{AnyDraft, AnyEvent};
use busway_middleware::chain::{call_plain, run_now};
use busway_middleware::{Delivery, Outcome, Reply};
use busway_observability::trace::Place;

use super::attempt::{Ended, Slot, Way, cut_short, emit, handle, settle};
use super::linger::linger;
use super::{Intake, Next};
use crate::mailbox::{Bell, Job, Ticket};
use crate::subscription::{Member, SubscriptionCore};
use crate::traced::ended;

/// Works until the subscription is over or its member leaves.
pub(super) fn work(core: &SubscriptionCore, member: &Member) {
    let bell = OnceLock::new();
    _ = bell.set(thread::current());
    let mut intake = Intake::new(core, member, Bell::Thread(bell));
    let mut slot = Slot::new(core, member);
    let straight = !core.mailbox.is_scheduled();
    loop {
        if straight {
            while let Some(event) = intake.take_straight() {
                let ticket = Ticket::straight(member.id);
                if let Some(event) = handle_here(core, member, &mut slot, event, ticket) {
                    intake.let_go(event);
                }
            }
        }
        let next = match intake.take() {
            Some(job) => Next::Handle(job),
            None if linger(core, member) => continue,
            None => intake.park(),
        };
        match next {
            Next::Handle(Job { event, ticket }) => {
                if let Some(event) = handle_here(core, member, &mut slot, event, ticket) {
                    intake.let_go(event);
                }
            }
            Next::Sleep => {
                thread::park();
                intake.woken();
            }
            Next::End => return,
        }
    }
}

/// Handles one event on this thread, and gives it back when it is settled. Without async middleware nothing but the
/// handler runs; with it, the chain is driven here.
fn handle_here(
    core: &SubscriptionCore,
    member: &Member,
    slot: &mut Slot,
    event: AnyEvent,
    ticket: Ticket,
) -> Option<AnyEvent> {
    if core.is_aborted() {
        cut_short(core, &ticket);
        return None;
    }
    let is_traced = core.services.is_traced(&event);
    // Before its delivery is made: that tells what was lost, once.
    if slot.again.is_some() || slot.has_async(core, member) {
        return handle_behind_async(core, member, slot, Job { event, ticket });
    }
    if is_traced {
        return handle_traced(core, member, slot, event, &ticket);
    }
    let mut delivery = slot.delivery(core, member, event);
    if slot.way(core, member, delivery.event()) == Way::Plain {
        let mut reply = None;
        call_plain(&delivery, &member.handler, &mut reply);
        let Some(Reply { outcome, emits }) = reply else {
            settle(core, delivery.event(), &ticket, Outcome::Done, None);
            return Some(slot.keep(delivery));
        };
        if !emits.is_empty() {
            return end_with_emits(core, slot, delivery, &ticket, outcome, emits);
        }
        settle(core, delivery.event(), &ticket, outcome, None);
        return Some(slot.keep(delivery));
    }
    let chain = slot.chain.get(member, &core.services.middleware);
    let Some(outcome) = run_now(chain, &mut delivery, &member.handler, &mut slot.progress) else {
        let event = slot.keep(delivery);
        return handle_behind_async(core, member, slot, Job { event, ticket });
    };
    if let Some(trace) = slot.progress.take_trace() {
        core.keep_trace(trace);
    }
    if slot.progress.has_emits() {
        let emits = slot.progress.take_emits();
        return end_with_emits(core, slot, delivery, &ticket, outcome, emits);
    }
    settle(core, delivery.event(), &ticket, outcome, slot.progress.cut_by());
    Some(slot.keep(delivery))
}

/// Handles an event in its place in a trace, where nothing waits.
#[inline(never)]
fn handle_traced(
    core: &SubscriptionCore,
    member: &Member,
    slot: &mut Slot,
    event: AnyEvent,
    ticket: &Ticket,
) -> Option<AnyEvent> {
    let mut delivery = slot.delivery(core, member, event);
    let place = core.services.traced(&delivery);
    let _entered = place.as_ref().map(Place::enter);
    let chain = slot.chain.get(member, &core.services.middleware);
    let outcome = run_now(chain, &mut delivery, &member.handler, &mut slot.progress)
        .unwrap_or_else(|| Outcome::failed("a handler of this kind does not run on a thread"));
    if let Some(trace) = slot.progress.take_trace() {
        core.keep_trace(trace);
    }
    ended(place.as_ref(), &outcome);
    if slot.progress.has_emits() {
        let emits = slot.progress.take_emits();
        return end_with_emits(core, slot, delivery, ticket, outcome, emits);
    }
    settle(core, delivery.event(), ticket, outcome, slot.progress.cut_by());
    Some(slot.keep(delivery))
}

/// Publishes what the handler wants published, then settles.
#[inline(never)]
fn end_with_emits(
    core: &SubscriptionCore,
    slot: &mut Slot,
    delivery: Delivery,
    ticket: &Ticket,
    outcome: Outcome,
    emits: Vec<AnyDraft>,
) -> Option<AnyEvent> {
    let emitted = core.abort.run_until_cancelled(emit(core, outcome, emits));
    let Some(outcome) = core.services.runtime.block_on(emitted) else {
        cut_short(core, ticket);
        return None;
    };
    // Nobody cut it short: it was the handler that wanted something published.
    settle(core, delivery.event(), ticket, outcome, None);
    Some(slot.keep(delivery))
}

/// Drives an async chain on this thread.
fn handle_behind_async(
    core: &SubscriptionCore,
    member: &Member,
    slot: &mut Slot,
    job: Job,
) -> Option<AnyEvent> {
    let attempt = async {
        let aborted = core.abort.cancelled();
        tokio::pin!(aborted);
        handle(core, member, slot, job, aborted).await
    };
    match core.services.runtime.block_on(attempt) {
        Ended::Settled(event) => Some(event),
        Ended::CutShort => None,
    }
}
