//! Offering: what happens when an event meets the mailbox, and the overflow policies.

use std::cell::OnceCell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use busway_event::{AnyEvent, Header, Priority};
use busway_reliability::{ByteBudget, FullAction, MayWait, on_full};

use super::coalesce::{Coalesced, Coalescer};
use super::queues::Slot;
use super::{Blocked, Expires, Mailbox, Waiting};
use crate::clock::Clock;
use crate::handover::Announced;

/// What became of an offer.
#[derive(Debug)]
pub(crate) enum Offer {
    /// It waits; nobody had to be woken and perhaps nobody works yet.
    Queued,
    /// It waits, and a sleeping worker was woken.
    Woken,
    /// It was dropped, and counted.
    Dropped,
    /// The publisher must wait for room, see [`Mailbox::wait_for_space`].
    Blocked(Box<Blocked>),
    /// The policy is to close the subscription; the event was dropped, and counted.
    Disconnect,
    /// The mailbox was closed before; not offered, not counted. The event comes back.
    Closed(AnyEvent),
    /// The mailbox was closed meanwhile; offered and abandoned. The event is here unless it was queued already.
    Late(Option<AnyEvent>),
}

/// What every mailbox wants to know of an event, found out once for all of them.
#[derive(Debug)]
pub(crate) struct Arrival {
    priority: Priority,
    ttl: Option<Duration>,
    weight: u32,
    /// Read when the first subscription asks for it, the same for all of them.
    now: OnceCell<Instant>,
}

impl Arrival {
    /// Of an event that says nothing, and weighs so many bytes.
    #[inline]
    pub(crate) fn plain(weight: usize) -> Self {
        Self::new(Priority::default(), None, weight)
    }

    /// Of an event that weighs so many bytes.
    pub(crate) fn of(header: &Header, weight: usize) -> Self {
        Self::new(header.priority(), header.ttl(), weight)
    }

    /// The same of one that may wait for as long as it takes.
    pub(crate) fn for_ever(header: &Header, weight: usize) -> Self {
        Self::new(header.priority(), None, weight)
    }

    #[inline]
    fn new(priority: Priority, ttl: Option<Duration>, weight: usize) -> Self {
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        Self { priority, ttl, weight, now: OnceCell::new() }
    }

    fn now(&self, clock: &dyn Clock) -> Instant {
        *self.now.get_or_init(|| clock.now())
    }
}

impl Mailbox {
    /// Offers an event. Never waits.
    ///
    /// Never inlined: the event comes in registers then, and is not read back from where a caller put it a moment ago. Nothing is called before it is in its queue,
    /// so that it stays there.
    #[inline(never)]
    pub(crate) fn offer(&self, event: AnyEvent, arrival: &Arrival, may_wait: MayWait) -> Offer {
        let (priority, weight) = (arrival.priority, arrival.weight);
        let is_plain = self.coalescer.is_none()
            && ByteBudget::counted(weight as usize) == 0
            && self.settings.ttl.effective(arrival.ttl, priority).is_none();
        if !is_plain {
            return self.offer_looking(event, arrival, may_wait);
        }
        if !self.enters() {
            return Offer::Closed(event);
        }
        // Made once and moved once, into the queue: each move in between would read what was written a moment ago.
        let slot = Slot::Event(Waiting { event, expires: None, weight, priority });
        self.queued(self.queues.push(priority, slot), may_wait)
    }

    /// Offers an event that has a time to keep, a key to look at, or bytes to count.
    #[inline(never)]
    fn offer_looking(&self, event: AnyEvent, arrival: &Arrival, may_wait: MayWait) -> Offer {
        let expires = self.expiry(arrival);
        if !self.enters() {
            return Offer::Closed(event);
        }
        let Arrival { priority, weight, .. } = *arrival;
        let waiting = Waiting { event, expires, weight, priority };
        if self.coalescer.is_some() || ByteBudget::counted(weight as usize) > 0 {
            return self.admit(waiting, may_wait);
        }
        self.queued(self.queues.push(priority, Slot::Event(waiting)), may_wait)
    }

    #[inline]
    fn queued(&self, pushed: Result<(), Slot>, may_wait: MayWait) -> Offer {
        match pushed {
            Ok(()) => self.announce(),
            Err(Slot::Event(waiting)) => self.full(waiting, may_wait),
            // A queue gives back what it was given.
            Err(Slot::Latest(_)) => Offer::Dropped,
        }
    }

    #[inline]
    pub(super) fn expiry(&self, arrival: &Arrival) -> Option<Expires> {
        let ttl = self.settings.ttl.effective(arrival.ttl, arrival.priority)?;
        self.expires(arrival.now(&*self.clock), ttl)
    }

    #[inline(never)]
    fn expires(&self, now: Instant, ttl: Duration) -> Option<Expires> {
        Expires::after(now.saturating_duration_since(self.born).saturating_add(ttl))
    }

    /// Offers an event that has a key to look at, or bytes to count.
    fn admit(&self, waiting: Waiting, may_wait: MayWait) -> Offer {
        let waiting = match self.coalescer {
            None => waiting,
            Some(_) => match self.replace_waiting(waiting) {
                Ok(offer) => return offer,
                Err(waiting) => waiting,
            },
        };
        if let Err(over) = self.budget.try_reserve(waiting.weight()) {
            // An event that is heavier than the whole budget would wait for ever.
            return match over.is_transient() {
                true => self.full(waiting, may_wait),
                false => self.drop_incoming(),
            };
        }
        match self.push(waiting) {
            Ok(offer) => offer,
            Err(waiting) => {
                self.budget.release(waiting.weight());
                self.full(waiting, may_wait)
            }
        }
    }

    /// Puts an event in the place of a waiting one of the same key, or gives it back when none waits.
    fn replace_waiting(&self, waiting: Waiting) -> Result<Offer, Waiting> {
        let Some(coalescer) = &self.coalescer else { return Err(waiting) };
        let old = coalescer.replace(waiting, |new, old| {
            self.budget.release(old.weight());
            // The latest counts more than the budget: what does not fit is not counted, at most one event a key.
            if self.budget.try_reserve(new.weight()).is_err() {
                new.weight = 0;
            }
        })?;
        drop(old);
        self.dropped(1);
        // The mailbox may have been closed meanwhile.
        Ok(self.announce())
    }

    /// Queues an event whose bytes are reserved, or gives it back.
    pub(super) fn push(&self, waiting: Waiting) -> Result<Offer, Waiting> {
        let waiting = match &self.coalescer {
            None => waiting,
            Some(coalescer) => match self.push_latest(coalescer, waiting) {
                Ok(offer) => return Ok(offer),
                Err(Unplaced::Full(waiting)) => return Err(waiting),
                Err(Unplaced::NoKey(waiting)) => waiting,
            },
        };
        match self.queues.push(waiting.priority, Slot::Event(waiting)) {
            Ok(()) => Ok(self.announce()),
            Err(Slot::Event(waiting)) => Err(waiting),
            // A queue gives back what it was given.
            Err(Slot::Latest(_)) => Ok(Offer::Dropped),
        }
    }

    fn push_latest(&self, coalescer: &Coalescer, waiting: Waiting) -> Result<Offer, Unplaced> {
        let priority = waiting.priority;
        match coalescer.put(waiting, |key| self.queues.push(priority, Slot::Latest(key)).is_ok()) {
            Coalesced::Replaced(old) => {
                self.budget.release(old.weight());
                self.dropped(1);
                Ok(self.announce())
            }
            Coalesced::Placed => Ok(self.announce()),
            Coalesced::Full(waiting) => Err(Unplaced::Full(waiting)),
            Coalesced::NoKey(waiting) => Err(Unplaced::NoKey(waiting)),
        }
    }

    #[inline]
    pub(super) fn announce(&self) -> Offer {
        match self.hand.announce() {
            Announced::Woken => Offer::Woken,
            Announced::NobodyParked => Offer::Queued,
            Announced::Closed if self.keeps.load(Ordering::SeqCst) => {
                self.hand.wake_all();
                Offer::Queued
            }
            Announced::Closed => {
                self.abandon_queued();
                Offer::Late(None)
            }
        }
    }

    #[cold]
    fn full(&self, waiting: Waiting, may_wait: MayWait) -> Offer {
        match on_full(self.settings.overflow, may_wait) {
            FullAction::Wait { deadline } => Offer::Blocked(Box::new(Blocked { waiting, deadline })),
            FullAction::DropOldest => self.make_room(waiting),
            FullAction::Close => {
                self.dropped(1);
                Offer::Disconnect
            }
            // The coalescer has looked for the event's key already.
            FullAction::DropIncoming | FullAction::Replace => self.drop_incoming(),
        }
    }

    fn drop_incoming(&self) -> Offer {
        self.dropped(1);
        Offer::Dropped
    }

    /// Drops the oldest events of the queue until this one fits. Others may be quicker to take the room: after some tries this event is the one that is dropped.
    fn make_room(&self, mut waiting: Waiting) -> Offer {
        for _ in 0..MAKE_ROOM_TRIES {
            if let Some(oldest) = self.pop_oldest_beside(waiting.priority) {
                self.budget.release(oldest.weight());
                self.dropped(1);
            } else if self.budget.used() > 0 && self.pop_heaviest() {
                // The bytes are taken by events of other queues.
                self.dropped(1);
            }
            if self.budget.try_reserve(waiting.weight()).is_err() {
                continue;
            }
            match self.push(waiting) {
                Ok(offer) => return offer,
                Err(back) => {
                    self.budget.release(back.weight());
                    waiting = back;
                }
            }
        }
        self.drop_incoming()
    }

    /// Drops the oldest event of the least urgent queue that has one.
    fn pop_heaviest(&self) -> bool {
        let Some(waiting) = self.pop_queued() else { return false };
        self.budget.release(waiting.weight());
        true
    }
}

/// Why an event did not take the place of its key.
enum Unplaced {
    Full(Waiting),
    /// It has none.
    NoKey(Waiting),
}

/// More than publishers collide by accident; a bound, so that none is held for ever.
const MAKE_ROOM_TRIES: usize = 64;
