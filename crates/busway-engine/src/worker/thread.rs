//! A thread that handles one event after the other, for blocking handlers.

use std::sync::OnceLock;
use std::thread;

use busway_event::AnyEvent;
use busway_middleware::chain::{call_plain, run_now};
use busway_middleware::{Delivery, Outcome};

use super::attempt::{Ended, Slot, cut_short, emit, handle, settle};
use super::linger::linger;
use super::{Intake, Next};
use crate::mailbox::{Bell, Job, Ticket};
use crate::subscription::{Member, SubscriptionCore};

/// Works until the subscription is over or its member leaves.
pub(super) fn work(core: &SubscriptionCore, member: &Member) {
    let bell = OnceLock::new();
    _ = bell.set(thread::current());
    let mut intake = Intake::new(core, member, Bell::Thread(bell));
    let mut slot = Slot::new(core, member);
    loop {
        let next = match intake.take() {
            Some(job) => Next::Handle(job),
            None if linger(core, member) => continue,
            None => intake.park(),
        };
        match next {
            Next::Handle(job) => {
                if let Some(event) = handle_here(core, member, &mut slot, job) {
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
fn handle_here(core: &SubscriptionCore, member: &Member, slot: &mut Slot, job: Job) -> Option<AnyEvent> {
    if core.is_aborted() {
        cut_short(core, &job.ticket);
        return None;
    }
    let Job { event, ticket } = job;
    let mut delivery = slot.delivery(core, event);
    if slot.is_plain(core, member) {
        let reply = call_plain(&delivery, &member.handler).unwrap_or_else(|| not_sync().into());
        let outcome = match reply.emits.is_empty() {
            true => Some(reply.outcome),
            false => {
                let emitted = emit(core, reply.outcome, reply.emits);
                core.services.runtime.block_on(core.abort.run_until_cancelled(emitted))
            }
        };
        return end(core, slot, delivery, &ticket, outcome, None);
    }
    let chain = slot.chain.get(member, &core.services.middleware);
    let Some(outcome) = run_now(chain, &mut delivery, &member.handler, &mut slot.progress) else {
        let event = slot.keep(delivery);
        return handle_behind_async(core, member, slot, Job { event, ticket });
    };
    if let Some(trace) = slot.progress.take_trace() {
        core.keep_trace(trace);
    }
    let outcome = match slot.progress.has_emits() {
        false => Some(outcome),
        true => {
            let emits = slot.progress.take_emits();
            core.services.runtime.block_on(core.abort.run_until_cancelled(emit(core, outcome, emits)))
        }
    };
    let cut_by = slot.progress.cut_by().map(str::to_owned);
    end(core, slot, delivery, &ticket, outcome, cut_by.as_deref())
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

fn end(
    core: &SubscriptionCore,
    slot: &mut Slot,
    delivery: Delivery,
    ticket: &Ticket,
    outcome: Option<Outcome>,
    cut_by: Option<&str>,
) -> Option<AnyEvent> {
    match outcome {
        Some(outcome) => {
            settle(core, delivery.event(), ticket, &outcome, cut_by);
            Some(slot.keep(delivery))
        }
        None => {
            cut_short(core, ticket);
            None
        }
    }
}

fn not_sync() -> Outcome {
    Outcome::failed("a handler of this kind does not run on a thread")
}
