//! The states of keys in one process: who handles what, and what is done.

mod done;
mod leases;
mod order;
mod places;
mod record;
mod rising;

use std::time::{Duration, Instant};

use self::done::DoneKeys;
use self::leases::Leases;
use self::rising::Rising;
use super::key::IdempotencyKey;
use crate::deadline::after;

/// Keys that are leased or done. No clock: times come in.
///
/// Bounded: it remembers `done_max` keys as done, and forgets the one that was done first for one more; leases are as many as attempts run, and
/// twice as many that have run out at most.
///
/// ```
/// use std::time::{Duration, Instant};
/// use busway_reliability::{Asked, IdempotencyKey, Lease, Ledger};
///
/// # let now = Instant::now();
/// let (mut ledger, key) = (Ledger::new(1_000), IdempotencyKey::of(["A-1"]));
/// let (first, second) = (Lease { owner: 1, epoch: 1 }, Lease { owner: 2, epoch: 1 });
/// let (lease, ttl) = (Duration::from_secs(30), Duration::from_secs(3_600));
///
/// assert_eq!(ledger.lease(key, first, now, lease), Asked::Leased);
/// assert_eq!(ledger.lease(key, second, now, lease), Asked::Busy { until: now + lease });
/// assert!(ledger.release(key, first)); // it failed: as if it had never been
/// assert_eq!(ledger.lease(key, second, now, lease), Asked::Leased);
/// ledger.done(key, second, now, ttl);
/// assert_eq!(ledger.lease(key, first, now, lease), Asked::Done);
/// ```
#[derive(Debug)]
pub struct Ledger {
    leases: Leases,
    /// So many leases are there before those that have run out are looked for.
    sweep_at: usize,
    done: DoneKeys,
    done_max: usize,
    /// Has noted all keys that are, or were, leased or done.
    rising: Rising,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    lease: Lease,
    /// `None`: until it is let go.
    until: Option<Instant>,
    /// The key was not among those that are done when it was leased. It is not since: whoever says that it is takes the lease away.
    is_new: bool,
}

impl Held {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// What somebody else is told who asks now.
    fn keeps_off(&self, other: Lease, now: Instant) -> Option<Asked> {
        let takes_over = self.lease.owner == other.owner && self.lease.epoch <= other.epoch;
        let until = self.until.unwrap_or_else(|| after(now, Duration::MAX));
        (!self.is_over(now) && !takes_over).then_some(Asked::Busy { until })
    }
}

/// Who has, or asks for, a lease. An owner has one attempt at a key at a time: asked for again in its epoch, its lease lasts from then on; a later epoch of the same owner takes over from an earlier
/// one, and what the earlier one says from then on changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Who.
    pub owner: u64,
    /// Rising with each attempt of an owner.
    pub epoch: u64,
}

/// What became of asking for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It is the asker's.
    Leased,
    /// The key is done.
    Done,
    /// Somebody else has it, until then at the longest.
    Busy {
        /// When it ends by itself.
        until: Instant,
    },
}

/// Whether who says that a key is done still had its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// It had.
    InTime,
    /// The lease had run out or was another's: the key is done all the same, and may have been done twice.
    Late,
}

impl Ledger {
    /// Remembers so many keys as done; 0 counts as 1, and more than a thousand million as that.
    #[must_use]
    pub fn new(done_max: usize) -> Self {
        Self {
            leases: Leases::default(),
            sweep_at: SWEEP_MIN,
            done: DoneKeys::new(),
            done_max: done_max.clamp(1, DONE_MAX),
            rising: Rising::default(),
        }
    }

    /// absent → leased. A lease that has run out is none.
    pub fn lease(&mut self, key: IdempotencyKey, lease: Lease, now: Instant, length: Duration) -> Asked {
        self.take(key, (lease, Some(after(now, length))), || now)
    }

    /// absent → leased, until it is [done](Self::done) or [released](Self::release): whoever asks must see to that. Who comes meanwhile is told of a time far ahead.
    /// `now` is asked only about a key that is known, since a reading of the clock is a good part of what a new one costs.
    #[inline]
    pub fn hold(&mut self, key: IdempotencyKey, lease: Lease, now: impl FnOnce() -> Instant) -> Asked {
        self.take(key, (lease, None), now)
    }

    #[inline]
    fn take(
        &mut self,
        key: IdempotencyKey,
        (lease, until): (Lease, Option<Instant>),
        now: impl FnOnce() -> Instant,
    ) -> Asked {
        // Most keys are ids that rise: above all others it is none of them, and is not looked for.
        let (done, other) = match self.rising.note(key) {
            true => (None, None),
            false => (self.done.until(key), self.leases.get(key)),
        };
        let (is_done, is_leased) = (done.is_some(), other.is_some());
        // Else as a rule nobody asks what time it is.
        if is_done || is_leased || self.leases.len() >= self.sweep_at {
            let now = now();
            if done.is_some_and(|until| until > now) {
                return Asked::Done;
            }
            if let Some(busy) = other.and_then(|other| other.keeps_off(lease, now)) {
                return busy;
            }
            self.sweep(now);
        }
        // Made here in one go: what is changed a moment before it is moved is slow to be moved.
        let held = Held { lease, until, is_new: !is_done };
        match is_leased {
            true => self.leases.put(key, held),
            false => self.leases.put_new(key, held),
        }
        Asked::Leased
    }

    /// leased → done; whatever the state was: an effect that has happened has happened.
    pub fn done(&mut self, key: IdempotencyKey, lease: Lease, now: Instant, ttl: Duration) -> Marked {
        let held = self.leases.remove(key);
        let is_its_own = held.is_some_and(|held| held.lease == lease && !held.is_over(now));
        self.remember(key, after(now, ttl), now, held.is_some_and(|held| held.is_new));
        match is_its_own {
            true => Marked::InTime,
            false => Marked::Late,
        }
    }

    /// leased → absent. `false`: it was no longer this one's, and nothing has changed.
    pub fn release(&mut self, key: IdempotencyKey, lease: Lease) -> bool {
        let is_its_own = self.leases.get(key).is_some_and(|held| held.lease == lease);
        if is_its_own {
            self.leases.remove(key);
        }
        is_its_own
    }

    /// Done until then, as it was known before. In the order in which they are given, the first are forgotten first.
    pub fn restore(&mut self, key: IdempotencyKey, until: Instant, now: Instant) {
        if self.leases.len() > 0 {
            self.leases.is_new_no_more(key);
        }
        self.remember(key, until, now, false);
    }

    fn remember(&mut self, key: IdempotencyKey, until: Instant, now: Instant, is_new: bool) {
        if until <= now {
            return;
        }
        if is_new {
            self.done.put_new(key, until);
        } else {
            _ = self.rising.note(key);
            self.done.put(key, until);
        }
        // What has run out at the front, and what is too many: as many steps as were taken before, over all calls.
        self.done.forget_while(|until, keys| until <= now || keys > self.done_max);
    }

    /// Whether the key is done now.
    #[must_use]
    #[inline]
    pub fn is_done(&self, key: IdempotencyKey, now: Instant) -> bool {
        self.done.until(key).is_some_and(|until| until > now)
    }

    /// Whether somebody has the key now.
    #[must_use]
    pub fn is_leased(&self, key: IdempotencyKey, now: Instant) -> bool {
        self.leases.get(key).is_some_and(|held| !held.is_over(now))
    }

    /// Keys that are remembered as done; some may have run out.
    #[must_use]
    pub fn done_keys(&self) -> usize {
        self.done.len()
    }

    fn sweep(&mut self, now: Instant) {
        if self.leases.len() < self.sweep_at {
            return;
        }
        self.leases.retain(|held| !held.is_over(now));
        self.sweep_at = SWEEP_MIN.max(self.leases.len() * 2);
    }
}

/// Below that there is nothing to be gained by looking.
const SWEEP_MIN: usize = 64;
/// Their numbers are of four bytes.
const DONE_MAX: usize = 1_000_000_000;

#[cfg(test)]
mod tests;
