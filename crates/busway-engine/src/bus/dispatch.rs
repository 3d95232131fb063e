//! Dispatch: one event to all subscriptions that it matches.
//!
//! Offering never waits, so it is one loop on the publisher's thread. What must wait (a blocked subscription, an inline
//! handler behind async middleware) is left over for `publish`, which awaits it, or `try_publish`, which does not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use busway_event::{AnyDraft, AnyEvent, Stamp};
use busway_middleware::Outcome;
use busway_middleware::chain::{self, Progress, run_now};
use busway_reliability::MayWait;
use busway_router::Targets;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{BusCore, Refused};
use crate::ids;
use crate::mailbox::{Blocked, Offer};
use crate::stats::State;
use crate::subscription::{Member, SubscriptionCore};
use crate::worker::{delivery_of, progress_of};

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Anybody: refused from the start of a shutdown.
    Outside,
    /// A running handler of this subscription: passes until the bus is closed.
    Handler(u64),
}

/// What a dispatch came to.
#[derive(Debug, Default)]
pub(crate) struct Dispatched {
    /// Subscriptions that were offered the event.
    pub(crate) offered: usize,
    /// Of those, offers that came too late: the subscription was closing.
    pub(crate) late: usize,
    /// Subscriptions without room whose policy is to wait.
    pub(crate) blocked: Vec<Waiter>,
    /// Inline handlers behind async middleware.
    pub(crate) inline: Vec<(InlineRun, Arc<Member>)>,
    /// Inline handlers that want events published before they are settled.
    pub(crate) emitting: VecDeque<Emitting>,
}

impl BusCore {
    /// Offers an event to all its targets.
    pub(crate) fn dispatch(
        &self,
        event: &AnyEvent,
        targets: &Targets<SubscriptionCore>,
        from: Source,
    ) -> Dispatched {
        let mut dispatched = Dispatched::default();
        if targets.is_empty() {
            return dispatched;
        }
        let now = self.services.clock.now();
        for core in targets {
            if let Some(member) = core.inline.get() {
                self.run_inline(core, member, event, &mut dispatched);
                continue;
            }
            // A handler that publishes to its own full subscription would wait for itself.
            let may_wait = match from == Source::Handler(core.id) {
                true => MayWait::No,
                false => MayWait::Yes,
            };
            let offer = core.mailbox.offer(event.clone(), now, may_wait);
            match offer {
                Offer::Blocked(blocked) => {
                    dispatched.offered += 1;
                    dispatched.blocked.push(Waiter { core: Arc::clone(core), blocked: Some(blocked) });
                }
                offer => dispatched.count(core, &offer),
            }
        }
        dispatched
    }

    /// Runs an inline handler here, or leaves it over when its chain is async.
    fn run_inline(
        &self,
        core: &Arc<SubscriptionCore>,
        member: &Arc<Member>,
        event: &AnyEvent,
        dispatched: &mut Dispatched,
    ) {
        match core.state() {
            State::Stopped => return,
            // There is no queue in which the event could wait.
            State::Paused => {
                core.mailbox.account.offered();
                core.mailbox.dropped(1);
                dispatched.offered += 1;
                return;
            }
            State::Running | State::Draining => {}
        }
        let Some(run) = InlineRun::begin(core) else { return };
        dispatched.offered += 1;
        let chain = member.chain(&self.services.middleware);
        let mut delivery = delivery_of(core, event.clone());
        let mut progress = progress_of(core);
        match run_now(&chain, &mut delivery, &member.handler, &mut progress) {
            Some(outcome) => dispatched.inline_ran(run, event, &outcome, &mut progress),
            None => dispatched.inline.push((run, Arc::clone(member))),
        }
    }

    /// Runs an inline handler whose chain is async.
    pub(crate) async fn run_inline_async(
        &self,
        run: InlineRun,
        member: &Member,
        event: &AnyEvent,
        dispatched: &mut Dispatched,
    ) {
        let core = &run.core;
        let mut delivery = delivery_of(core, event.clone());
        let mut progress = progress_of(core);
        let mut invocation = member.handler.invocation();
        let chain = member.chain(&self.services.middleware);
        let attempt = chain::run(&chain, &mut delivery, &mut *invocation, &mut progress);
        // Aborted: dropping the run counts it as cut short.
        let Some(outcome) = core.abort.run_until_cancelled(attempt).await else { return };
        dispatched.inline_ran(run, event, &outcome, &mut progress);
    }

    /// The stamp for a draft that is published now.
    pub(crate) fn stamp(&self) -> Stamp<'_> {
        let time = self.services.clock.utc();
        let mut stamp = Stamp::new(ids::next(time), time, &self.metadata);
        stamp.payload_bytes_max = self.payload_bytes_max;
        stamp
    }

    /// Whether a publish from there passes now.
    pub(crate) fn admit(&self, from: Source) -> Result<(), Refused> {
        match self.closing.admits(from) {
            true => Ok(()),
            false => Err(Refused::Closed),
        }
    }

    /// The first inline subscription that could not run without an await.
    pub(crate) fn needs_await(&self, targets: &Targets<SubscriptionCore>) -> Option<Refused> {
        let needs = |core: &&Arc<SubscriptionCore>| {
            core.inline.get().is_some_and(|member| member.chain(&self.services.middleware).has_async())
        };
        let core = targets.iter().find(needs)?;
        Some(Refused::NeedsAwait { subscription: core.name.to_string() })
    }
}

impl Dispatched {
    /// Settles an inline handler, now or when its events are published.
    fn inline_ran(&mut self, run: InlineRun, event: &AnyEvent, outcome: &Outcome, progress: &mut Progress) {
        if let Some(trace) = progress.take_trace() {
            run.core.keep_trace(trace);
        }
        let emits = progress.take_emits();
        if emits.is_empty() || !outcome.is_done() {
            return run.settle(event, outcome, progress.cut_by());
        }
        self.emitting.push_back(Emitting { run, event: event.clone(), emits });
    }

    /// Counts an offer, and does what it asks for.
    pub(crate) fn count(&mut self, core: &Arc<SubscriptionCore>, offer: &Offer) {
        self.offered += usize::from(!matches!(offer, Offer::Closed));
        self.done(core, offer);
    }

    /// Does what an offer asks for.
    pub(crate) fn done(&mut self, core: &Arc<SubscriptionCore>, offer: &Offer) {
        match offer {
            Offer::Queued => core.ensure_worker(),
            Offer::Late => {
                self.late += 1;
                core.touch();
            }
            Offer::Disconnect => core.disconnect(),
            // Somebody may wait for this event's end, or, closing, for this very offer's.
            Offer::Dropped | Offer::Closed => core.touch(),
            Offer::Woken | Offer::Blocked(_) => {}
        }
    }
}

/// A publish that waits for room in one subscription. Counts the event as dropped when it is given up.
#[derive(Debug)]
pub(crate) struct Waiter {
    core: Arc<SubscriptionCore>,
    blocked: Option<Blocked>,
}

impl Waiter {
    /// Waits until there is room, see [`Mailbox::wait_for_space`](crate::mailbox::Mailbox::wait_for_space).
    pub(crate) async fn wait(mut self) -> (Arc<SubscriptionCore>, Offer) {
        let offer = match self.blocked.take() {
            Some(blocked) => self.core.mailbox.wait_for_space(blocked, &*self.core.services.clock).await,
            None => Offer::Dropped,
        };
        (Arc::clone(&self.core), offer)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.blocked.take().is_some() {
            self.core.mailbox.dropped(1);
            self.core.touch();
        }
    }
}

/// An inline handler under way. Counted as cut short when its publisher gives up before it is settled.
#[derive(Debug)]
pub(crate) struct InlineRun {
    core: Arc<SubscriptionCore>,
    ended: Settled,
    /// Who stops the subscription waits for this.
    _token: TaskTrackerToken,
}

#[derive(Debug, PartialEq, Eq)]
enum Settled {
    Yes,
    No,
}

impl InlineRun {
    /// `None` when the subscription is closed: nothing is counted then.
    fn begin(core: &Arc<SubscriptionCore>) -> Option<Self> {
        let (token, account) = (core.tracker.token(), &core.mailbox.account);
        account.offered();
        account.started();
        // As in `Mailbox::offer`: whoever closes sees this run, or it does not begin.
        fence(Ordering::SeqCst);
        if core.mailbox.hand.is_closed() {
            account.not_started();
            account.retract();
            core.touch();
            return None;
        }
        Some(Self { core: Arc::clone(core), ended: Settled::No, _token: token })
    }

    fn settle(mut self, event: &AnyEvent, outcome: &Outcome, cut_by: Option<&str>) {
        self.ended = Settled::Yes;
        self.core.settle(event, outcome, cut_by);
        self.core.touch();
    }
}

impl Drop for InlineRun {
    fn drop(&mut self) {
        if self.ended == Settled::No {
            self.core.mailbox.account.cut_short();
            self.core.touch();
        }
    }
}

/// An inline handler that is done, with the events that it wants published.
#[derive(Debug)]
pub(crate) struct Emitting {
    run: InlineRun,
    event: AnyEvent,
    pub(crate) emits: Vec<AnyDraft>,
}

impl Emitting {
    pub(crate) fn source(&self) -> Source {
        Source::Handler(self.run.core.id)
    }

    /// Settles the handler: done, unless one of its events was refused.
    pub(crate) fn settle(self, refused: Option<Refused>) {
        let outcome = refused.map_or(Outcome::Done, Outcome::failed);
        self.run.settle(&self.event, &outcome, None);
    }
}
