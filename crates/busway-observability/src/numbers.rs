//! Snapshots: what a bus keeps account of anyway, as it is when somebody looks. Plain numbers, so that who reads them knows no engine.

use std::sync::Arc;
use std::time::Duration;

use crate::signal::Circuit;

/// Where snapshots come from: a bus.
pub trait Source: Send + Sync + 'static {
    /// Whether it is still there.
    fn is_there(&self) -> bool;

    /// How things are now; `None` when the bus is gone. It may read the store: not for a thread that must not wait.
    fn numbers(&self) -> Option<BusNumbers>;
}

/// A bus at one moment. Counts are since it was started in this process.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct BusNumbers {
    /// Publishes that were accepted.
    pub published: u64,
    /// Publishes that were refused.
    pub refused: u64,
    /// Accepted publishes that no subscription was offered.
    pub unrouted: u64,
    /// Events that were accepted in memory for a stream, and lost there.
    pub unstored: u64,
    /// Subscriptions that have not stopped.
    pub subscriptions: Vec<SubscriptionNumbers>,
    /// What those that have stopped counted, summed by [`CountSums`](crate::CountSums). Each subscription is in one of the two, never in both or in neither. Of those that ended
    /// when [`PAST_SERIES_MAX`](crate::PAST_SERIES_MAX) series were here already, and none of theirs, it says nothing.
    pub past: Vec<SubscriptionNumbers>,
    /// Channels with a breaker, those that were used last.
    pub channels: Vec<ChannelNumbers>,
    /// The store, if there is one.
    pub store: Option<StoreNumbers>,
    /// Configurations that came while it ran.
    pub reloads: ReloadNumbers,
    /// Whether it is being shut down, or was: it accepts no publish from outside.
    pub is_closing: bool,
}

/// What became of configurations that came while a bus ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReloadNumbers {
    /// Put in force, and something differed.
    pub applied: u64,
    /// Refused.
    pub refused: u64,
    /// As many things are wrong with the last one, which was refused; 0 when it is in force.
    pub problems: u64,
}

/// Which kind a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Kind {
    /// In memory.
    #[default]
    Ephemeral,
    /// With a cursor in the store.
    Durable,
}

/// A subscription at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct SubscriptionNumbers {
    /// Which one it is: no other one of its bus has the same, nor will have. Of those without a name it says nothing.
    pub id: u64,
    /// Its name; empty for the sum of all subscriptions of a filter that were given none.
    pub name: Arc<str>,
    /// Its filter.
    pub filter: String,
    /// Its kind.
    pub kind: Kind,
    /// Events that it was offered; 0 of durable ones, which read the log.
    pub offered: u64,
    /// Handled well.
    pub done: u64,
    /// Attempts that failed and were followed, or are to be, by another one. Of those at brokers: that were the last here, whatever the broker makes of it.
    pub failed: u64,
    /// Given up. Of those at brokers: because of an error that does not pass.
    pub dead: u64,
    /// Not for the handler, or duplicates.
    pub skipped: u64,
    /// Attempts that failed and were followed, or are to be, by another one.
    pub retried: u64,
    /// Events that the overflow policy dropped.
    pub dropped: u64,
    /// What that policy is called.
    pub policy: &'static str,
    /// Events whose time to live was over.
    pub expired: u64,
    /// Events that were waiting when the subscription ended.
    pub abandoned: u64,
    /// Events that a stream's cap dropped before they were handled.
    pub lost: u64,
    /// Results of hung handlers, ignored.
    pub late: u64,
    /// Attempts made again because what their transaction read had changed.
    pub conflicts: u64,
    /// Waiting for a handler now.
    pub waiting: u64,
    /// As many may wait; `None` where that has no bound of its own.
    pub capacity: Option<u64>,
    /// With a handler now.
    pub running: u64,
    /// Parked in the store now.
    pub parked: u64,
    /// Hung now.
    pub hung: u64,
    /// Dead letters now.
    pub letters: u64,
    /// Parked because as many dead letters are kept as may be.
    pub no_room: u64,
    /// 1 while as many events are parked as may be: nothing more is read for it then.
    pub parked_full: u64,
    /// Unsettled events of its streams: waiting for it in the store or in memory.
    pub pending: u64,
    /// How long ago the oldest of them was stored; `None` when there is none, or of ephemeral ones.
    pub oldest: Option<Duration>,
    /// Steps of its idempotency, if it is idempotent.
    pub dedup: Option<DedupNumbers>,
}

impl SubscriptionNumbers {
    /// What it has counted so far, without what it measures now.
    #[must_use]
    pub fn counts(&self) -> Self {
        let [waiting, running, parked, hung, letters, no_room, parked_full, pending] = [0; 8];
        let (capacity, oldest) = (None, None);
        let now = Self { waiting, capacity, running, parked, hung, letters, ..self.clone() };
        Self { no_room, parked_full, pending, oldest, ..now }
    }

    /// Adds another one that is counted with it: programs begin and end as many without a name as they like, and groups may share one.
    pub fn join(&mut self, other: &Self) {
        for (sum, count) in [
            (&mut self.offered, other.offered),
            (&mut self.done, other.done),
            (&mut self.failed, other.failed),
            (&mut self.dead, other.dead),
            (&mut self.skipped, other.skipped),
            (&mut self.retried, other.retried),
            (&mut self.dropped, other.dropped),
            (&mut self.expired, other.expired),
            (&mut self.abandoned, other.abandoned),
            (&mut self.lost, other.lost),
            (&mut self.late, other.late),
            (&mut self.conflicts, other.conflicts),
            (&mut self.waiting, other.waiting),
            (&mut self.running, other.running),
            (&mut self.parked, other.parked),
            (&mut self.hung, other.hung),
            (&mut self.letters, other.letters),
            (&mut self.no_room, other.no_room),
            (&mut self.parked_full, other.parked_full),
            (&mut self.pending, other.pending),
        ] {
            *sum = sum.saturating_add(count);
        }
        self.oldest = self.oldest.max(other.oldest);
        self.dedup = match (self.dedup.take(), other.dedup) {
            (Some(one), Some(other)) => Some(one.joined(other)),
            (one, other) => one.or(other),
        };
        self.capacity = self.capacity.zip(other.capacity).map(|(one, other)| one.saturating_add(other));
    }
}

/// Steps of a subscription's idempotency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DedupNumbers {
    /// Duplicates that the local cache knew.
    pub local_hits: u64,
    /// Duplicates that the store knew.
    pub store_hits: u64,
    /// Keys that were new.
    pub misses: u64,
    /// Events that found their key with another one.
    pub busy: u64,
    /// Calls that a shared store did not answer.
    pub unreachable: u64,
    /// Events handled without protection.
    pub passed: u64,
    /// Events handled that the shared store could not be told of.
    pub untold: u64,
}

impl DedupNumbers {
    fn joined(self, other: Self) -> Self {
        Self {
            local_hits: self.local_hits.saturating_add(other.local_hits),
            store_hits: self.store_hits.saturating_add(other.store_hits),
            misses: self.misses.saturating_add(other.misses),
            busy: self.busy.saturating_add(other.busy),
            unreachable: self.unreachable.saturating_add(other.unreachable),
            passed: self.passed.saturating_add(other.passed),
            untold: self.untold.saturating_add(other.untold),
        }
    }
}

/// A channel with a breaker at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelNumbers {
    /// The subscription's name; empty of all that were given none.
    pub subscription: String,
    /// The filter of those without a name, which tells them apart; empty of others.
    pub filter: String,
    /// The topic.
    pub topic: String,
    /// Where its circuit is.
    pub circuit: Circuit,
    /// Calls that were refused.
    pub refused: u64,
    /// Times that it opened.
    pub opened: u64,
    /// Events that wait for it.
    pub waiting: u64,
}

impl ChannelNumbers {
    /// A closed one, of a subscription with a name.
    #[must_use]
    pub const fn new(subscription: String, topic: String) -> Self {
        let filter = String::new();
        Self { subscription, filter, topic, circuit: Circuit::Closed, refused: 0, opened: 0, waiting: 0 }
    }
}

/// A store at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreNumbers {
    /// Bytes of its file that are in use.
    pub used_bytes: u64,
    /// Bytes that its file may have before the map has to grow.
    pub map_bytes: u64,
    /// Commits.
    pub commits: u64,
    /// Requests that these have stored: more than one share a commit.
    pub requests: u64,
    /// Readers at work now.
    pub readers: u64,
    /// For how long the oldest reader has been at work: what was freed since is not used again until it ends.
    pub oldest_reader: Duration,
    /// Whether it has failed: it acknowledges nothing more.
    pub is_faulted: bool,
}
