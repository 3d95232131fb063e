//! One attempt: an event through the chain to the handler, and its settlement.

use std::sync::Arc;
use std::time::Instant;

use busway_event::{AnyDraft, AnyEvent};
use busway_middleware::chain::run;
use busway_middleware::{Delivery, Invocation, Outcome, Progress};
use tokio_util::sync::WaitForCancellationFuture;

use crate::bus::Source;
use crate::mailbox::Job;
use crate::subscription::{ChainCache, Member, SubscriptionCore};

/// What a worker keeps for one event after the other.
pub(crate) struct Slot {
    pub(crate) invocation: Box<dyn Invocation>,
    pub(crate) progress: Progress,
    pub(crate) chain: ChainCache,
}

impl Slot {
    pub(crate) fn new(core: &SubscriptionCore, member: &Member) -> Self {
        Self {
            invocation: member.handler.invocation(),
            progress: progress_of(core),
            chain: ChainCache::default(),
        }
    }
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
    Settled,
    /// The subscription was aborted meanwhile.
    CutShort,
}

/// Handles one event. `aborted` is the worker's own registration for the abort, made once for all events.
pub(crate) async fn handle(
    core: &SubscriptionCore,
    member: &Member,
    slot: &mut Slot,
    job: Job,
    aborted: std::pin::Pin<&mut WaitForCancellationFuture<'_>>,
) -> Ended {
    let mut delivery = delivery_of(core, job.waiting.event.clone());
    let Slot { invocation, progress, chain } = &mut *slot;
    let chain = chain.get(member, &core.services.middleware);
    let attempt = async {
        let outcome = run(chain, &mut delivery, &mut **invocation, progress).await;
        if let Some(trace) = progress.take_trace() {
            core.keep_trace(trace);
        }
        emit(core, outcome, progress.take_emits()).await
    };
    let outcome = tokio::select! {
        biased;
        outcome = attempt => Some(outcome),
        () = aborted => None,
    };
    match outcome {
        Some(outcome) => {
            settle(core, &job, &outcome, slot.progress.cut_by());
            Ended::Settled
        }
        None => {
            slot.invocation.stop();
            cut_short(core, &job);
            Ended::CutShort
        }
    }
}

/// A delivery that tells what was lost since the one before.
pub(crate) fn delivery_of(core: &SubscriptionCore, event: AnyEvent) -> Delivery {
    Delivery::new(event, Arc::clone(&core.scope)).with_lagged(core.mailbox.take_lagged())
}

/// Publishes what a handler wants published. A refused one makes a failure of the whole; what went out before it stays.
pub(crate) async fn emit(core: &SubscriptionCore, outcome: Outcome, emits: Vec<AnyDraft>) -> Outcome {
    if emits.is_empty() || !outcome.is_done() {
        return outcome;
    }
    let Some(bus) = core.bus.upgrade() else {
        return Outcome::failed("the bus is gone: nothing was published");
    };
    for draft in emits {
        if let Err(error) = bus.publish_draft(draft, Source::Handler(core.id)).await {
            return Outcome::failed(error);
        }
    }
    outcome
}

pub(crate) fn settle(core: &SubscriptionCore, job: &Job, outcome: &Outcome, cut_by: Option<&str>) {
    core.settle(&job.waiting.event, outcome, cut_by);
    core.mailbox.finish(job);
}

pub(crate) fn cut_short(core: &SubscriptionCore, job: &Job) {
    core.mailbox.account.cut_short();
    core.mailbox.finish(job);
}
