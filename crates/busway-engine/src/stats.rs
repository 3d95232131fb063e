//! What can be counted: statistics of subscriptions and of the bus.

use std::fmt;
use std::sync::Arc;

use busway_event::{EventId, Timestamp};
use busway_reliability::Tally;

use crate::durable::DurableStats;
use crate::idempotency::IdempotencyStats;

/// Where a subscription is in its life. It only moves downwards, but for pause and resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Events are handled.
    Running,
    /// Events are taken in, none is started.
    Paused,
    /// Nothing new is routed to it; what waits is handled.
    Draining,
    /// Over.
    Stopped,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        })
    }
}

/// The account of a subscription at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionStats {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is in its life.
    pub state: State,
    /// `offered = delivered + dropped + expired + abandoned + waiting`.
    pub tally: Tally,
    /// Of the delivered: handled well.
    pub done: u64,
    /// Of the delivered: failed.
    pub failed: u64,
    /// Of the delivered: will never succeed.
    pub dead: u64,
    /// Of the delivered: not for this handler.
    pub skipped: u64,
    /// Attempts that failed and behind which another one was to follow, which only the end of the subscription prevents: see [`SubscribeBuilder::retry`](crate::SubscribeBuilder::retry).
    pub retried: u64,
    /// Of the running: those whose next attempt is due, and waits because as many are attempted again as the retry budget allows.
    pub over_budget: u64,
    /// Of the waiting: being handled now.
    pub running: u64,
    /// Bytes that waiting events take of the byte budget.
    pub queued_bytes: usize,
    /// Steps of its idempotency, when it [is idempotent](crate::SubscribeBuilder::idempotent). Of a group: of all its members, those that have left included.
    pub idempotency: Option<IdempotencyStats>,
    /// The last event that was not handled well.
    pub last_failure: Option<LastFailure>,
}

impl fmt::Display for SubscriptionStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name, self.state, self.tally)
    }
}

/// An event that was not handled well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastFailure {
    /// The event.
    pub event: EventId,
    /// Its outcome, at most 512 characters.
    pub error: String,
    /// When, by the wall clock.
    pub at: Timestamp,
}

/// The account of a bus at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusStats {
    /// Publishes that were accepted.
    pub published: u64,
    /// Publishes that were refused.
    pub refused: u64,
    /// Events that were accepted in memory for a stream, and were refused then: lost. They are none of the published ones. Nobody
    /// knows what became of those that were on their way when the storage failed; they count here too.
    pub unstored: u64,
    /// Accepted publishes that no subscription was offered.
    pub unrouted: u64,
    /// One entry a subscription, in the order in which they subscribed. Stopped ones are left out.
    pub subscriptions: Vec<SubscriptionStats>,
    /// Durable subscriptions, in the order in which they began.
    pub durable: Vec<DurableStats>,
    /// Durable subscriptions of the store that nobody has attended for [too long](crate::bus::BusBuilder::abandoned_after), by name: found when
    /// something is published, at most once an hour.
    pub abandoned: Vec<String>,
    /// The sum over all ephemeral subscriptions, those that have stopped included.
    pub tally: Tally,
}

impl BusStats {
    /// The subscription of this name.
    #[must_use]
    pub fn subscription(&self, name: &str) -> Option<&SubscriptionStats> {
        self.subscriptions.iter().find(|stats| *stats.name == *name)
    }

    /// The durable subscription of this name.
    #[must_use]
    pub fn durable(&self, name: &str) -> Option<&DurableStats> {
        self.durable.iter().find(|stats| *stats.name == *name)
    }
}

impl fmt::Display for BusStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "published {}, refused {}, unrouted {}; {}",
            self.published, self.refused, self.unrouted, self.tally
        )?;
        self.subscriptions.iter().try_for_each(|stats| writeln!(f, "  {stats}"))?;
        self.durable.iter().try_for_each(|stats| writeln!(f, "  {stats}"))
    }
}
