//! The workers of a durable subscription: each runs one handler after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use std::panic::AssertUnwindSafe;

use busway_event::{AnyDraft, AnyEvent};
use busway_middleware::builtin::log_text;
use busway_middleware::chain::run;
use busway_middleware::{Chain, Delivery, Invocation, Outcome, Progress, Run};

use futures_util::FutureExt as _;

use super::DurableCore;
use super::verdict::verdict;
use super::window::{Started, Verdict};
use crate::bus::Source;
use crate::observer::tell;
use crate::stats::{LastFailure, State, failure_text};

/// Starts one more worker: a task, or a thread of its own for blocking handlers; `false` when there is no thread to be had.
#[expect(
    clippy::disallowed_methods,
    reason = "the supervisor of durable subscriptions: it owns their threads"
)]
pub(super) fn start(core: &Arc<DurableCore>) -> bool {
    let core = Arc::clone(core);
    let runtime = core.services.runtime.clone();
    let token = core.workers.token();
    if core.handler.run() != Run::Blocking {
        let work = async move {
            work(&core).await;
            drop(core);
            drop(token);
        };
        drop(runtime.spawn(work));
        return true;
    }
    let name = format!("busway-{}", core.name);
    let work = move || {
        runtime.block_on(work(&core));
        // Before the token: who waits for the worker's end finds nothing of it left.
        drop(core);
        drop(token);
    };
    let spawned = std::thread::Builder::new().name(name).spawn(work);
    if let Err(error) = &spawned {
        tracing::error!(%error, "no thread for a blocking handler: its events wait");
    }
    spawned.is_ok()
}

/// What a worker keeps for one event after the other.
struct Slot {
    invocation: Box<dyn Invocation>,
    progress: Progress,
    chain: Chain,
    /// The generations of the bus's registry and the subscription's own that the chain is of.
    generations: (u64, u64),
}

impl Slot {
    fn new(core: &DurableCore) -> Self {
        let mut progress = Progress::new();
        if core.settings.traces > 0 {
            let clock = Arc::clone(&core.services.clock);
            progress.time_with(Some(Arc::new(move || clock.now())));
        }
        let (generations, chain) = merged(core);
        Self { invocation: core.handler.invocation(), progress, chain, generations }
    }

    /// Merges the chain again when one of the registries has changed.
    fn refresh(&mut self, core: &DurableCore) {
        if self.generations != generations(core) {
            (self.generations, self.chain) = merged(core);
        }
    }
}

fn generations(core: &DurableCore) -> (u64, u64) {
    (core.services.middleware.generation(), core.middleware.generation())
}

/// The generations are read before the nodes: a chain is never taken for newer than it is.
fn merged(core: &DurableCore) -> ((u64, u64), Chain) {
    let generations = generations(core);
    (generations, Chain::merge([&core.services.middleware, &core.middleware]))
}

/// Works until the subscription starts nothing more.
async fn work(core: &Arc<DurableCore>) {
    let mut slot = Slot::new(core);
    while let Some(started) = next(core).await {
        slot.refresh(core);
        let Started { place, event, attempt } = started;
        let lost = core.counts.untold.swap(0, Ordering::Relaxed);
        let mut delivery = Delivery::live(event, Arc::clone(&core.scope), lost).with_attempt(attempt);
        if let Some(position) = core.log.position(place) {
            delivery = delivery.with_position(position);
        }
        let Slot { invocation, progress, chain, .. } = &mut slot;
        let attempt = async {
            let outcome = run(chain, &mut delivery, &mut **invocation, progress).await;
            match progress.has_emits() {
                true => contained_emit(core, outcome, progress.take_emits()).await,
                false => outcome,
            }
        };
        let outcome = core.abort.run_until_cancelled(attempt).await;
        let Some(outcome) = outcome else {
            core.counts.cut_short.fetch_add(1, Ordering::Relaxed);
            core.hand.lock().window.cut_short(place);
            break;
        };
        if let Some(trace) = slot.progress.take_trace() {
            core.keep_trace(trace);
        }
        report(core, delivery.event(), &outcome, slot.progress.cut_by());
        settle(core, place, &outcome);
    }
    core.hand.lock().workers -= 1;
    core.flow.bell.notify_one();
    core.services.idle.touch();
}

/// Waits for an event that may start; `None` when there will be none. Whoever takes one sees to it that somebody takes the next.
async fn next(core: &Arc<DurableCore>) -> Option<Started<AnyEvent>> {
    loop {
        let more = core.more.notified();
        tokio::pin!(more);
        more.as_mut().enable();
        {
            let mut hand = core.hand.lock();
            match hand.state {
                State::Running => {
                    if let Some(started) = hand.window.start() {
                        if hand.window.may_start() {
                            core.supply_under(&mut hand);
                        }
                        return Some(started);
                    }
                }
                State::Paused => {}
                State::Draining | State::Stopped => return None,
            }
            hand.asleep += 1;
        }
        more.await;
        core.hand.lock().asleep -= 1;
    }
}

/// The same, for events of the user's whose encoding may panic: the chain contains what panics inside of it, this is behind it.
async fn contained_emit(core: &DurableCore, outcome: Outcome, emits: Vec<AnyDraft>) -> Outcome {
    match AssertUnwindSafe(emit(core, outcome, emits)).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::failed("an event that it emits panicked"),
    }
}

/// Publishes what a handler wants published, all of it or nothing: that makes a failure of the whole.
async fn emit(core: &DurableCore, outcome: Outcome, emits: Vec<AnyDraft>) -> Outcome {
    if !outcome.is_done() {
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

/// Decides what becomes of the event, and counts it.
fn settle(core: &DurableCore, place: busway_persistence::Position, outcome: &Outcome) {
    let (at, random) = (core.moment(), fastrand::u64(..));
    let attempt = core.hand.lock().window.attempt_of(place);
    let verdict = verdict(outcome, attempt, &core.retry, random, at.utc, core.handler.info().name);
    let counter = match (&verdict, outcome) {
        (Verdict::Dead { .. }, _) => &core.counts.dead,
        (Verdict::Park { .. }, _) => &core.counts.failed,
        (Verdict::Settled, Outcome::Skip) => &core.counts.skipped,
        (Verdict::Settled, _) => &core.counts.done,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    core.hand.lock().window.ended(place, verdict, at);
    core.flow.bell.notify_one();
}

fn report(core: &DurableCore, event: &AnyEvent, outcome: &Outcome, cut_by: Option<&str>) {
    tell(core.services.observer.as_deref(), |observer| observer.settled(&core.name, event, outcome));
    if matches!(outcome, Outcome::Done | Outcome::Skip) {
        return;
    }
    let error = failure_text(outcome);
    tracing::warn!(
        subscription = &*core.name,
        topic = event.topic().as_str(),
        id = %event.id(),
        cut_by,
        error = log_text(&error),
        "event not handled"
    );
    core.failed(LastFailure { event: event.id(), error, at: core.services.clock.utc() });
}
