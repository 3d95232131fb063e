//! The workers of a durable subscription: each runs one handler after the other. Those of batches are in `batch`.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use busway_event::AnyEvent;
use busway_middleware::chain::drop_contained;
use busway_middleware::{Outcome, Run};
use busway_observability::trace::{Place, within};
use futures_util::FutureExt as _;
use tokio_util::sync::WaitForCancellationFuture;

use super::attempt::{Ended, Slot};
use super::ending::{Ending, Storing, judge};
use super::guarded::{Asked, ask};
use super::hand::{Hand, Presence, Seat};
use super::member::Member;
use super::once::{Claimed, attempt_once, claim, claim_at_once, give_back};
use super::traced::concluded;
use super::window::{Made, Started};
use super::{DurableCore, batch};
use crate::breaker::{Call, Reach};
use crate::stats::State;

/// Starts one more worker: a task, or a thread of its own for blocking handlers; `false` when there is no thread to be had.
#[expect(
    clippy::disallowed_methods,
    reason = "the supervisor of durable subscriptions: it owns their threads"
)]
pub(super) fn start(core: &Arc<DurableCore>, member: &Arc<Member>) -> bool {
    let (core, member) = (Arc::clone(core), Arc::clone(member));
    let runtime = core.services.runtime.clone();
    let token = core.workers.token();
    if member.handler.run() != Run::Blocking {
        let work = async move {
            work(&core, &member).await;
            drop((core, member));
            drop(token);
        };
        drop(runtime.spawn(work));
        return true;
    }
    let name = format!("busway-{}", core.name);
    let work = move || {
        runtime.block_on(work(&core, &member));
        // Before the token: who waits for the worker's end finds nothing of it left.
        drop((core, member));
        drop(token);
    };
    let spawned = std::thread::Builder::new().name(name).spawn(work);
    if let Err(error) = &spawned {
        tracing::error!(%error, "no thread for a blocking handler: its events wait");
    }
    spawned.is_ok()
}

/// What a worker has in hand: known to whoever goes on when the program's own code panics where nobody expects it.
#[derive(Default)]
pub(super) struct InHand {
    /// What is handled by itself.
    one: Option<Started<AnyEvent>>,
    /// What is handled by itself next: taken with the decision about the one before, for that is one lock and not two.
    next: Option<Started<AnyEvent>>,
    /// What is handled together.
    pub(super) batch: Vec<Started<AnyEvent>>,
    /// Of a batch, those that are not decided yet, by their places: rising.
    pub(super) open: Vec<usize>,
    /// The call of what is handled by itself, where there is a breaker. With a deadline it is with the watch while the handler runs, as those of a batch are.
    call: Option<Call>,
    /// The calls of a batch that have not ended, by the places of their events.
    pub(super) calls: Vec<Option<Call>>,
}

/// Works until the subscription starts nothing more, or the member has left. What is handled or has failed is let go of in the end, by drops that are the program's code, and a
/// handler that is cancelled too: should one panic, what is in hand has failed, and the worker goes on.
async fn work(core: &Arc<DurableCore>, member: &Arc<Member>) {
    let mut in_hand = InHand::default();
    loop {
        let worked = match member.handler.run() {
            Run::Batch(max) => {
                AssertUnwindSafe(batch::work(core, member, max.get(), &mut in_hand)).catch_unwind().await
            }
            _ => AssertUnwindSafe(handle_each(core, member, &mut in_hand)).catch_unwind().await,
        };
        let Err(panic) = worked else { break };
        drop_contained(panic);
        in_hand.fail(core, member);
    }
    in_hand.let_go();
    leave(core, member);
}

impl InHand {
    /// All is decided, or given back.
    #[inline]
    pub(super) fn let_go(&mut self) {
        self.one.take().into_iter().for_each(drop_contained);
        let_go(&mut self.batch, &mut self.open);
    }

    /// What is to be handled next; `None`: nothing any more.
    async fn take_next(&mut self, core: &Arc<DurableCore>, member: &Member) -> Option<Started<AnyEvent>> {
        match self.next.take() {
            Some(started) => Some(started),
            None => next(core, member, |hand| hand.start(member)).await,
        }
    }

    /// Decides about the one event behind its attempt, and takes the next with that.
    fn decide(
        &mut self,
        core: &Arc<DurableCore>,
        member: &Member,
        (ending, made): (&Ending<'_>, Made),
        place: Option<Place>,
        claimed: Option<&mut Claimed<'_>>,
    ) {
        let Some(started) = &self.one else { return };
        core.call_ended(self.call.take().as_ref(), Some((ending.outcome, ending.class)));
        let at = core.moment();
        let verdict = judge(core, member, started, ending, at);
        concluded(place.as_ref(), started, ending.outcome, &verdict);
        drop(place);
        self.next = {
            let mut hand = core.hand.lock();
            core.decided_under(&mut hand, started.place, (verdict, made), claimed, at);
            at_once(core, member, &mut hand, |hand| hand.start(member))
        };
        core.flow.bell.notify_one();
    }

    #[cold]
    fn fail(&mut self, core: &Arc<DurableCore>, member: &Member) {
        // What is next was not attempted, and is by the same worker.
        let Self { one, batch, open, call, calls, .. } = self;
        // Those that are open are watched under the first of them, if they are.
        let first = open.first().and_then(|at| batch.get(*at)).filter(|_| core.deadline.is_some());
        core.unwatch_batch(member, first.map(|first| first.place), calls);
        let one = one.iter().map(|started| (started, core.unwatch(member, started.place, call.take())));
        let of_batch = open.iter().filter_map(|&at| Some((at, batch.get(at)?)));
        let of_batch = of_batch.map(|(at, started)| (started, calls.get_mut(at).and_then(Option::take)));
        for (started, call) in one.chain(of_batch) {
            let (outcome, at) = (Outcome::failed("the program panicked beside its handler"), core.moment());
            let class = core.class_of(&outcome);
            core.call_ended(call.as_ref(), Some((&outcome, class)));
            let verdict = judge(core, member, started, &Ending::of(&outcome, class), at);
            core.decided(started.place, (verdict, Made::Attempt), None, at);
        }
        self.let_go();
    }
}

/// All of a batch is decided, or given back.
pub(super) fn let_go(batch: &mut Vec<Started<AnyEvent>>, open: &mut Vec<usize>) {
    open.clear();
    batch.drain(..).for_each(drop_contained);
}

async fn handle_each(core: &Arc<DurableCore>, member: &Member, in_hand: &mut InHand) {
    let mut slot = Slot::new(core, member);
    let mut reach = core.guard.clone().map(Reach::new);
    let mut aborted = pin!(core.abort.cancelled());
    while let Some(started) = in_hand.take_next(core, member).await {
        let started = &*in_hand.one.insert(started);
        slot.is_settled = false;
        let (mut place, mut claimed) = (None, None);
        // Its key first: what is done already is nobody's call, and is not answered in its place either.
        let is_claimed = match claim_at_once(core, started, &mut claimed) {
            Some(is_claimed) => is_claimed,
            None => claim(core, member, started, &mut claimed).await,
        };
        let (ended, made) = match is_claimed {
            Ok(()) => match ask(core, member, reach.as_mut(), started).await {
                Asked::Attempt(call) => {
                    // From here on it may hang.
                    in_hand.call = core.watch(member, started, call);
                    place = core.place_of(started);
                    let ended = {
                        // Where it is made: a move would copy it.
                        let attempt = pin!(attempt_once(core, member, &mut slot, started, &mut claimed));
                        let attempt = pin!(within(place.as_ref(), attempt));
                        unless_cut_short(aborted.as_mut(), attempt).await.unwrap_or(Ended::CutShort)
                    };
                    in_hand.call = core.unwatch(member, started.place, in_hand.call.take());
                    (ended, Made::Attempt)
                }
                Asked::Over => {
                    in_hand.let_go();
                    give_back(member, claimed).await;
                    continue;
                }
                Asked::CutShort => return,
            },
            // Decided without its handler, or by nobody yet.
            Err(ended) => (ended, Made::Nothing),
        };
        let (outcome, storing) = match ended {
            Ended::Decided(outcome) => (outcome, Storing::ToBe),
            Ended::Stored => (Outcome::Done, Storing::Is),
            Ended::CutShort => {
                core.call_ended(in_hand.call.take().as_ref(), None);
                core.attempt_cut_short(started, place.as_ref(), slot.is_settled);
                return;
            }
            Ended::Waits(wait) => {
                core.call_ended(in_hand.call.take().as_ref(), None);
                core.waits(started.place, wait, core.moment());
                in_hand.let_go();
                continue;
            }
            Ended::Expired => {
                core.expire(member, started);
                in_hand.let_go();
                continue;
            }
        };
        if let Some(trace) = slot.progress.take_trace() {
            core.keep_trace(trace);
        }
        // What was not attempted met no step.
        let cut_by = slot.progress.cut_by().filter(|_| made == Made::Attempt);
        let ending = Ending { outcome: &outcome, class: core.class_of(&outcome), storing, cut_by };
        in_hand.decide(core, member, (&ending, made), place, claimed.as_mut());
        // Not under the lock of the decision: who waits for the key is woken under it.
        drop(claimed);
        in_hand.let_go();
        drop_contained(outcome);
    }
}

/// Drives an attempt until it ends; `None` when it is cut short before. One that ends without waiting does not look whether it is.
async fn unless_cut_short<F: Future>(
    mut aborted: Pin<&mut WaitForCancellationFuture<'_>>,
    mut attempt: Pin<&mut F>,
) -> Option<F::Output> {
    poll_fn(|context| match attempt.as_mut().poll(context) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending => aborted.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// A worker ends.
fn leave(core: &DurableCore, member: &Member) {
    {
        let mut hand = core.hand.lock();
        if let Some(seat) = hand.seat(member) {
            seat.workers -= 1;
        }
        hand.dismiss(core.settings.limits);
    }
    core.flow.bell.notify_one();
    core.services.idle.touch();
}

/// Waits for what may start with the member, as `start` takes it; `None` when there will be none. Whoever takes something sees to it
/// that somebody takes the next.
pub(super) async fn next<S>(
    core: &Arc<DurableCore>,
    member: &Member,
    start: impl Fn(&mut Hand) -> Option<S>,
) -> Option<S> {
    if let Some(started) = at_once(core, member, &mut core.hand.lock(), &start) {
        return Some(started);
    }
    loop {
        let more = member.more.notified();
        tokio::pin!(more);
        more.as_mut().enable();
        {
            let mut hand = core.hand.lock();
            let is_over = matches!(hand.state, State::Draining | State::Stopped);
            let seat = hand.seat(member).filter(|seat| !is_over && !seat.has_too_many())?;
            if seat.presence == Presence::Left {
                return None;
            }
            if let Some(started) = at_once(core, member, &mut hand, &start) {
                return Some(started);
            }
            hand.seat(member)?.asleep += 1;
        }
        more.await;
        core.hand.lock().seat(member)?.asleep -= 1;
    }
}

/// What may start with the member now, as `start` takes it. Most events are there already, and to listen for more takes a lock and a place in a list.
fn at_once<S>(
    core: &Arc<DurableCore>,
    member: &Member,
    hand: &mut Hand,
    start: impl FnOnce(&mut Hand) -> Option<S>,
) -> Option<S> {
    let may_start = hand.goes_on() && (hand.careful == 0 || hand.may_start());
    let is_here = |seat: &&mut Seat| seat.presence == Presence::Here && !seat.has_too_many();
    hand.seat(member).filter(is_here).filter(|_| may_start)?;
    let started = start(hand)?;
    if hand.may_start() {
        hand.supply(core);
    }
    Some(started)
}
