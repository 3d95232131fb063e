//! The mailbox of a subscription: its bounded queues, and the exact account of what became of each event.
//!
//! Events are offered by any thread and taken by the subscription's workers. There is one bounded lock-free queue a
//! priority (one in all under `Order::Key`), made when first used. With a concurrency of 1, its one worker takes straight
//! from the queues; otherwise, or in a group, a [`Schedule`] stands between, which keeps lanes apart and members supplied.
//!
//! # The account
//! `offered = delivered + dropped + expired + abandoned + waiting`, at all times: an event is counted as offered before
//! it is queued, and as exactly one of the others by whoever takes it out, which only one can.
//!
//! # Closing
//! [`Mailbox::close`] marks the mailbox closed and abandons what is queued. An event that is pushed at the same time is
//! abandoned by its publisher: see `handover.rs`.

mod account;
mod bell;
mod coalesce;
mod offer;
mod queues;
mod schedule;
mod take;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use busway_event::{AnyEvent, Key};
use busway_reliability::{ByteBudget, Lane, Order, Overflow, TimeToLive};
use busway_router::GroupRule;

pub(crate) use self::account::Account;
pub(crate) use self::bell::Bell;
pub(crate) use self::coalesce::{CoalesceKey, Coalescer};
pub(crate) use self::offer::{Blocked, Offer};
use self::queues::Queues;
use self::schedule::Schedule;
pub(crate) use self::take::WorkerShare;
use crate::handover::HandOver;
use crate::settings::Effective;
use crate::sync::Mutex;

/// See the module.
pub(crate) struct Mailbox {
    queues: Queues,
    overflow: Overflow,
    order: Order,
    ttl: TimeToLive,
    budget: ByteBudget,
    coalescer: Option<Coalescer>,
    schedule: Option<Mutex<Schedule>>,
    /// Shared with the bus, which sums it also when the subscription is gone.
    pub(crate) account: Arc<Account>,
    pub(crate) hand: HandOver<Arc<Bell>>,
    /// Dropped since the last delivery: what the subscriber is told as lag.
    lagged: AtomicU64,
    space: offer::Space,
    share: [NonZeroU32; 4],
    supervisor: OnceLock<Weak<dyn Supervise>>,
}

/// Who can give a mailbox more workers.
pub(crate) trait Supervise: Send + Sync {
    /// An event waits that a further worker of `member` could start.
    fn starved(&self, member: u64);

    /// Something has come to rest that no worker and no publish will tell.
    fn at_rest(&self);
}

impl Mailbox {
    /// `scheduled` says whether lanes and members need a schedule.
    pub(crate) fn new(settings: &Effective, coalesce: Option<CoalesceKey>, scheduled: Scheduled) -> Self {
        Self {
            queues: Queues::new(settings.capacity, settings.order),
            overflow: settings.overflow,
            order: settings.order,
            ttl: settings.ttl,
            budget: ByteBudget::new(settings.capacity_bytes),
            coalescer: (settings.overflow == Overflow::Coalesce)
                .then(|| Coalescer::new(coalesce.unwrap_or_default())),
            schedule: (scheduled == Scheduled::Yes).then(|| Mutex::new(Schedule::new(settings))),
            account: Arc::default(),
            hand: HandOver::new(),
            lagged: AtomicU64::new(0),
            space: offer::Space::default(),
            share: settings.share,
            supervisor: OnceLock::new(),
        }
    }

    /// Says whom to ask for more workers; once, before the first event.
    pub(crate) fn supervise(&self, supervisor: Weak<dyn Supervise>) {
        _ = self.supervisor.set(supervisor);
    }

    /// Says how members share events without a key.
    pub(crate) fn set_rule(&self, rule: GroupRule) {
        if let Some(schedule) = &self.schedule {
            schedule.lock().set_rule(rule);
        }
    }

    /// How many events wait in queues or for their lane, those that run not counted.
    pub(crate) fn depth(&self) -> usize {
        let scheduled = self.schedule.as_ref().map_or(0, |schedule| schedule.lock().waiting());
        self.queues.len() + scheduled
    }

    /// Bytes that waiting events take of the budget.
    pub(crate) fn bytes(&self) -> usize {
        self.budget.used()
    }

    /// Events lost since the last time this was asked.
    pub(crate) fn take_lagged(&self) -> u64 {
        match self.lagged.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.lagged.swap(0, Ordering::Relaxed),
        }
    }

    /// Closes: nothing more is queued, what waits is abandoned and counted. Events that run are settled by their workers.
    pub(crate) fn close(&self) {
        self.hand.close();
        self.abandon_queued();
        self.space.wake_all();
    }

    /// Counts everything that waits as abandoned. May be called by several at once: each event is taken out once.
    fn abandon_queued(&self) {
        while let Some(waiting) = self.pop_any() {
            self.budget.release(waiting.weight);
            self.account.abandoned(1);
        }
        if let Some(schedule) = &self.schedule {
            let left = schedule.lock().drain();
            for waiting in left {
                self.budget.release(waiting.weight);
                self.account.abandoned(1);
            }
        }
    }

    /// Counts events that were dropped, and tells the subscriber with its next delivery.
    pub(crate) fn dropped(&self, events: u64) {
        self.account.dropped(events);
        self.lagged.fetch_add(events, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").field("account", &self.account.tally()).finish_non_exhaustive()
    }
}

/// Whether a mailbox has a [`Schedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheduled {
    Yes,
    No,
}

/// An event in a mailbox.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) event: AnyEvent,
    /// When it is too late to start.
    pub(crate) expires: Option<Instant>,
    /// Bytes reserved for it in the budget.
    weight: usize,
}

/// An event that a worker holds: running, and settled when it is done.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) waiting: Waiting,
    /// The lane that this event keeps closed.
    lane: Option<Lane<Key>>,
    /// The member that it runs at.
    member: u64,
}
