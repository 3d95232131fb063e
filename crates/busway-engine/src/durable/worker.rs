//! The workers of a durable subscription: each runs one handler after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_event::AnyEvent;
use busway_middleware::builtin::log_text;
use busway_middleware::{Outcome, Run};

use super::DurableCore;
use super::attempt::{Ended, Slot, attempt};
use super::verdict::verdict;
use super::window::{Started, Verdict};
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

/// Works until the subscription starts nothing more.
async fn work(core: &Arc<DurableCore>) {
    let mut slot = Slot::new(core);
    while let Some(started) = next(core).await {
        let place = started.place;
        let ended = core.abort.run_until_cancelled(attempt(core, &mut slot, &started)).await;
        let (outcome, is_stored) = match ended {
            Some(Ended::Decided(outcome)) => (outcome, false),
            Some(Ended::Stored) => (Outcome::Done, true),
            Some(Ended::CutShort) | None => {
                core.counts.cut_short.fetch_add(1, Ordering::Relaxed);
                core.hand.lock().window.cut_short(place);
                break;
            }
        };
        if let Some(trace) = slot.progress.take_trace() {
            core.keep_trace(trace);
        }
        report(core, &started.event, &outcome, slot.progress.cut_by());
        settle(core, place, &outcome, is_stored);
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
                State::Running if hand.is_held() || !hand.may_start() => {}
                State::Running => {
                    if let Some(started) = hand.window.start() {
                        if hand.may_start() {
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

/// Decides what becomes of the event, and counts it.
fn settle(core: &Arc<DurableCore>, place: busway_persistence::Position, outcome: &Outcome, is_stored: bool) {
    let (at, random) = (core.moment(), fastrand::u64(..));
    let attempt = core.hand.lock().window.attempt_of(place);
    let verdict = match is_stored {
        true => Verdict::Stored,
        false => verdict(outcome, attempt, &core.retry, random, at.utc, core.handler.info().name),
    };
    let counter = match (&verdict, outcome) {
        (Verdict::Dead { .. }, _) => &core.counts.dead,
        (Verdict::Park { .. }, _) => &core.counts.failed,
        (Verdict::Settled, Outcome::Skip) => &core.counts.skipped,
        (Verdict::Settled | Verdict::Stored, _) => &core.counts.done,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    {
        let mut hand = core.hand.lock();
        hand.window.ended(place, verdict, at);
        let was_careful = hand.careful > 0;
        hand.careful = hand.careful.saturating_sub(1);
        // It was the last one that had to be by itself.
        if was_careful && hand.careful == 0 && hand.goes_on() && hand.may_start() {
            core.supply_under(&mut hand);
        }
    }
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
