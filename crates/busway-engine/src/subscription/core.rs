//! The inside of a subscription, shared by its handle, its workers and the routing table.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use busway_event::{AnyEvent, EventId, Filter, Topic};
use busway_middleware::builtin::log_text;
use busway_middleware::{ChainTrace, Outcome, Scope};
use busway_observability::{Signal, Wants};
use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::entry::Entry;
use super::left::Left;
use super::member::Member;
use super::owed::Owed;
use super::takeover::Succession;
use crate::bus::{BusCore, Services};
use crate::mailbox::{Mailbox, Supervise};
use crate::remote::Feed;
use crate::settings::Effective;
use crate::stats::{LastFailure, State};
use crate::worker::{self, Metered};

/// See the module.
#[derive(Debug)]
pub(crate) struct SubscriptionCore {
    me: Weak<Self>,
    pub(crate) services: Arc<Services>,
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) filter: Filter,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) settings: Arc<Effective>,
    pub(crate) mailbox: Mailbox,
    pub(crate) scope: Arc<Scope>,
    pub(crate) members: RwLock<Vec<Arc<Member>>>,
    /// Of members that have left. Locked under `members`.
    pub(super) left: Mutex<Left>,
    /// Weak: a subscription never keeps its bus alive.
    pub(crate) bus: Weak<BusCore>,
    /// Handlers are told to stop.
    pub(crate) stopping: CancellationToken,
    /// Handlers are cut short.
    pub(crate) abort: CancellationToken,
    /// Counts workers that have not ended.
    pub(crate) tracker: TaskTracker,
    entry: Weak<Entry>,
    /// The member whose handler runs inside of `publish`, when this is such a subscription.
    pub(crate) inline: OnceLock<Arc<Member>>,
    pub(super) state: AtomicU8,
    /// Who is told how its events end, when they come from a transport.
    pub(crate) feed: Option<Arc<Feed>>,
    /// Of one that takes another's place: when that has ended, and who takes its own.
    pub(super) succession: Succession,
    /// Events that breakers have put aside.
    pub(crate) owed: Owed,
    /// Readable without the token's lock, and set before it is cancelled.
    aborted: AtomicBool,
    /// See [`is_staffed`](Self::is_staffed).
    staffed: AtomicBool,
    next_member: AtomicU64,
    next_worker: AtomicUsize,
    /// Attempts behind which another one was to follow.
    pub(crate) retried: AtomicU64,
    /// How many may be.
    pub(crate) budget: Option<Box<Metered>>,
    last_failure: Mutex<Option<LastFailure>>,
    traces: Mutex<VecDeque<ChainTrace>>,
}

/// What a subscription is made of.
#[derive(Debug)]
pub(crate) struct SubscriptionParts {
    pub(crate) entry: Weak<Entry>,
    pub(crate) services: Arc<Services>,
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) filter: Filter,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) settings: Arc<Effective>,
    pub(crate) mailbox: Mailbox,
    pub(crate) scope: Arc<Scope>,
    pub(crate) bus: Weak<BusCore>,
    pub(crate) stopping: CancellationToken,
    pub(crate) feed: Option<Arc<Feed>>,
}

impl SubscriptionCore {
    pub(crate) fn new(parts: SubscriptionParts) -> Arc<Self> {
        let core = Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            services: parts.services,
            id: parts.id,
            name: parts.name,
            filter: parts.filter,
            group: parts.group,
            budget: parts.settings.retry_budget.map(|budget| Box::new(Metered::new(budget))),
            settings: parts.settings,
            mailbox: parts.mailbox,
            scope: parts.scope,
            members: RwLock::default(),
            left: Mutex::default(),
            bus: parts.bus,
            stopping: parts.stopping,
            feed: parts.feed,
            abort: CancellationToken::new(),
            tracker: TaskTracker::new(),
            entry: parts.entry,
            inline: OnceLock::new(),
            state: AtomicU8::new(RUNNING),
            succession: Succession::default(),
            owed: Owed::default(),
            aborted: AtomicBool::new(false),
            staffed: AtomicBool::new(false),
            // The entry has the first one.
            next_member: AtomicU64::new(1),
            next_worker: AtomicUsize::new(0),
            last_failure: Mutex::default(),
            traces: Mutex::default(),
            retried: AtomicU64::new(0),
        });
        let supervisor: Weak<Self> = Weak::clone(&core.me);
        core.mailbox.supervise(supervisor);
        core
    }

    pub(crate) fn next_member(&self) -> u64 {
        self.next_member.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_worker(&self) -> usize {
        self.next_worker.fetch_add(1, Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::SeqCst) {
            RUNNING => State::Running,
            PAUSED => State::Paused,
            DRAINING => State::Draining,
            _ => State::Stopped,
        }
    }

    /// Moves to `state` unless the subscription is further already.
    pub(crate) fn advance(&self, state: State) -> bool {
        let target = number(state);
        let step = |current: u8| {
            let back = current == PAUSED && target == RUNNING;
            (current < target || back).then_some(target)
        };
        let moved = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step).is_ok();
        self.mailbox.hand.wake_all();
        moved
    }

    /// Whether workers of `member` may start events now.
    #[inline]
    pub(crate) fn may_start(&self, member: &Member) -> bool {
        matches!(self.state.load(Ordering::SeqCst), RUNNING | DRAINING)
            && !self.is_held()
            && !member.has_left()
    }

    /// Its entry; `None` when its bus has forgotten it.
    pub(crate) fn entry(&self) -> Option<Arc<Entry>> {
        self.entry.upgrade()
    }

    /// Takes the subscription off the routing table: no new publish finds it.
    pub(crate) fn unroute(&self) {
        if let Some(entry) = self.entry() {
            entry.unroute();
        }
    }

    /// Cuts short whatever runs.
    pub(crate) fn cut_handlers(&self) {
        self.aborted.store(true, Ordering::Release);
        self.abort.cancel();
    }

    #[inline]
    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    /// Stops at once: nothing more is taken in or started, what waits is abandoned. What runs goes on.
    pub(crate) fn close(&self) {
        self.advance(State::Stopped);
        self.unroute();
        self.mailbox.close();
        self.abandon_owed();
        self.tracker.close();
        self.touch();
    }

    /// Says that something has come to rest.
    pub(crate) fn touch(&self) {
        self.services.idle.touch();
    }

    /// Reports an outcome, then counts it: who waits for the count finds the report.
    #[inline]
    pub(crate) fn settle(&self, event: &AnyEvent, outcome: &Outcome, cut_by: Option<&str>) {
        if matches!(outcome, Outcome::Done)
            && self.feed.is_none()
            && !self.services.signals.want(Wants::EVENTS)
        {
            return self.mailbox.account.handled(&Outcome::Done);
        }
        self.settle_seen(event, outcome, cut_by);
    }

    #[inline(never)]
    fn settle_seen(&self, event: &AnyEvent, outcome: &Outcome, cut_by: Option<&str>) {
        self.services.signals.tell(&Signal::Settled { subscription: &self.name, event, outcome });
        self.report_if_failed((event.topic(), event.id()), outcome, cut_by);
        if let Some(feed) = &self.feed {
            let services = &self.services;
            let is_stopping = self.stopping.is_cancelled();
            feed.ended(event, outcome, is_stopping, services.clock.utc(), || {
                services.shown.error_text(outcome)
            });
        }
        self.mailbox.account.handled(outcome);
    }

    /// Says so when an event was not handled well. To be called before the outcome is counted.
    pub(crate) fn report_if_failed(&self, event: (&Topic, EventId), outcome: &Outcome, cut_by: Option<&str>) {
        if !matches!(outcome, Outcome::Done | Outcome::Skip) {
            self.report_failure(event, outcome, cut_by);
        }
    }

    #[cold]
    fn report_failure(&self, (topic, id): (&Topic, EventId), outcome: &Outcome, cut_by: Option<&str>) {
        let error = self.services.shown.failure_text(outcome);
        tracing::warn!(
            subscription = &*self.name,
            topic = topic.as_str(),
            event_id = %id,
            cut_by,
            error = log_text(&error),
            "event not handled"
        );
        let at = self.services.clock.utc();
        *self.last_failure.lock() = Some(LastFailure { event: id, error, at });
    }

    pub(crate) fn last_failure(&self) -> Option<LastFailure> {
        self.last_failure.lock().clone()
    }

    pub(crate) fn keep_trace(&self, trace: ChainTrace) {
        let mut traces = self.traces.lock();
        if traces.len() >= self.settings.traces {
            traces.pop_front();
        }
        traces.push_back(trace);
    }

    pub(crate) fn traces(&self) -> Vec<ChainTrace> {
        self.traces.lock().iter().cloned().collect()
    }

    /// Starts one more worker of a member, up to the concurrency.
    fn supply(self: &Arc<Self>, member: &Arc<Member>) {
        let limit = self.settings.concurrency.get() as usize;
        let one_more = |workers: usize| (workers < limit).then_some(workers + 1);
        let is_one_more = member.workers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if is_one_more && !worker::start(self, member) {
            // The next event tries again.
            member.workers.fetch_sub(1, Ordering::Relaxed);
            self.staffed.store(false, Ordering::Release);
        }
    }

    /// Adds a member.
    pub(crate) fn add(&self, member: Arc<Member>) {
        if self.group.is_some() {
            member.be_among_others(&self.scope);
        }
        let mut members = self.members.write();
        members.push(member);
        self.staffed.store(false, Ordering::Release);
    }

    /// Whether every member has all the workers that it may have. They stay until the subscription is over or their member
    /// leaves, so this is false only for a short while.
    #[inline]
    pub(crate) fn is_staffed(&self) -> bool {
        self.staffed.load(Ordering::Acquire)
    }

    /// Starts a worker where an event was queued and nobody sleeps.
    pub(crate) fn ensure_worker(self: &Arc<Self>) {
        if self.is_staffed() {
            return;
        }
        let limit = self.settings.concurrency.get() as usize;
        let members = self.members.read();
        let lacking = members.iter().find(|member| member.workers.load(Ordering::Relaxed) < limit);
        match lacking.cloned() {
            Some(member) => {
                drop(members);
                self.supply(&member);
            }
            // Under the lock: no member comes in between.
            None => self.staffed.store(true, Ordering::Release),
        }
    }
}

impl Supervise for SubscriptionCore {
    fn starved(&self, member: u64) {
        let Some(core) = self.me.upgrade() else { return };
        let found = core.members.read().iter().find(|candidate| candidate.id == member).cloned();
        if let Some(member) = found {
            core.supply(&member);
        }
    }

    fn at_rest(&self) {
        self.touch();
    }
}

const fn number(state: State) -> u8 {
    match state {
        State::Running => RUNNING,
        State::Paused => PAUSED,
        State::Draining => DRAINING,
        State::Stopped => STOPPED,
    }
}

const RUNNING: u8 = 1;
const PAUSED: u8 = 2;
const DRAINING: u8 = 3;
const STOPPED: u8 = 4;
