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
//!
//! [`Mailbox::shut`] closes the entrance alone, for a mailbox whose place another one has taken: what is queued, or pushed at the same time, is handled as ever, and
//! whoever offers or waits for room is told to go on to the other one. Nothing comes any more when nothing waits.

mod account;
mod bell;
mod coalesce;
mod offer;
mod queues;
mod returned;
mod schedule;
mod share;
mod space;
mod take;

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use busway_event::{AnyEvent, Key, Priority};
use busway_middleware::chain::drop_contained;
use busway_reliability::{ByteBudget, Lane, Overflow};
use busway_router::GroupRule;

use self::account::Writers;
pub(crate) use self::account::{Account, Ended};
pub(crate) use self::bell::Bell;
pub(crate) use self::coalesce::{CoalesceKey, Coalescer};
pub(crate) use self::offer::{Arrival, Offer};
use self::queues::Queues;
use self::schedule::Schedule;
pub(crate) use self::share::Share;
pub(crate) use self::space::Blocked;
pub(crate) use self::take::WorkerShare;
use crate::clock::Clock;
use crate::handover::HandOver;
use crate::settings::Effective;
use crate::sync::Mutex;

/// See the module.
pub(crate) struct Mailbox {
    queues: Queues,
    settings: Arc<Effective>,
    clock: Arc<dyn Clock>,
    budget: ByteBudget,
    // Boxed: most subscriptions have neither.
    coalescer: Option<Box<Coalescer>>,
    schedule: Option<Box<Mutex<Schedule>>>,
    /// Shared with the bus, which sums it also when the subscription is gone.
    pub(crate) account: Arc<Account>,
    pub(crate) hand: HandOver<Arc<Bell>>,
    /// Whether what is queued behind a closed entrance is still handled.
    keeps: AtomicBool,
    /// Dropped since the last delivery: what the subscriber is told as lag.
    lagged: AtomicU64,
    space: space::Space,
    /// Whether publishers may wait for room, by the policy.
    waited_for: bool,
    /// What the times of expiry are counted from.
    born: Instant,
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
    /// `handling` says who takes events out, and whether lanes and members need a schedule.
    pub(crate) fn new(
        settings: Arc<Effective>,
        coalesce: CoalesceKey,
        handling: Handling,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let writers = match handling {
            Handling::OneWorker => Writers::One,
            Handling::Scheduled => Writers::Many,
            Handling::Inline => Writers::Publishers,
        };
        Self {
            queues: Queues::new(settings.capacity, settings.order),
            budget: ByteBudget::new(settings.capacity_bytes),
            coalescer: (settings.overflow == Overflow::Coalesce).then(|| Box::new(Coalescer::new(coalesce))),
            schedule: (handling == Handling::Scheduled)
                .then(|| Box::new(Mutex::new(Schedule::new(&settings)))),
            account: Arc::new(Account::new(writers)),
            hand: HandOver::new(),
            keeps: AtomicBool::new(false),
            lagged: AtomicU64::new(0),
            space: space::Space::default(),
            waited_for: matches!(settings.overflow, Overflow::Block(_)),
            settings,
            born: clock.now(),
            clock,
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
    #[inline]
    pub(crate) fn take_lagged(&self) -> u64 {
        match self.lagged.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.lagged.swap(0, Ordering::Relaxed),
        }
    }

    /// Closes the entrance: nothing more is taken in, what waits is handled.
    pub(crate) fn shut(&self) {
        self.keeps.store(true, Ordering::SeqCst);
        self.hand.close();
        self.space.wake_all();
    }

    /// Closes: nothing more is queued, what waits is abandoned and counted. Events that run are settled by their workers.
    pub(crate) fn close(&self) {
        // Whoever pushed and still found this set did so before: what it pushed is found below.
        self.keeps.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.hand.close();
        self.abandon_queued();
        self.space.wake_all();
    }

    /// Counts everything that waits as abandoned. May be called by several at once: each event is taken out once.
    fn abandon_queued(&self) {
        while let Some(waiting) = self.pop_any() {
            self.budget.release(waiting.weight());
            self.account.abandoned(1);
            drop_contained(waiting);
        }
        if let Some(schedule) = &self.schedule {
            let left = schedule.lock().drain();
            for waiting in left {
                self.budget.release(waiting.weight());
                self.account.abandoned(1);
                drop_contained(waiting);
            }
        }
    }

    /// Counts an event as offered; `false`, and nothing is counted, when the entrance is closed.
    #[inline]
    fn enters(&self) -> bool {
        if self.hand.is_closed() {
            return false;
        }
        self.account.offered();
        // Whoever closes sees this offer and waits for its end, or it is taken back here.
        let is_closed = self.hand.is_closed();
        if is_closed {
            self.account.retract();
        }
        !is_closed
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

/// Who takes events out of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handling {
    /// One worker, straight from the queues.
    OneWorker,
    /// Many workers or members, through a [`Schedule`].
    Scheduled,
    /// Nobody: the handler runs inside of `publish`.
    Inline,
}

/// An event in a mailbox. Small, so that more of them fit into a cache line of the queue.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) event: AnyEvent,
    expires: Option<Expires>,
    /// Bytes reserved for it in the budget; what is heavier counts as 4 GiB.
    weight: u32,
    /// That of the event, so that a worker need not look at the event to put it in its place.
    priority: Priority,
}

impl Waiting {
    fn weight(&self) -> usize {
        self.weight as usize
    }
}

/// When it is too late to start: nanoseconds from the mailbox's first moment, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Expires(NonZeroU64);

impl Expires {
    /// Too late at `born` + `since`. Never, when that is centuries away.
    fn after(since: Duration) -> Option<Self> {
        u64::try_from(since.as_nanos())
            .ok()
            .map(|nanos| Self(NonZeroU64::new(nanos).unwrap_or(NonZeroU64::MIN)))
    }
}

/// An event that a worker holds: running, and settled when it is done.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) event: AnyEvent,
    pub(crate) ticket: Ticket,
}

/// What a worker gives back for the event that it is done with.
#[derive(Debug)]
pub(crate) struct Ticket {
    priority: Priority,
    /// The lane that this event keeps closed.
    lane: Option<Lane<Key>>,
    /// The member that it runs at.
    member: u64,
}

impl Ticket {
    /// Of an event that was taken straight from its queue: no lane opens, no limit counts.
    pub(crate) const fn straight(member: u64) -> Self {
        Self { priority: Priority::P2, lane: None, member }
    }
}
