//! From settings to what the engine is given.

use std::num::NonZeroU32;
use std::time::Duration;

use busway_engine::{
    AtCap, Breaker, BusBuilder, DeadLetterPolicy, Durability, Fallback, Retention, Settings, StartAt, Stream,
};
use busway_event::Priority;
use busway_reliability::{
    Idempotency, OnNoKey, OnUnreachable, Order, Overflow, Rate, RateError, Retry, RetryBudget,
};
use busway_router::GroupRule;

use crate::model::{
    BreakerFallback, BreakerSection, BusSection, CapPolicy, DeadLetterKeeping, DeadLettersSection,
    GroupSharing, IdempotencySection, KeyFrom, Limits, OrderBy, Overflowing, PriorityLevels, RateSection,
    RetryBudgetSection, RetrySection, StartingAt, StreamSection, Surviving, WhileUnreachable, WithoutKey,
};
use crate::read::Given;
use crate::value::Level;

impl StreamSection {
    /// The stream of this name.
    pub(crate) fn stream(&self, name: &str) -> Stream {
        let captures = self.capture.iter();
        let mut stream =
            captures.fold(Stream::new(name), |stream, filter| stream.capture(filter.value().as_str()));
        if let Some(partitions) = &self.partitions {
            stream = stream.partitions(u16::try_from(partitions.number()).unwrap_or(u16::MAX));
        }
        if let Some(durability) = &self.durability {
            stream = stream.durability((*durability.value()).into());
        }
        let mut retention = Retention::forever();
        if let Some(section) = &self.retention {
            if let Some(age) = &section.age {
                retention = retention.age(age.duration());
            }
            if let Some(bytes) = &section.bytes {
                retention = retention.bytes(bytes.number());
            }
            if let Some(count) = &section.count {
                retention = retention.count(count.number());
            }
            if let Some(cap) = &section.cap {
                let then = match cap.then.as_ref().map(Given::value) {
                    Some(CapPolicy::DropOldest) => AtCap::DropOldest,
                    Some(CapPolicy::RefusePublish) | None => AtCap::RefusePublish,
                };
                retention = retention.cap(cap.bytes.number(), then);
            }
        }
        stream.retention(retention)
    }
}

impl From<Surviving> for Durability {
    fn from(surviving: Surviving) -> Self {
        match surviving {
            Surviving::Memory => Self::Memory,
            Surviving::Synced => Self::Synced,
        }
    }
}

impl From<GroupSharing> for GroupRule {
    fn from(sharing: GroupSharing) -> Self {
        match sharing {
            GroupSharing::RoundRobin => Self::RoundRobin,
            GroupSharing::LeastLoaded => Self::LeastLoaded,
        }
    }
}

impl From<StartingAt> for StartAt {
    fn from(start: StartingAt) -> Self {
        match start {
            StartingAt::Latest => Self::Latest,
            StartingAt::Earliest => Self::Earliest,
        }
    }
}

impl From<OrderBy> for Order {
    fn from(order: OrderBy) -> Self {
        match order {
            OrderBy::Lane => Self::Lane,
            OrderBy::Key => Self::Key,
            OrderBy::None => Self::None,
        }
    }
}

impl Limits {
    /// As the engine has them.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::new();
        if let Some(concurrency) = &self.concurrency {
            settings = settings.concurrency(concurrency.size());
        }
        if let Some(order) = &self.order {
            settings = settings.order((*order.value()).into());
        }
        if let Some(capacity) = &self.capacity {
            settings = settings.capacity(capacity.size());
        }
        if let Some(bytes) = &self.capacity_bytes {
            settings = settings.capacity_bytes(bytes.size());
        }
        if let Some(overflow) = self.overflowing() {
            settings = settings.overflow(overflow);
        }
        if let Some(share) = &self.share {
            let [p0, p1, p2, p3] = share.levels();
            settings = settings.share([p0.unwrap_or(8), p1.unwrap_or(4), p2.unwrap_or(2), p3.unwrap_or(1)]);
        }
        let at_once = self.at_once.iter().flat_map(|levels| Priority::ALL.into_iter().zip(levels.levels()));
        for (priority, level) in at_once {
            if let Some(level) = level {
                settings = settings.priority_limit(priority, level);
            }
        }
        if let Some(ttl) = &self.ttl {
            for (priority, ttl) in Priority::ALL.into_iter().zip([&ttl.p0, &ttl.p1, &ttl.p2, &ttl.p3]) {
                if let Some(ttl) = ttl {
                    settings = settings.ttl(priority, ttl.limit());
                }
            }
        }
        if let Some(parked) = &self.parked_max {
            settings = settings.parked_max(parked.size());
        }
        match &self.traces {
            Some(traces) => settings.traces(traces.size()),
            None => settings,
        }
    }

    fn overflowing(&self) -> Option<Overflow> {
        Some(match self.overflow.as_ref()?.value() {
            Overflowing::Block => {
                Overflow::Block(self.block_deadline.as_ref().map(|deadline| deadline.duration()))
            }
            Overflowing::DropNewest => Overflow::DropNewest,
            Overflowing::DropOldest => Overflow::DropOldest,
            Overflowing::Coalesce => Overflow::Coalesce,
            Overflowing::Disconnect => Overflow::Disconnect,
        })
    }
}

impl PriorityLevels {
    fn levels(&self) -> [Option<u32>; 4] {
        [&self.p0, &self.p1, &self.p2, &self.p3].map(|level| Some(level.as_ref()?.small()))
    }
}

impl RetrySection {
    /// As the engine has it, of a durable subscription or of one in memory.
    pub(crate) fn retry(&self, is_durable: bool) -> Retry {
        let delays: Vec<Duration> = self.delays.iter().map(|delay| delay.duration()).collect();
        let mut retry = match (delays.is_empty(), is_durable) {
            (false, _) => Retry::listed(&delays),
            (true, true) => Retry::default(),
            (true, false) => Retry::ephemeral(),
        };
        if let Some(delay) = &self.first_delay {
            retry = retry.first_delay(delay.duration());
        }
        if let Some(delay) = &self.longest_delay {
            retry = retry.longest_delay(delay.duration());
        }
        match &self.attempts {
            Some(attempts) => retry.attempts(attempts.small()),
            None => retry,
        }
    }
}

impl RetryBudgetSection {
    pub(crate) fn budget(&self) -> RetryBudget {
        let budget = RetryBudget::percent(self.percent.small());
        match &self.per_second {
            Some(retries) => budget.at_least(retries.small()),
            None => budget,
        }
    }
}

impl BreakerSection {
    pub(crate) fn breaker(&self) -> Breaker {
        let mut breaker = Breaker::default();
        if let Some(failures) = &self.opens_after {
            breaker = breaker.opens_after(failures.small());
        }
        if let Some(rate) = &self.rate {
            let percent = u8::try_from(rate.percent.number()).unwrap_or(u8::MAX);
            breaker = breaker.opens_at_rate(percent, rate.calls.small(), rate.window.duration());
        }
        if let Some(time) = &self.open_for {
            breaker = breaker.open_for(time.duration());
        }
        if let Some(time) = &self.open_for_longest {
            breaker = breaker.open_for_longest(time.duration());
        }
        if let Some(probes) = &self.max_probes {
            breaker = breaker.max_probes(probes.small());
        }
        if let Some(successes) = &self.required_successes {
            breaker = breaker.required_successes(successes.small());
        }
        match self.fallback.as_ref().map(Given::value) {
            Some(BreakerFallback::AckAndRetryLater) => breaker.fallback(Fallback::ack_and_retry_later()),
            Some(BreakerFallback::DeadLetter) => breaker.fallback(Fallback::dead_letter()),
            Some(BreakerFallback::Pause) | None => breaker,
        }
    }
}

impl IdempotencySection {
    /// But for its store, which the bus has.
    pub(crate) fn idempotency(&self) -> Result<Idempotency, RateError> {
        let fields = self.fields.iter().map(|field| field.value().as_str());
        let mut once = match self.by.value() {
            KeyFrom::Id => Idempotency::by_id(),
            KeyFrom::Metadata => Idempotency::by_metadata(fields),
            KeyFrom::Payload => Idempotency::by_pointers(fields),
        };
        if let Some(ttl) = &self.ttl {
            once = once.ttl(ttl.duration());
        }
        if let Some(keys) = &self.keys_max {
            once = once.keys_max(keys.size());
        }
        if let Some(keys) = &self.local_capacity {
            once = once.local_capacity(keys.number());
        }
        if let Some(ttl) = &self.local_ttl {
            once = once.local_ttl(ttl.duration());
        }
        if let Some(WithoutKey::Retry) = self.on_no_key.as_ref().map(Given::value) {
            once = once.on_no_key(OnNoKey::Retry);
        }
        if let Some(lease) = &self.lease {
            once = once.lease(lease.duration());
        }
        if let Some(WhileUnreachable::Pass) = self.on_unreachable.as_ref().map(Given::value) {
            once = once.on_unreachable(OnUnreachable::Pass);
        }
        Ok(match &self.retry_rate {
            Some(rate) => {
                let (rate, burst) = rate.rate()?;
                once.retry_rate(rate, burst)
            }
            None => once,
        })
    }
}

impl RateSection {
    /// The rate, and how many at once.
    pub(crate) fn rate(&self) -> Result<(Rate, NonZeroU32), RateError> {
        let per = self.per.as_ref().map_or(Duration::from_secs(1), |per| per.duration());
        let rate = Rate::new(self.events.small(), per)?;
        let burst = self.burst.as_ref().map_or(1, |burst: &Given<Level>| burst.small());
        Ok((rate, NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN)))
    }
}

impl DeadLettersSection {
    pub(crate) fn policy(&self) -> DeadLetterPolicy {
        let mut policy = match self.policy.as_ref().map(Given::value) {
            Some(DeadLetterKeeping::Discard) => DeadLetterPolicy::discard(),
            Some(DeadLetterKeeping::Keep) | None => DeadLetterPolicy::keep(),
        };
        if let Some(letters) = &self.capacity {
            policy = policy.capacity(letters.number());
        }
        if let Some(age) = &self.expire_after {
            policy = policy.expire_after(age.duration());
        }
        match self.with_expired.as_ref().is_some_and(|with| *with.value()) {
            true => policy.with_expired(),
            false => policy,
        }
    }
}

impl BusSection {
    /// Tells a builder all of it.
    pub(crate) fn configure(&self, mut builder: BusBuilder) -> BusBuilder {
        if let Some(producer) = &self.producer {
            builder = builder.producer(producer.as_str());
        }
        if let Some(bytes) = &self.payload_bytes_max {
            builder = builder.payload_bytes_max(bytes.size());
        }
        if let Some(deadline) = &self.publish_deadline {
            builder = builder.publish_deadline(deadline.duration());
        }
        if let Some(durability) = &self.durability {
            builder = builder.durability((*durability.value()).into());
        }
        if let Some(idle) = &self.abandoned_after {
            builder = builder.abandoned_after(idle.duration());
        }
        if let Some(window) = &self.id_window {
            builder = builder.id_window(window.duration());
        }
        if let Some(bytes) = &self.store_bytes_max {
            builder = builder.store_bytes_max(bytes.number());
        }
        if let Some(bytes) = &self.store_map_bytes {
            builder = builder.store_map_bytes(bytes.size());
        }
        if let Some(bytes) = &self.store_reserve_bytes {
            builder = builder.store_reserve_bytes(bytes.number());
        }
        if self.scheduled_max.is_none() && self.scheduled_bytes_max.is_none() {
            return builder;
        }
        let events = self.scheduled_max.as_ref().map_or(SCHEDULED_MAX, |events| events.number());
        let bytes = self.scheduled_bytes_max.as_ref().map_or(SCHEDULED_BYTES_MAX, |bytes| bytes.number());
        builder.scheduled_max(events, bytes)
    }
}

/// The engine's, for the one of the two that is not given.
const SCHEDULED_MAX: u64 = 1_000_000;
const SCHEDULED_BYTES_MAX: u64 = 1 << 30;
