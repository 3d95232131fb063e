//! A thread that handles one event after the other, for blocking handlers.

use std::sync::OnceLock;
use std::thread;

use busway_middleware::chain::run_now;

use super::attempt::{Slot, cut_short, delivery_of, emit, handle, settle};
use super::{Intake, Next};
use crate::mailbox::{Bell, Job};
use crate::subscription::{Member, SubscriptionCore};

/// Works until the subscription is over or its member leaves.
pub(super) fn work(core: &SubscriptionCore, member: &Member) {
    let bell = OnceLock::new();
    _ = bell.set(thread::current());
    let mut intake = Intake::new(core, member, Bell::Thread(bell));
    let mut slot = Slot::new(core, member);
    loop {
        match intake.next() {
            Next::Handle(job) => handle_here(core, member, &mut slot, job),
            Next::Sleep => {
                thread::park();
                intake.woken();
            }
            Next::End => return,
        }
    }
}

/// Handles one event on this thread. Without async middleware nothing but the handler runs; with it, the chain is driven here.
fn handle_here(core: &SubscriptionCore, member: &Member, slot: &mut Slot, job: Job) {
    if core.abort.is_cancelled() {
        return cut_short(core, &job);
    }
    let chain = slot.chain.get(member, &core.services.middleware);
    let mut delivery = delivery_of(core, job.waiting.event.clone());
    let Some(outcome) = run_now(chain, &mut delivery, &member.handler, &mut slot.progress) else {
        let attempt = async {
            let aborted = core.abort.cancelled();
            tokio::pin!(aborted);
            handle(core, member, slot, job, aborted).await
        };
        _ = core.services.runtime.block_on(attempt);
        return;
    };
    if let Some(trace) = slot.progress.take_trace() {
        core.keep_trace(trace);
    }
    let emits = slot.progress.take_emits();
    let outcome = match emits.is_empty() {
        true => Some(outcome),
        false => core.services.runtime.block_on(core.abort.run_until_cancelled(emit(core, outcome, emits))),
    };
    match outcome {
        Some(outcome) => settle(core, &job, &outcome, slot.progress.cut_by()),
        None => cut_short(core, &job),
    }
}
