//! What can be counted of a durable subscription.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::idempotency::IdempotencyStats;
use crate::stats::{LastFailure, State};

/// A durable subscription at one moment. Attempts are counted since it began in this process; what waits is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DurableStats {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is in its life.
    pub state: State,
    /// Whether it attempts its events one by one, because processes died of them.
    pub pace: Pace,
    /// Attempts that were done.
    pub done: u64,
    /// Attempts that failed, or asked for a later time.
    pub failed: u64,
    /// Events that were given up, as dead letters.
    pub dead: u64,
    /// Of them: those that it set aside because processes died of them, one after the other.
    pub quarantined: u64,
    /// Events that were not for this handler.
    pub skipped: u64,
    /// Events whose time to live was over before an attempt began. Where the subscription keeps them, they are among the dead too.
    pub expired: u64,
    /// Attempts that were cut short: their events are attempted again, and the attempt is not charged to them.
    pub cut_short: u64,
    /// Attempts that were made again because what their transaction read had changed before it was stored; they count as one.
    pub conflicts: u64,
    /// Results of handlers that were hung: they came too late and were ignored, the attempt had failed. See `.deadline(…)`.
    pub late: u64,
    /// Handlers that are hung now: they have overrun their deadline, could not be cancelled, and still run. Something is wrong with them.
    pub hung: u64,
    /// Events that were gone before they were handled, because a stream at its cap dropped its oldest.
    pub lost: u64,
    /// Events with a handler.
    pub running: u64,
    /// Events in hand that wait for a handler.
    pub ready: u64,
    /// Events that failed and wait for another attempt, or wait behind such an one.
    pub parked: u64,
    /// Of the dead: those that were let go, because the subscription discards what it gives up.
    pub discarded: u64,
    /// Dead letters that were redriven and are handled.
    pub replayed: u64,
    /// Of the parked: those that are due, and wait because as many are attempted again as the retry budget allows.
    pub over_budget: u64,
    /// Of the parked: those that are to be given up, and wait because as many dead letters are kept as may be. Their lanes have stopped.
    pub no_room: u64,
    /// Steps of its idempotency, when it [is idempotent](crate::DurableBuilder::idempotent).
    pub idempotency: Option<IdempotencyStats>,
    /// The last event that was not handled well.
    pub last_failure: Option<LastFailure>,
}

/// How a durable subscription goes about its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pace {
    /// As many at once as its settings say.
    Usual,
    /// One at a time, each marked in the store before its attempt: two processes died, one after the other, without getting on.
    OneByOne,
}

impl fmt::Display for DurableStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, state, done, failed, dead, running, ready, parked, .. } = self;
        write!(
            f,
            "{name} ({state}): {done} done, {failed} failed, {dead} dead, {running} running, {ready} ready, {parked} parked"
        )?;
        if self.expired > 0 {
            write!(f, ", {} expired", self.expired)?;
        }
        if self.hung > 0 {
            write!(f, ", {} hung", self.hung)?;
        }
        match self.pace {
            Pace::Usual => Ok(()),
            Pace::OneByOne => f.write_str(", one by one"),
        }
    }
}

/// How far a durable subscription is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// Events of its streams that it has not settled. Those that it has not looked at yet count whether its filter wants them or
    /// not.
    pub events: u64,
    /// How long ago the store took the oldest of them, by the clocks of bus and publisher; `None` when there is none.
    pub age: Option<Duration>,
}
