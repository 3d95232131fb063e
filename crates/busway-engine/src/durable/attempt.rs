//! An attempt: one run of the handler, and the commit of what it leaves. Where nothing can be stored for a reason that passes, it
//! begins anew, and counts once.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use busway_event::{AnyDraft, AnyEvent};
use busway_middleware::chain::run;
use busway_middleware::{Chain, Delivery, Invocation, Outcome, Progress, Replay};
use busway_persistence::Position;
use busway_reliability::Retry;
use futures_util::FutureExt as _;

use super::DurableCore;
use super::gaps::Untold;
use super::member::Member;
use super::once::{Claimed, Wait, keep_key, keep_while, pay};
use super::patience::later;
use super::window::Started;
use crate::idempotency::KeyDone;
use crate::stats::State;
use crate::transact::{Committed, EventOf, Ground, Record, TxDesk, commit};

/// What a worker keeps for one event after the other.
pub(super) struct Slot {
    invocation: Box<dyn Invocation>,
    pub(super) progress: Progress,
    chain: ChainCache,
    /// Its event was settled before its handler started.
    pub(super) is_settled: bool,
}

impl Slot {
    pub(super) fn new(core: &DurableCore, member: &Member) -> Self {
        let (invocation, progress) = (member.handler.invocation(), core.progress());
        Self { invocation, progress, chain: ChainCache::new(core, member), is_settled: false }
    }
}

/// A worker's copy of the chain, merged again when one of the registries has changed.
pub(super) struct ChainCache {
    chain: Chain,
    /// The generations of the bus's registry and the member's own that the chain is of.
    generations: (u64, u64),
}

impl ChainCache {
    pub(super) fn new(core: &DurableCore, member: &Member) -> Self {
        // The generations are read before the nodes: a chain is never taken for newer than it is.
        let generations = generations(core, member);
        Self { generations, chain: Chain::merge([&core.services.middleware, &member.middleware]) }
    }

    pub(super) fn get(&mut self, core: &DurableCore, member: &Member) -> &Chain {
        if self.generations != generations(core, member) {
            *self = Self::new(core, member);
        }
        &self.chain
    }
}

fn generations(core: &DurableCore, member: &Member) -> (u64, u64) {
    (core.services.middleware.generation(), member.middleware.generation())
}

/// How an attempt ended.
pub(super) enum Ended {
    /// The event is to become what its outcome says.
    Decided(Outcome),
    /// It is settled in the store, with what its handler has done.
    Stored,
    /// Nothing is known of it: it is left as it was.
    CutShort,
    /// It was not attempted: its idempotency key is with another one, or cannot be asked for now.
    Waits(Wait),
    /// It was not attempted: its time to live is over.
    Expired,
}

/// The last things that may hand an event back.
async fn may_begin(
    core: &Arc<DurableCore>,
    member: &Member,
    (started, slot): (&Started<AnyEvent>, &mut Slot),
    mut claimed: Option<&mut Claimed<'_>>,
) -> Result<(), Ended> {
    pay(claimed.as_deref_mut(), started).await?;
    keep_while(claimed.as_deref_mut(), pin!(core.marked(member, started))).await?;
    keep_key(claimed).await?;
    // The last of them: behind it the event does not come back.
    if core.settles_first(started) {
        // From here on it may be: cut short meanwhile, it counts as settled.
        slot.is_settled = true;
        // Boxed: others do not carry it with them.
        let settled = Box::pin(core.settle_first(member, started)).await;
        slot.is_settled = settled.is_ok();
        settled?;
    }
    Ok(())
}

/// Makes an attempt.
pub(super) async fn attempt(
    core: &Arc<DurableCore>,
    member: &Member,
    slot: &mut Slot,
    started: &Started<AnyEvent>,
    mut claimed: Option<&mut Claimed<'_>>,
) -> Ended {
    let mut conflicts: u32 = 0;
    // Only for what is committed: it takes a look at the clock.
    let event = |claimed: Option<&mut Claimed<'_>>| {
        core.event_in_hand(started, claimed.and_then(|claimed| claimed.done()))
    };
    let copier = core.guard.as_ref().and_then(|guard| guard.copier());
    if let Err(ended) = may_begin(core, member, (started, &mut *slot), claimed.as_deref_mut()).await {
        return ended;
    }
    // Behind the last thing that may hand the event back: who gets it is told of what is gone.
    let lost = core.counts.untold.swap(0, Ordering::Relaxed);
    let mut untold = core.take_gap(started.place.partition);
    loop {
        let Slot { invocation, progress, chain, .. } = slot;
        let chain = chain.get(core, member);
        let mut delivery = core.delivery(started, lost, untold.as_ref());
        let new_desk = || TxDesk::new(core.ground(), event(claimed.as_deref_mut()), copier);
        let desk = member.is_transactional.then(new_desk);
        desk.iter().for_each(|desk| delivery.insert(Arc::clone(desk)));
        let run = run(chain, &mut delivery, &mut **invocation, progress);
        let begun = core.services.begun();
        let run = core.within_deadline((member, started.place), run);
        let outcome = keep_while(claimed.as_deref_mut(), pin!(run)).await;
        core.told(&mut untold);
        if let Some(desk) = &desk {
            desk.settle_down().await;
        }
        core.handled(&started.event, &outcome, begun);
        let mut emits = progress.take_emits();
        if !outcome.is_done() {
            // Of a handler whose result comes too late.
            emits.clear();
        }
        let mut answer = copier.map(|copier| copier.copy(&outcome, &emits)).unwrap_or_default();
        let committed = match desk.is_some() || !emits.is_empty() {
            true => {
                answer.extend(desk.iter().flat_map(|desk| desk.take_answer()));
                let event = || event(claimed.as_deref_mut());
                contained(conclude(core, event, desk, &outcome, emits)).await
            }
            false => None,
        };
        // What is not stored was not answered.
        if let (Some(guard), None | Some(Committed::Stored)) = (&core.guard, &committed) {
            guard.remember(&started.event, answer);
        }
        match committed.map(|committed| committed.for_one_run(slot.is_settled)) {
            None => return Ended::Decided(outcome),
            Some(Committed::Stored | Committed::Before) => return Ended::Stored,
            Some(Committed::Failed(reason)) => return Ended::Decided(Outcome::failed(reason)),
            Some(Committed::Again) => {
                if !keep_while(claimed.as_deref_mut(), pin!(core.again(&mut conflicts))).await {
                    return Ended::CutShort;
                }
            }
            Some(Committed::Later(reason)) => {
                let later = pin!(later(core, member, (&reason, from_ref(&started.place))));
                if let Some(ended) = keep_while(claimed.as_deref_mut(), later).await.ended() {
                    return ended;
                }
            }
            Some(Committed::Lost(reason)) => {
                core.flow.fail(&reason);
                return Ended::CutShort;
            }
        }
        if let Err(ended) = keep_key(claimed.as_deref_mut()).await {
            return ended;
        }
    }
}

impl DurableCore {
    /// A progress record that takes times when the subscription keeps traces.
    pub(super) fn progress(&self) -> Progress {
        let mut progress = Progress::new();
        if self.settings.traces > 0 {
            let clock = Arc::clone(&self.services.clock);
            progress.time_with(Some(Arc::new(move || clock.now())));
        }
        progress
    }

    pub(super) fn delivery(
        &self,
        started: &Started<AnyEvent>,
        lost: u64,
        untold: Option<&Untold>,
    ) -> Delivery {
        let mut delivery = Delivery::live(started.event.clone(), Arc::clone(&self.scope), lost)
            .with_attempt(started.attempt);
        if started.replay {
            delivery = delivery.with_replay(Replay::Repeated);
        }
        if let Some(position) = self.log.position(started.place) {
            delivery = delivery.with_position(position);
        }
        match untold {
            Some(Untold { gap, .. }) => delivery.with_gap(gap.clone()),
            None => delivery,
        }
    }

    pub(super) fn ground(&self) -> Ground {
        let (log, services) = (Arc::clone(&self.log), Arc::clone(&self.services));
        Ground { log, services, bus: self.bus.clone() }
    }

    /// An event of it. `done`: the key that is done when the event is.
    pub(super) const fn event(&self, place: Position, done: Option<KeyDone>) -> EventOf {
        EventOf { subscription: self.id, number: self.number, place, done, is_settled: false }
    }

    /// The same of one that is attempted.
    fn event_in_hand(&self, started: &Started<AnyEvent>, done: Option<KeyDone>) -> EventOf {
        EventOf { is_settled: self.settles_first(started), ..self.event(started.place, done) }
    }

    /// Others have changed what a handler read before it could be stored: counts it. `false` when the subscription ends and should wait
    /// no longer.
    pub(super) async fn again(&self, conflicts: &mut u32) -> bool {
        self.counts.conflicts.fetch_add(1, Ordering::Relaxed);
        *conflicts += 1;
        let is_ending = matches!(self.state(), State::Draining | State::Stopped);
        if *conflicts >= CONFLICTS_MANY && is_ending {
            return false;
        }
        if conflicts.is_multiple_of(CONFLICTS_MANY) {
            tracing::warn!(
                subscription = &*self.name,
                conflicts,
                "others change what a handler reads before it is stored, again and again"
            );
        }
        // The first few are between tasks that have taken turns once; who goes on meets the same ones again, so they are spread in time.
        let back_off =
            conflict_back_off().after(conflicts.saturating_sub(CONFLICTS_AT_ONCE), fastrand::u64(..));
        match back_off.filter(|_| *conflicts > CONFLICTS_AT_ONCE) {
            Some(pause) => self.services.clock.pause(pause).await,
            None => tokio::task::yield_now().await,
        }
        true
    }
}

/// Commits what a handler leaves.
pub(super) async fn conclude(
    core: &DurableCore,
    event: impl FnOnce() -> EventOf,
    desk: Option<Arc<TxDesk>>,
    outcome: &Outcome,
    emits: Vec<AnyDraft>,
) -> Option<Committed> {
    match desk {
        Some(desk) => desk.conclude(outcome, emits).await,
        None => commit(&core.ground(), &[event()], Record::default(), emits).await,
    }
}

/// Behind so many more a run waits: up to a millisecond, then twice as long, up to a few syncs of a disk. Somebody else comes through
/// meanwhile, so it has no end of its own.
fn conflict_back_off() -> Retry {
    Retry::default()
        .attempts(u32::MAX)
        .first_delay(Duration::from_millis(1))
        .longest_delay(Duration::from_millis(50))
}

/// A commit of events of the user's, whose encoding may panic: the chain contains what panics inside of it, this is behind it.
pub(super) async fn contained(commit: impl Future<Output = Option<Committed>>) -> Option<Committed> {
    match AssertUnwindSafe(commit).catch_unwind().await {
        Ok(committed) => committed,
        Err(_) => Some(Committed::Failed("an event that it emits panicked".into())),
    }
}

/// So many conflicts of an attempt are followed by the next run at once.
const CONFLICTS_AT_ONCE: u32 = 3;

/// After so many conflicts of an attempt somebody is told, and a subscription that ends waits no longer.
const CONFLICTS_MANY: u32 = 32;
