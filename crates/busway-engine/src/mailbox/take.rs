//! Taking: what a worker gets next, and what it gives back when it is done.

use std::num::NonZeroU32;
use std::sync::Weak;

use busway_event::{AnyEvent, Key, Priority};
use busway_middleware::chain::drop_contained;
use busway_reliability::{Lane, Order};
use busway_router::Share;

use super::queues::Slot;
use super::schedule::Schedule;
use super::{Expires, Job, Mailbox, Ticket, Waiting};
use crate::sync::Mutex;

/// Whose turn it is among the priorities, for a worker that takes straight from the queues.
#[derive(Debug)]
pub(crate) struct WorkerShare(Share);

impl WorkerShare {
    pub(super) fn new(weights: [NonZeroU32; 4]) -> Self {
        Self(Share::new(weights))
    }
}

impl Mailbox {
    pub(crate) fn worker_share(&self) -> WorkerShare {
        WorkerShare::new(self.settings.share)
    }

    /// The next event for a worker of `member`, `None` when there is nothing to do for it now. Expired events are
    /// settled on the way. The worker is counted as active.
    pub(crate) fn take(&self, member: u64, share: &mut WorkerShare) -> Option<Job> {
        match &self.schedule {
            None => {
                let event = self.take_straight(share)?;
                Some(Job { event, ticket: Ticket::straight(member) })
            }
            Some(schedule) => self.take_planned(schedule, member),
        }
    }

    /// As [`take`](Self::take), where nothing stands between the queues and their one worker.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "its one caller is all that comes before an event is handled")]
    pub(crate) fn take_straight(&self, share: &mut WorkerShare) -> Option<AnyEvent> {
        let event = match self.queues.only().and_then(|only| self.queues.pop(only)) {
            // By far the most: one priority in use, no key to look at, no time to keep.
            Some(Slot::Event(Waiting { event, expires: None, weight, .. })) => {
                self.budget.release(weight as usize);
                event
            }
            Some(slot) => return self.take_slowly(Some(slot), share),
            None if self.queues.only().is_some() => return None,
            None => return self.take_slowly(None, share),
        };
        if self.waited_for {
            self.space.freed();
        }
        self.account.taken();
        Some(event)
    }

    /// The same for what `first` holds, if it is to be started, or for the next one.
    #[inline(never)]
    fn take_slowly(&self, first: Option<Slot>, share: &mut WorkerShare) -> Option<AnyEvent> {
        let mut freed = first.is_some();
        let first = first.and_then(|slot| self.resolve(slot)).and_then(|waiting| self.fresh(waiting));
        let waiting = first.or_else(|| self.take_fresh(share, &mut freed));
        if freed && self.waited_for {
            self.space.freed();
        }
        let waiting = waiting?;
        self.account.taken();
        self.budget.release(waiting.weight());
        Some(waiting.event)
    }

    /// An event that may be started; one that has expired is settled.
    fn fresh(&self, waiting: Waiting) -> Option<Waiting> {
        if !self.expired(&waiting) {
            return Some(waiting);
        }
        self.budget.release(waiting.weight());
        self.account.expired();
        drop_contained(waiting);
        None
    }

    fn take_planned(&self, schedule: &Mutex<Schedule>, member: u64) -> Option<Job> {
        let mut freed = false;
        let job = self.take_scheduled(schedule, member, &mut freed);
        if job.is_some() {
            self.account.taken();
        }
        if freed && self.waited_for {
            self.space.freed();
        }
        self.wake_supplied();
        job
    }

    fn take_scheduled(&self, schedule: &Mutex<Schedule>, member: u64, freed: &mut bool) -> Option<Job> {
        let mut schedule = schedule.lock();
        // Let go of behind the lock: their drops are code of the program's.
        let mut expired = Vec::new();
        let job = loop {
            match schedule.start(member) {
                Some((waiting, lane)) => {
                    *freed = true;
                    let is_expired = self.expired(&waiting);
                    // Its bytes count while it waits, in a queue or for its lane.
                    let job = self.job_of(waiting, lane, member);
                    if !is_expired {
                        break Some(job);
                    }
                    self.account.expired();
                    schedule.finish(&job.ticket);
                    expired.push(job.event);
                }
                None => {
                    let fresh = match schedule.has_room() {
                        true => self.take_fresh(&mut schedule.intake, freed),
                        false => self.take_lacking(&schedule, freed),
                    };
                    match fresh {
                        Some(fresh) => schedule.assign(fresh, self.settings.order),
                        None => break None,
                    }
                }
            }
        };
        drop(schedule);
        expired.into_iter().for_each(drop_contained);
        job
    }

    #[inline]
    fn job_of(&self, waiting: Waiting, lane: Option<Lane<Key>>, member: u64) -> Job {
        self.budget.release(waiting.weight());
        let ticket = Ticket { priority: waiting.priority, lane, member };
        Job { event: waiting.event, ticket }
    }

    /// To be called once for each job, after its account is settled. Says whether it made work for others.
    #[inline]
    pub(crate) fn finish(&self, ticket: &Ticket) {
        if let Some(schedule) = &self.schedule {
            schedule.lock().finish(ticket);
            self.wake_supplied();
        }
    }

    /// Whether lanes or members decide which event may be taken.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.schedule.is_some()
    }

    /// Whether an event waits in a queue. A glance: what it says may have changed already.
    pub(crate) fn has_queued(&self) -> bool {
        !self.queues.is_empty()
    }

    /// Whether there is anything left to take: for workers that end when there is not.
    pub(crate) fn is_empty(&self) -> bool {
        self.depth() == 0
    }

    /// Adds a member; events are shared with it from now on.
    pub(crate) fn join(&self, member: u64) {
        if let Some(schedule) = &self.schedule {
            schedule.lock().join(member);
        }
    }

    /// Removes a member; what waits for it goes to the others, what runs at it ends there.
    pub(crate) fn part(&self, member: u64) {
        if let Some(schedule) = &self.schedule {
            schedule.lock().part(member);
            self.hand.wake_all();
        }
    }

    /// Wakes workers of members that got something to do meanwhile, or asks for one more where none sleeps.
    fn wake_supplied(&self) {
        let Some(schedule) = &self.schedule else { return };
        let supplied = schedule.lock().take_supplied();
        for member in supplied {
            if !self.hand.wake_member(member) {
                self.starved(member);
            }
        }
    }

    /// Nobody sleeps who could start what waits: perhaps there may be one more worker.
    pub(crate) fn starved(&self, member: u64) {
        if let Some(supervisor) = self.supervisor.get().and_then(Weak::upgrade) {
            supervisor.starved(member);
        }
    }

    /// The oldest event by the share of the priorities that is not expired. Its bytes are still reserved.
    fn take_fresh(&self, share: &mut WorkerShare, freed: &mut bool) -> Option<Waiting> {
        loop {
            let next = |priority| self.resolve(self.queues.pop(priority)?);
            let waiting = match (self.queues.only(), self.queues.pop_returned()) {
                (_, Some(returned)) => returned,
                (Some(only), None) => next(only)?,
                (None, None) => share.0.take(next)?.1,
            };
            *freed = true;
            if let Some(waiting) = self.fresh(waiting) {
                return Some(waiting);
            }
        }
    }

    /// The oldest event of a priority that could start while others are at their limits, the most urgent first. Events in the order of their keys have one queue, whatever
    /// their priorities.
    fn take_lacking(&self, schedule: &Schedule, freed: &mut bool) -> Option<Waiting> {
        if self.settings.order == Order::Key {
            return None;
        }
        let oldest = |priority| {
            while let Some(slot) = self.queues.pop(priority) {
                *freed = true;
                if let Some(waiting) = self.resolve(slot).and_then(|waiting| self.fresh(waiting)) {
                    return Some(waiting);
                }
            }
            None
        };
        Priority::ALL.into_iter().filter(|priority| schedule.has_room_for(*priority)).find_map(oldest)
    }

    /// Any event that waits, the least urgent first of what has a place in a queue.
    pub(super) fn pop_any(&self) -> Option<Waiting> {
        self.pop_queued().or_else(|| self.queues.pop_returned())
    }

    /// The oldest event of the least urgent queue that has one.
    pub(super) fn pop_queued(&self) -> Option<Waiting> {
        Priority::ALL.into_iter().rev().find_map(|priority| self.resolve(self.queues.pop(priority)?))
    }

    /// The oldest event of the queue that takes events of this priority.
    pub(super) fn pop_oldest_beside(&self, priority: Priority) -> Option<Waiting> {
        self.resolve(self.queues.pop_oldest_beside(priority)?)
    }

    fn resolve(&self, slot: Slot) -> Option<Waiting> {
        match slot {
            Slot::Event(waiting) => Some(waiting),
            Slot::Latest(key) => self.coalescer.as_ref()?.take(&key),
        }
    }

    fn expired(&self, waiting: &Waiting) -> bool {
        waiting.expires.is_some_and(|expires| Expires::after(self.clock.now() - self.born) >= Some(expires))
    }
}
