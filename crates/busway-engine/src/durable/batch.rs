//! The workers of batches: many events for one call of a handler, settled together.
//!
//! A batch has its first round through the chain. Each event has an outcome then; what its handler's calls left is committed, a call
//! at a time. Events that are decided are settled together; those that have to go again do so in a further round, without them:
//!
//! | an event | then |
//! |---|---|
//! | not done | settled, parked or given up by its outcome |
//! | done, and its call wrote nothing in a transaction | settled, with what it emits |
//! | done, and all others of its call are done or skipped | all of the call is one commit |
//! | done, and another of its call is not, or was in a later call | nothing of the call is stored: again, uncharged |
//! | its commit is in conflict, or has no room | again, uncharged |
//!
//! A round decides one event at least, unless there is a conflict or no room: of the last call all events are done or skipped, or one
//! of them is decided otherwise.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_event::{AnyDraft, AnyEvent};
use busway_middleware::chain::{drop_contained, run_batch};
use busway_middleware::{BoxError, Delivery, Outcome, Progress};
use busway_observability::trace::{Place, within};
use busway_persistence::Position;
use futures_util::future::join_all;

use super::DurableCore;
use super::attempt::{ChainCache, contained};
use super::batch_gate::keep_all;
use super::ending::{Ending, Storing, judge};
use super::gaps::Untold;
use super::member::Member;
use super::once::{Claimed, note_key};
use super::patience::later;
use super::traced::concluded;
use super::window::{Made, Started};
use super::worker::{InHand, let_go, next};
use crate::breaker::{Call, Reach};
use crate::transact::{BatchDesk, CallMade, Committed, Record, commit};

/// Works until the subscription starts nothing more, or the member has left.
pub(super) async fn work(core: &Arc<DurableCore>, member: &Member, max: usize, in_hand: &mut InHand) {
    let InHand { batch, open, calls, .. } = in_hand;
    let reach = core.guard.clone().map(Reach::new);
    let (chain, progress) = (ChainCache::new(core, member), Vec::new());
    let mut worker = Worker { core, member, chain, reach, progress, calls, watched: None, place: None };
    while let Some(started) = next(core, member, |hand| hand.start_batch(member, max)).await {
        worker.calls.clear();
        worker.progress.resize_with(started.len().max(worker.progress.len()), || core.progress());
        // Those that are not decided yet, by their places in the batch: rising.
        open.extend(0..started.len());
        *batch = started;
        let place = core.place_of_all(batch).map(Arc::new);
        worker.place.clone_from(&place);
        let handled = within(place.as_deref(), worker.handle_once(batch, open));
        let handled = core.abort.run_until_cancelled(handled).await;
        worker.place = None;
        if handled != Some(Going::On) {
            core.unwatch_batch(member, worker.watched.take(), worker.calls);
            worker.calls.iter().for_each(|call| core.call_ended(call.as_ref(), None));
            core.cut_short(open.iter().filter_map(|at| batch.get(*at)).map(|started| started.place));
            return;
        }
        let_go(batch, open);
        tokio::task::yield_now().await;
    }
}

pub(super) struct Worker<'a> {
    pub(super) core: &'a Arc<DurableCore>,
    pub(super) member: &'a Member,
    chain: ChainCache,
    pub(super) reach: Option<Reach>,
    progress: Vec<Progress>,
    /// With a breaker: the calls of the batch that have not ended, by the places of their events.
    pub(super) calls: &'a mut Vec<Option<Call>>,
    /// Under which place the handler is watched that runs, where there is a deadline: those calls are with the watch meanwhile.
    watched: Option<Position>,
    /// Of the batch, in a trace.
    place: Option<Arc<Place>>,
}

/// Whether a worker goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Going {
    On,
    /// Nothing is known of what is open.
    No,
}

/// What an event has come to in a round.
struct Item {
    /// Its place in the batch.
    at: usize,
    outcome: Outcome,
    emits: Vec<AnyDraft>,
    /// What is remembered of it, when it is done.
    answer: Vec<AnyDraft>,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Decided(Storing),
    Again,
}

/// Events of a round that are committed together.
struct Group {
    /// Their places in the round.
    items: Vec<usize>,
    record: Record,
}

impl<'a> Worker<'a> {
    /// Handles a batch. What is decided is settled, and taken out of `open`; keys of those that are done go with them.
    pub(super) async fn handle(
        &mut self,
        batch: &[Started<AnyEvent>],
        open: &mut Vec<usize>,
        claims: &mut [Option<Claimed<'a>>],
    ) -> Going {
        // All are decided, or wait: nobody would be told of what is gone.
        if open.is_empty() {
            return Going::On;
        }
        // While they are attempted one by one, a batch is one event.
        if let [only] = batch
            && let Err(ended) = keep_all(claims, pin!(self.core.marked(self.member, only))).await
        {
            return self.hand_back(&ended, batch, open, claims).await;
        }
        self.keep_keys(batch, open, claims).await;
        // Those that have lost their key are none of its business either.
        if open.is_empty() {
            return Going::On;
        }
        let (deliveries, mut untold) = self.deliveries(batch, open);
        let mut conflicts = 0;
        while !open.is_empty() {
            let (mut round, groups) = keep_all(claims, pin!(self.round((batch, &deliveries), open))).await;
            self.core.told(&mut untold);
            let commits = groups.into_iter().map(|group| self.commit((batch, claims), &mut round, group));
            let (mut groups, commits): (Vec<Vec<usize>>, Vec<_>) = commits.unzip();
            // At once: they share a commit of the store, and one that is refused costs the others nothing.
            let committed = join_all(commits).await;
            let mut wait = None;
            for (items, committed) in groups.iter_mut().zip(committed) {
                match committed {
                    Some(Committed::Lost(reason)) => {
                        self.core.flow.fail(&reason);
                        return Going::No;
                    }
                    Some(Committed::Later(reason)) => wait = Some(Wait::Room(reason)),
                    Some(Committed::Again) => wait = wait.or(Some(Wait::Conflict)),
                    other => {
                        conclude(&mut round, items, other);
                        continue;
                    }
                }
                for &at in &*items {
                    if let Some(item) = round.get_mut(at) {
                        item.fate = Fate::Again;
                    }
                }
            }
            self.tell(&round, claims).await;
            self.settle(batch, round, open, claims);
            match wait {
                Some(Wait::Room(reason)) => {
                    let places: Vec<_> = batch.iter().map(|started| started.place).collect();
                    let later = pin!(later(self.core, self.member, (&reason, &places)));
                    if let Some(ended) = keep_all(claims, later).await.ended() {
                        return self.hand_back(&ended, batch, open, claims).await;
                    }
                }
                Some(Wait::Conflict) if !keep_all(claims, pin!(self.core.again(&mut conflicts))).await => {
                    return Going::No;
                }
                _ => {}
            }
            self.keep_keys(batch, open, claims).await;
        }
        Going::On
    }

    fn deliveries(&self, batch: &[Started<AnyEvent>], open: &[usize]) -> (Vec<Delivery>, Vec<Untold>) {
        // Who comes first is told of what is gone.
        let mut lost = self.core.counts.untold.swap(0, Ordering::Relaxed);
        let mut told = Vec::new();
        let delivery = |(at, started): (usize, &Started<AnyEvent>)| {
            if open.binary_search(&at).is_err() {
                return self.core.delivery(started, 0, None);
            }
            let untold = self.core.take_gap(started.place.partition);
            let delivery = self.core.delivery(started, std::mem::take(&mut lost), untold.as_ref());
            told.extend(untold);
            delivery
        };
        let deliveries = batch.iter().enumerate().map(delivery).collect();
        (deliveries, told)
    }

    /// Lets the open events go through the chain once, and says which are to be committed together.
    async fn round(
        &mut self,
        (batch, deliveries): (&[Started<AnyEvent>], &[Delivery]),
        open: &[usize],
    ) -> (Vec<Item>, Vec<Group>) {
        let desk = self.member.is_transactional.then(|| BatchDesk::new(Arc::clone(&self.core.log)));
        let open_deliveries = open.iter().filter_map(|at| deliveries.get(*at)).enumerate();
        let mut deliveries: Vec<Delivery> = open_deliveries
            .map(|(at, delivery)| {
                let mut delivery = delivery.clone();
                if let Some(desk) = &desk {
                    desk.enter(&mut delivery, at);
                }
                delivery
            })
            .collect();
        let Self { core, member, chain, progress, calls, watched, .. } = self;
        let first = open.first().and_then(|at| batch.get(*at));
        *watched = first.and_then(|first| core.watch_batch(member, first, calls));
        let chain = chain.get(core, member);
        let events = deliveries.len();
        let run = run_batch(chain, &mut deliveries, &member.handler, progress);
        let begun = core.services.begun();
        let outcomes = core.batch_within_deadline((*watched, events), run).await.unwrap_or_default();
        core.unwatch_batch(member, watched.take(), calls);
        // One call: each of its events took as long.
        for (delivery, outcome) in deliveries.iter().zip(&outcomes) {
            core.handled(delivery.event(), outcome, begun);
        }
        let copier = core.guard.as_ref().and_then(|guard| guard.copier());
        let item = |((&at, outcome), progress): ((&usize, Outcome), &mut Progress)| {
            let (mut emits, fate) = (progress.take_emits(), Fate::Decided(Storing::ToBe));
            if !outcome.is_done() {
                // Of a handler whose result comes too late.
                emits.clear();
            }
            let answer = copier.map(|copier| copier.copy(&outcome, &emits)).unwrap_or_default();
            Item { at, outcome, emits, answer, fate }
        };
        let mut round: Vec<Item> = open.iter().zip(outcomes).zip(progress).map(item).collect();
        let calls = desk.map(|desk| desk.take()).unwrap_or_default();
        let groups = grouped(&mut round, calls);
        (round, groups)
    }

    /// Begins to commit a group: its places in the round, and the commit.
    fn commit(
        &self,
        (batch, claims): (&[Started<AnyEvent>], &[Option<Claimed<'a>>]),
        round: &mut [Item],
        Group { items, record }: Group,
    ) -> (Vec<usize>, impl Future<Output = Option<Committed>> + use<>) {
        let mut emits = Vec::new();
        let mut events = Vec::with_capacity(items.len());
        for &item in &items {
            let Some(item) = round.get_mut(item) else { continue };
            emits.append(&mut item.emits);
            // One that its handler has skipped has not been handled: its key is not done.
            let claimed = claims.get(item.at).and_then(Option::as_ref).filter(|_| item.outcome.is_done());
            let done = claimed.and_then(Claimed::done);
            events.extend(batch.get(item.at).map(|started| self.core.event(started.place, done)));
        }
        let ground = self.core.ground();
        (items, contained(async move { commit(&ground, &events, record, emits).await }))
    }

    /// Settles what is decided, all at once, and leaves the others open.
    fn settle(
        &mut self,
        batch: &[Started<AnyEvent>],
        round: Vec<Item>,
        open: &mut Vec<usize>,
        claims: &mut [Option<Claimed<'a>>],
    ) {
        let Self { core, member, progress, calls, place, .. } = self;
        let (at, mut ended, mut left) = (core.moment(), Vec::with_capacity(round.len()), Vec::new());
        for (item, progress) in round.into_iter().zip(progress) {
            let (Fate::Decided(storing), Some(started)) = (item.fate, batch.get(item.at)) else {
                left.push(item.at);
                continue;
            };
            if let Some(trace) = progress.take_trace() {
                core.keep_trace(trace);
            }
            if let (Some(guard), true) = (&core.guard, item.outcome.is_done()) {
                guard.remember(&started.event, item.answer);
            }
            let call = calls.get_mut(item.at).and_then(Option::take);
            let (outcome, class) = (&item.outcome, core.class_of(&item.outcome));
            core.call_ended(call.as_ref(), Some((outcome, class)));
            let claimed = claims.get_mut(item.at).and_then(Option::take);
            let ending = Ending { outcome, class, storing, cut_by: progress.cut_by() };
            let verdict = judge(core, member, started, &ending, at);
            concluded(place.as_deref(), started, outcome, &verdict);
            drop_contained(item.outcome);
            ended.push((started.place, verdict, claimed));
        }
        let mut let_go = Vec::new();
        {
            // From here on, whatever panics: they are decided.
            *open = left;
            let mut hand = core.hand.lock();
            for (place, verdict, mut claimed) in ended {
                note_key(&mut hand, place, &verdict, claimed.as_mut(), at);
                hand.ended(core, place, (verdict, Made::Attempt), at);
                // Not under the lock: who waits for a key is woken under it.
                let_go.extend(claimed);
            }
        }
        drop(let_go);
        core.flow.bell.notify_one();
    }

    /// Tells a shared store of the keys of those that are decided.
    async fn tell(&self, round: &[Item], claims: &mut [Option<Claimed<'a>>]) {
        if claims.is_empty() {
            return;
        }
        let mut deadline = None;
        for item in round.iter().filter(|item| matches!(item.fate, Fate::Decided(_))) {
            let Some(claimed) = claims.get_mut(item.at).and_then(Option::as_mut) else { continue };
            claimed.tell(self.member, item.outcome.is_done(), &mut deadline).await;
        }
    }
}

/// What a further round waits for.
enum Wait {
    Room(BoxError),
    Conflict,
}

/// Which events of a round are committed together: those of a call that is stored as a whole, and each that emits something by itself.
/// Those of a call that is not stored go again, where they are done.
fn grouped(round: &mut [Item], calls: Vec<CallMade>) -> Vec<Group> {
    let mut last_call = vec![None; round.len()];
    for (number, call) in calls.iter().enumerate() {
        for &event in &call.events {
            if let Some(last) = last_call.get_mut(event) {
                *last = Some(number);
            }
        }
    }
    let mut groups = Vec::new();
    for (number, CallMade { mut events, record }) in calls.into_iter().enumerate() {
        let is_whole = events.iter().all(|&event| {
            let is_good =
                round.get(event).is_some_and(|item| matches!(item.outcome, Outcome::Done | Outcome::Skip));
            is_good && last_call.get(event) == Some(&Some(number))
        });
        if is_whole {
            groups.push(Group { items: events, record });
            continue;
        }
        events.retain(|&event| last_call.get(event) == Some(&Some(number)));
        for event in events {
            if let Some(item) = round.get_mut(event).filter(|item| item.outcome.is_done()) {
                item.fate = Fate::Again;
            }
        }
    }
    let alone = round.iter().zip(&last_call).enumerate();
    let alone = alone.filter(|(_, (item, call))| call.is_none() && !item.emits.is_empty());
    groups.extend(alone.map(|(at, _)| Group { items: vec![at], record: Record::default() }));
    groups
}

/// What a commit has come to is what its events have come to.
fn conclude(round: &mut [Item], items: &[usize], committed: Option<Committed>) {
    let mut outcome = match committed {
        Some(Committed::Stored) => None,
        // Events that are handled together were never attempted before; should one be settled all the same, each is attempted alone.
        Some(Committed::Before) if items.len() == 1 => None,
        Some(Committed::Before) => Some(Outcome::failed("one of the batch was settled before")),
        Some(Committed::Failed(reason)) => Some(Outcome::failed(reason)),
        _ => return,
    };
    let text = outcome.as_ref().and_then(Outcome::error_text).unwrap_or_default();
    let failed = outcome.is_some();
    for &at in items {
        let Some(item) = round.get_mut(at) else { continue };
        if failed {
            // The first has the error itself, the others its text.
            item.outcome = outcome.take().unwrap_or_else(|| Outcome::failed(text.clone()));
        } else {
            item.fate = Fate::Decided(Storing::Is);
        }
    }
}
