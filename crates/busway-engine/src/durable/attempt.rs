//! An attempt: one run of the handler, and the commit of what it leaves. Where nothing can be stored for a reason that passes, it
//! begins anew, and counts once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_event::AnyDraft;
use busway_middleware::builtin::log_text;
use busway_middleware::chain::run;
use busway_middleware::{BoxError, Chain, Delivery, Invocation, Outcome, Progress};
use busway_persistence::Position;
use futures_util::FutureExt as _;

use super::DurableCore;
use super::pump::AGAIN_AFTER;
use super::window::Started;
use crate::stats::State;
use crate::transact::{Committed, EventOf, Ground, Record, TxDesk, commit};

/// What a worker keeps for one event after the other.
pub(super) struct Slot {
    invocation: Box<dyn Invocation>,
    pub(super) progress: Progress,
    chain: Chain,
    /// The generations of the bus's registry and the subscription's own that the chain is of.
    generations: (u64, u64),
}

impl Slot {
    pub(super) fn new(core: &DurableCore) -> Self {
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

/// How an attempt ended.
pub(super) enum Ended {
    /// The event is to become what its outcome says.
    Decided(Outcome),
    /// It is settled in the store, with what its handler has done.
    Stored,
    /// Nothing is known of it: it is left as it was.
    CutShort,
}

/// Makes an attempt.
pub(super) async fn attempt(
    core: &Arc<DurableCore>,
    slot: &mut Slot,
    started: &Started<busway_event::AnyEvent>,
) -> Ended {
    let lost = core.counts.untold.swap(0, Ordering::Relaxed);
    let gap = core.take_gap(started.place.partition);
    let mut conflicts: u32 = 0;
    if !core.marked(started).await {
        return Ended::CutShort;
    }
    loop {
        slot.refresh(core);
        let Slot { invocation, progress, chain, .. } = slot;
        let mut delivery = Delivery::live(started.event.clone(), Arc::clone(&core.scope), lost)
            .with_attempt(started.attempt);
        if let Some(position) = core.log.position(started.place) {
            delivery = delivery.with_position(position);
        }
        if let Some(gap) = &gap {
            delivery = delivery.with_gap(gap.clone());
        }
        let desk = core.is_transactional.then(|| TxDesk::new(core.ground(), core.event(started.place)));
        if let Some(desk) = &desk {
            delivery.insert(Arc::clone(desk));
        }
        let outcome = run(chain, &mut delivery, &mut **invocation, progress).await;
        let emits = progress.take_emits();
        let committed = match desk.is_some() || !emits.is_empty() {
            true => contained(core, started.place, desk, &outcome, emits).await,
            false => None,
        };
        match committed {
            None => return Ended::Decided(outcome),
            Some(Committed::Stored | Committed::Before) => return Ended::Stored,
            Some(Committed::Failed(reason)) => return Ended::Decided(Outcome::failed(reason)),
            Some(Committed::Again) => {
                core.counts.conflicts.fetch_add(1, Ordering::Relaxed);
                conflicts += 1;
                let is_ending = matches!(core.state(), State::Draining | State::Stopped);
                if conflicts >= CONFLICTS_MANY && is_ending {
                    return Ended::CutShort;
                }
                if conflicts.is_multiple_of(CONFLICTS_MANY) {
                    tracing::warn!(
                        subscription = &*core.name,
                        conflicts,
                        "others change what a handler reads before it is stored, again and again"
                    );
                }
                tokio::task::yield_now().await;
            }
            Some(Committed::Later(reason)) => {
                if !later(core, &reason).await {
                    return Ended::CutShort;
                }
            }
            Some(Committed::Lost(reason)) => {
                core.flow.fail(&reason);
                return Ended::CutShort;
            }
        }
    }
}

impl DurableCore {
    fn ground(&self) -> Ground {
        let (log, services) = (Arc::clone(&self.log), Arc::clone(&self.services));
        Ground { log, services, bus: self.bus.clone() }
    }

    const fn event(&self, place: Position) -> EventOf {
        EventOf { subscription: self.id, number: self.number, place }
    }
}

/// Commits, for events of the user's whose encoding may panic: the chain contains what panics inside of it, this is behind it.
async fn contained(
    core: &DurableCore,
    place: Position,
    desk: Option<Arc<TxDesk>>,
    outcome: &Outcome,
    emits: Vec<AnyDraft>,
) -> Option<Committed> {
    let conclude = async {
        match desk {
            Some(desk) => desk.conclude(outcome, emits).await,
            None => commit(&core.ground(), core.event(place), Record::default(), emits).await,
        }
    };
    match AssertUnwindSafe(conclude).catch_unwind().await {
        Ok(committed) => committed,
        Err(_) => Some(Committed::Failed("an event that it emits panicked".into())),
    }
}

/// Waits for a moment in which the store may find room; `false` when the subscription ends meanwhile.
async fn later(core: &DurableCore, reason: &BoxError) -> bool {
    tracing::warn!(
        subscription = &*core.name,
        reason = log_text(&reason.to_string()),
        "there is no room for what a handler has done; it runs again"
    );
    core.moment_later().await
}

impl DurableCore {
    /// Waits for a moment in which the store may find room; `false` when the subscription ends meanwhile.
    pub(super) async fn moment_later(&self) -> bool {
        let until = self.services.clock.now() + AGAIN_AFTER;
        loop {
            let changed = self.more.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if matches!(self.state(), State::Draining | State::Stopped) {
                return false;
            }
            tokio::select! {
                biased;
                () = self.services.clock.sleep_until(until) => return true,
                () = changed => {}
            }
        }
    }
}

/// After so many conflicts of an attempt somebody is told, and a subscription that ends waits no longer.
const CONFLICTS_MANY: u32 = 32;
