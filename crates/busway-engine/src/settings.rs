//! Settings of a subscription, from three levels: bus, filter, subscription. The nearest one wins, and `describe()` says
//! which.

mod levels;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use busway_event::{Filter, Priority};
use busway_reliability::{Order, Overflow, Retry, RetryBudget, RetryProblem, TimeToLive};

pub(crate) use self::levels::{Effective, Levels, PARKED_MAX_DEFAULT};
use crate::dead_letters::DeadLetterPolicy;

/// Settings that may or may not be given at a level. Give them for the whole bus, for all subscriptions within a filter, or
/// on a subscription itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    capacity: Option<usize>,
    capacity_bytes: Option<usize>,
    overflow: Option<Overflow>,
    order: Option<Order>,
    concurrency: Option<usize>,
    limits: [Option<NonZeroU32>; 4],
    share: Option<[NonZeroU32; 4]>,
    ttl: [Option<Wait>; 4],
    traces: Option<usize>,
    parked_max: Option<usize>,
    retry: Option<Retry>,
    retry_budget: Option<Budget>,
    dead_letters: Option<DeadLetterPolicy>,
}

impl Settings {
    /// Nothing set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Events that may wait in each queue of the subscription: one queue a priority, one in all under [`Order::Key`]. With
    /// a concurrency above 1 as many again may wait for their lane. Default 64, at least 1.
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = Some(events);
        self
    }

    /// Bytes that waiting events may weigh together (`EventType::weight`); events below 1 KiB do not count. Default 64 MiB,
    /// at least 1.
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.capacity_bytes = Some(bytes);
        self
    }

    /// What happens when a queue is full. Default [`Overflow::DropNewest`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// Which events run one after another. Default [`Order::Lane`].
    pub fn order(mut self, order: Order) -> Self {
        self.order = Some(order);
        self
    }

    /// Events handled at once. Default 1, at least 1, at most 65,536.
    pub fn concurrency(mut self, events: usize) -> Self {
        self.concurrency = Some(events);
        self
    }

    /// Events of a priority handled at once; the concurrency also holds. Defaults 128, 16, 8, 8; at least 1.
    pub fn priority_limit(mut self, priority: Priority, events: u32) -> Self {
        if let Some(limit) = self.limits.get_mut(priority.index()) {
            *limit = NonZeroU32::new(events.max(1));
        }
        self
    }

    /// How often each priority is served when all wait. Default 8:4:2:1; a weight is at least 1, so every priority moves.
    pub fn share(mut self, weights: [u32; 4]) -> Self {
        self.share = Some(weights.map(|weight| NonZeroU32::new(weight).unwrap_or(NonZeroU32::MIN)));
        self
    }

    /// How long events of a priority may wait when they bring no time to live of their own; `None` for ever. Defaults P0
    /// 30 s, P1 300 s, P2 and P3 for ever. Of a bus or a filter it is for ephemeral subscriptions: a durable one has what it
    /// [says itself](crate::DurableBuilder::ttl), by default for ever.
    pub fn ttl(mut self, priority: Priority, ttl: Option<Duration>) -> Self {
        if let Some(slot) = self.ttl.get_mut(priority.index()) {
            *slot = Some(ttl.map_or(Wait::ForEver, Wait::AtMost));
        }
        self
    }

    /// Of a durable subscription: events that may be parked, for they failed or wait behind one that did. With so many nothing more is read, a redrive
    /// waits, and somebody is [told](busway_observability::Signal::ParkedFull). Default 1,000,000, at least 1.
    pub fn parked_max(mut self, events: usize) -> Self {
        self.parked_max = Some(events);
        self
    }

    /// Of a durable subscription: how often a failing event is attempted, and how far apart. Default: 16 attempts, 200 ms to 60 s, which is 8 minutes at
    /// most. Not longer than its streams keep events by their age: subscribing says so. Ephemeral subscriptions attempt again what they are
    /// asked to themselves.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// How much of a subscription's traffic may be retries; `None` for no bound, which is the default. It holds for whoever retries: durable subscriptions, those that
    /// [ask for it](crate::SubscribeBuilder::retry) in memory, and those at a broker, but for handlers that take batches there.
    pub fn retry_budget(mut self, budget: impl Into<Option<RetryBudget>>) -> Self {
        self.retry_budget = Some(budget.into().map_or(Budget::Unbounded, Budget::Of));
        self
    }

    /// Of a durable subscription: what becomes of events that are given up. Default: they are kept, for ever and up to 1,000,000.
    pub fn dead_letters(mut self, policy: DeadLetterPolicy) -> Self {
        self.dead_letters = Some(policy);
        self
    }

    /// The time to live that these alone say: that of a durable subscription. A pause must not expire acknowledged events for what somebody said of all.
    pub(crate) fn own_ttl(&self) -> TimeToLive {
        let own = |ttl: TimeToLive, priority: Priority| {
            let said = self.ttl.get(priority.index()).copied().flatten();
            ttl.with(priority, said.and_then(Wait::limit))
        };
        Priority::ALL.into_iter().fold(TimeToLive::none(), own)
    }

    /// Whether these bound retries themselves.
    pub(crate) fn has_budget(&self) -> bool {
        self.retry_budget.and_then(Budget::limit).is_some()
    }

    /// Everything that is wrong with them.
    pub(crate) fn problems(&self) -> Vec<RetryProblem> {
        let retry = self.retry.iter().flat_map(Retry::problems);
        let budget = self.retry_budget.and_then(Budget::limit);
        retry.chain(budget.iter().flat_map(RetryBudget::problems)).collect()
    }

    /// Keeps the chain traces of the last `deliveries`: which middleware took how long, and who cut it short. Default 0, none:
    /// taking times costs two clock readings a node. At most 1,024.
    pub fn traces(mut self, deliveries: usize) -> Self {
        self.traces = Some(deliveries);
        self
    }
}

/// How much of the traffic may be retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Budget {
    Unbounded,
    Of(RetryBudget),
}

impl Budget {
    const fn limit(self) -> Option<RetryBudget> {
        match self {
            Self::Unbounded => None,
            Self::Of(budget) => Some(budget),
        }
    }
}

/// How long an event may wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    ForEver,
    AtMost(Duration),
}

impl Wait {
    const fn limit(self) -> Option<Duration> {
        match self {
            Self::ForEver => None,
            Self::AtMost(limit) => Some(limit),
        }
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForEver => f.write_str("for ever"),
            Self::AtMost(limit) => limit.fmt(f),
        }
    }
}

/// The level that a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// busway's own default.
    Default,
    /// The bus.
    Bus,
    /// The stream.
    Stream,
    /// Settings for this filter.
    Filter(Filter),
    /// The subscription itself.
    Subscription,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Bus => f.write_str("bus"),
            Self::Stream => f.write_str("stream"),
            Self::Filter(filter) => write!(f, "filter {filter}"),
            Self::Subscription => f.write_str("subscription"),
        }
    }
}

/// A setting in force, with where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Its value, for people to read.
    pub value: String,
    /// The level that it came from.
    pub origin: Origin,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.name, self.value, self.origin)
    }
}

/// A durable subscription waits in the log: it has no queues that could be full, and no time to live but its [own](Settings::own_ttl).
pub(crate) fn is_for_durable(setting: &Setting) -> bool {
    !matches!(setting.name, "capacity" | "capacity_bytes" | "overflow") && !setting.name.starts_with("ttl_")
}

/// An ephemeral one parks nothing and keeps no dead letters, and its retries are its own: with them it has a budget.
pub(crate) fn is_for_ephemeral(setting: &Setting, is_retried: bool) -> bool {
    match setting.name {
        "parked_max" | "retry" | "dead_letters" => false,
        "retry_budget" => is_retried,
        _ => true,
    }
}
