//! Workers: what takes events out of a mailbox and runs handlers.
//!
//! One task (or thread, for blocking handlers) an event that may run at once, started when there is first something for
//! it to do, and kept. A worker owns what it needs for one event after the other: the handler's slot, the progress record,
//! its copy of the chain. Nothing is spawned for an event.

mod again;
mod attempt;
mod batch;
mod budget;
mod linger;
mod single;
mod thread;
mod under;

use std::sync::Arc;

use busway_event::{AnyEvent, Spent};
use busway_middleware::Run;
use busway_middleware::chain::contained;

use crate::handover::Sleeper;
use crate::mailbox::{Bell, Job, WorkerShare};
use crate::stats::State;
use crate::subscription::{Member, SubscriptionCore};

pub(crate) use self::again::Again;
pub(crate) use self::attempt::{Slot, delivery_of, let_go, progress_of};
pub(crate) use self::budget::Metered;

/// Starts one more worker of `member`; `false` when there is no thread to be had.
#[expect(clippy::disallowed_methods, reason = "this module is the supervisor: it owns every task and thread")]
pub(crate) fn start(core: &Arc<SubscriptionCore>, member: &Arc<Member>) -> bool {
    let (core, member) = (Arc::clone(core), Arc::clone(member));
    let runtime = core.services.runtime.clone();
    let token = core.tracker.token();
    match member.handler.info().run {
        Run::Inline => {}
        Run::Blocking => {
            // The system ends a thread's name at a NUL.
            let name = format!("busway-{}", core.name.replace('\0', "?"));
            let work = move || {
                thread::work(&core, &member);
                // Before the token: who waits for the worker's end finds nothing of it left.
                drop((core, member));
                drop(token);
            };
            if let Err(error) = std::thread::Builder::new().name(name).spawn(work) {
                tracing::error!(%error, "no thread for a blocking handler: its events wait");
                return false;
            }
        }
        Run::Batch(max) => {
            let work = async move {
                batch::work(&core, &member, max.get()).await;
                drop((core, member));
                drop(token);
            };
            drop(runtime.spawn(work));
        }
        _ => {
            let work = async move {
                single::work(&core, &member).await;
                drop((core, member));
                drop(token);
            };
            drop(runtime.spawn(work));
        }
    }
    true
}

/// A worker's way of getting events, and of letting them go.
///
/// A worker is *active* from when it begins to look for events until it finds none. It is counted once for that whole
/// stretch, before it first looks at the subscription's state: that costs a fence a stretch and not one an event.
struct Intake<'a> {
    core: &'a SubscriptionCore,
    member: &'a Member,
    worker: usize,
    bell: Arc<Bell>,
    share: WorkerShare,
    stretch: Stretch,
    spent: Spent,
}

/// Whether a worker is counted as active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stretch {
    Active,
    Resting,
}

/// What a worker does next.
enum Next {
    Handle(Job),
    /// Nothing to do: sleep until the bell rings.
    Sleep,
    /// Nothing more will come.
    End,
}

impl<'a> Intake<'a> {
    fn new(core: &'a SubscriptionCore, member: &'a Member, bell: Bell) -> Self {
        let share = core.mailbox.worker_share();
        let worker = core.next_worker();
        let stretch = Stretch::Resting;
        Self { core, member, worker, bell: Arc::new(bell), share, stretch, spent: Spent::new() }
    }

    /// What to do when there is nothing to take. Registers for the bell before it says so.
    fn park(&mut self) -> Next {
        self.spent.flush();
        let bell = Arc::clone(&self.bell);
        let sleeper = Sleeper { worker: self.worker, member: self.member.id, bell };
        self.core.mailbox.hand.park(sleeper);
        // What was pushed before the registration woke nobody: look again.
        if let Some(job) = self.take() {
            self.core.mailbox.hand.leave(self.worker);
            return Next::Handle(job);
        }
        if self.is_over() {
            self.core.mailbox.hand.leave(self.worker);
            return Next::End;
        }
        Next::Sleep
    }

    /// The next event if there is one; if there is none, the worker rests.
    #[inline]
    fn take(&mut self) -> Option<Job> {
        self.stretch();
        let job = self.take_more();
        if job.is_none() {
            self.rest();
        }
        job
    }

    /// As [`take`](Self::take), where nothing stands between the queues and their one worker.
    #[inline]
    fn take_straight(&mut self) -> Option<AnyEvent> {
        self.stretch();
        let mailbox = &self.core.mailbox;
        let event = match self.core.may_start(self.member) {
            true => mailbox.take_straight(&mut self.share),
            false => None,
        };
        if event.is_none() {
            self.rest();
        }
        event
    }

    #[inline]
    fn stretch(&mut self) {
        if self.stretch == Stretch::Resting {
            self.stretch = Stretch::Active;
            self.core.mailbox.account.activate();
        }
    }

    /// Another event if there is one, while others are in hand.
    #[inline]
    fn take_more(&mut self) -> Option<Job> {
        match self.core.may_start(self.member) {
            true => self.core.mailbox.take(self.member.id, &mut self.share),
            false => None,
        }
    }

    /// Lets go of an event that is settled. Its payload's drop is code of the program's: what it does is no end of a worker.
    #[inline]
    fn let_go(&mut self, event: AnyEvent) {
        contained(|| self.spent.put(event));
    }

    fn rest(&mut self) {
        if self.stretch == Stretch::Active {
            self.stretch = Stretch::Resting;
            self.core.mailbox.account.rest();
            self.core.services.idle.touch_after_rest();
        }
    }

    /// To be called after the bell rang: a ring that was meant for an earlier sleep leaves the registration behind.
    fn woken(&self) {
        self.core.mailbox.hand.leave(self.worker);
    }

    fn is_over(&self) -> bool {
        match self.core.state() {
            State::Stopped => true,
            State::Draining if !self.core.has_waiting() => {
                // What comes from now on comes too late, and is counted so.
                self.core.close();
                true
            }
            State::Draining => false,
            State::Running | State::Paused => self.member.has_left(),
        }
    }
}

impl Drop for Intake<'_> {
    fn drop(&mut self) {
        self.rest();
        // Others may have waited for this one to finish its last event.
        self.core.mailbox.hand.wake_all();
        self.core.touch();
    }
}

/// Events that a worker handles before it lets other tasks run.
const DRAIN_MAX: usize = 128;
