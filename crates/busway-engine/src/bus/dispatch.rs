//! Dispatch: one event to all subscriptions that it matches.
//!
//! Offering never waits, so it is one loop on the publisher's thread. What must wait (a blocked subscription, an inline
//! handler behind async middleware) is left over for `publish`, which awaits it, or `try_publish`, which does not.

use std::sync::Arc;

use busway_event::{AnyDraft, AnyEvent, Stamp};
use busway_middleware::Delivery;
use busway_middleware::chain::{Progress, run, run_now};
use busway_reliability::MayWait;
use busway_router::Targets;

use super::{BusCore, Refused};
use crate::ids;
use crate::mailbox::{Blocked, Offer};
use crate::stats::State;
use crate::subscription::{Member, SubscriptionCore};
use crate::worker::progress_of;

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
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
    pub(crate) blocked: Vec<(Arc<SubscriptionCore>, Blocked)>,
    /// Inline handlers behind async middleware.
    pub(crate) inline: Vec<(Arc<SubscriptionCore>, Arc<Member>)>,
    /// What inline handlers want published.
    pub(crate) emits: Vec<(u64, AnyDraft)>,
}

impl BusCore {
    /// Offers an event to all its targets.
    pub(crate) fn dispatch(&self, event: &AnyEvent, targets: &Targets<SubscriptionCore>, from: From) -> Dispatched {
        let mut dispatched = Dispatched::default();
        if targets.is_empty() {
            return dispatched;
        }
        let now = self.services.clock.now();
        for core in targets {
            if let Some(member) = core.inline_member() {
                self.run_inline(core, member, event, &mut dispatched);
                continue;
            }
            // A handler that publishes to its own full subscription would wait for itself.
            let may_wait = match from == From::Handler(core.id) {
                true => MayWait::No,
                false => MayWait::Yes,
            };
            let offer = core.mailbox.offer(event.clone(), now, may_wait);
            match offer {
                Offer::Blocked(blocked) => {
                    dispatched.offered += 1;
                    dispatched.blocked.push((Arc::clone(core), blocked));
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
        member: Arc<Member>,
        event: &AnyEvent,
        dispatched: &mut Dispatched,
    ) {
        match core.state() {
            State::Stopped => return,
            // There is no queue in which the event could wait.
            State::Paused => {
                core.mailbox.account.offered();
                core.mailbox.account.dropped(1);
                dispatched.offered += 1;
                return;
            }
            State::Running | State::Draining => {}
        }
        dispatched.offered += 1;
        let chain = member.chain(&self.services.middleware);
        if chain.has_async() {
            dispatched.inline.push((Arc::clone(core), member));
            return;
        }
        core.mailbox.account.offered();
        core.mailbox.account.started();
        let mut delivery = Delivery::new(event.clone(), Arc::clone(&core.scope));
        let mut progress = progress_of(core);
        let outcome = run_now(&chain, &mut delivery, &member.handler, &mut progress);
        // An inline handler is sync and so is its chain.
        let outcome = outcome.unwrap_or(busway_middleware::Outcome::Skip);
        settle_inline(core, event, &outcome, &mut progress, &mut dispatched.emits);
    }

    /// Runs an inline handler whose chain is async.
    pub(crate) async fn run_inline_async(
        &self,
        core: &Arc<SubscriptionCore>,
        member: &Member,
        event: &AnyEvent,
        emits: &mut Vec<(u64, AnyDraft)>,
    ) {
        let mut running = InlineRun::begin(core);
        let mut delivery = Delivery::new(event.clone(), Arc::clone(&core.scope));
        let mut progress = progress_of(core);
        let mut invocation = member.handler.invocation();
        let chain = member.chain(&self.services.middleware);
        let outcome = run(&chain, &mut delivery, &mut *invocation, &mut progress).await;
        running.ended = true;
        settle_inline(core, event, &outcome, &mut progress, emits);
    }

    /// The stamp for a draft that is published now.
    pub(crate) fn stamp(&self) -> Stamp<'_> {
        let time = self.services.clock.utc();
        let mut stamp = Stamp::new(ids::next(time), time, &self.metadata);
        stamp.payload_bytes_max = self.payload_bytes_max;
        stamp
    }

    /// Whether a publish from there passes now.
    pub(crate) fn admit(&self, from: From) -> Result<(), Refused> {
        match self.closing.admits(from) {
            true => Ok(()),
            false => Err(Refused::Closed),
        }
    }

    /// The first inline subscription that could not run without an await.
    pub(crate) fn needs_await(&self, targets: &Targets<SubscriptionCore>) -> Option<Refused> {
        let needs = |core: &&Arc<SubscriptionCore>| {
            core.inline_member().is_some_and(|member| member.chain(&self.services.middleware).has_async())
        };
        let core = targets.iter().find(needs)?;
        Some(Refused::NeedsAwait { subscription: core.name.to_string() })
    }
}

impl Dispatched {
    /// Counts an offer, and does what it asks for.
    pub(crate) fn count(&mut self, core: &Arc<SubscriptionCore>, offer: &Offer) {
        self.offered += usize::from(!matches!(offer, Offer::Closed));
        self.done(core, offer);
    }

    /// Does what an offer asks for.
    pub(crate) fn done(&mut self, core: &Arc<SubscriptionCore>, offer: &Offer) {
        match offer {
            Offer::Queued => core.ensure_worker(),
            Offer::Dropped => core.touch(),
            Offer::Late => {
                self.late += 1;
                core.touch();
            }
            Offer::Disconnect => core.disconnect(),
            Offer::Woken | Offer::Closed | Offer::Blocked(_) => {}
        }
    }
}

fn settle_inline(
    core: &SubscriptionCore,
    event: &AnyEvent,
    outcome: &busway_middleware::Outcome,
    progress: &mut Progress,
    emits: &mut Vec<(u64, AnyDraft)>,
) {
    if let Some(trace) = progress.take_trace() {
        core.keep_trace(trace);
    }
    emits.extend(progress.take_emits().into_iter().map(|draft| (core.id, draft)));
    core.settle(event, outcome, progress.cut_by());
    core.touch();
}

/// An inline handler under way; counts it as cut short when its publisher gives up.
struct InlineRun<'a> {
    core: &'a SubscriptionCore,
    ended: bool,
}

impl<'a> InlineRun<'a> {
    fn begin(core: &'a SubscriptionCore) -> Self {
        core.mailbox.account.offered();
        core.mailbox.account.started();
        Self { core, ended: false }
    }
}

impl Drop for InlineRun<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.core.mailbox.account.cut_short();
            self.core.touch();
        }
    }
}
