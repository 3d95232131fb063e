//! What is seen of a bus: its accounts, as plain numbers for who watches it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::sync::{Arc, Weak};
use std::time::Duration;

use busway_observability::{
    BusNumbers, ChannelNumbers, Circuit, DedupNumbers, Health, Kind, Source, StoreNumbers,
    SubscriptionNumbers,
};
use busway_reliability::{BreakerState, Overflow};

use crate::breaker::BreakerStatus;
use crate::bus::{Bus, BusCore, Source as PublishSource};
use crate::durable::DurableCore;
use crate::idempotency::IdempotencyStats;
use crate::stats::State;
use crate::subscription::Entry;

/// A bus, for who watches it. It keeps none alive.
pub(crate) struct Seen(pub(crate) Weak<BusCore>);

impl Source for Seen {
    fn is_there(&self) -> bool {
        self.0.upgrade().is_some_and(|bus| bus.closing.admits(PublishSource::Outside))
    }

    fn numbers(&self) -> Option<BusNumbers> {
        self.0.upgrade().map(|bus| of_bus(&bus))
    }
}

impl Bus {
    /// How well it is, and what somebody should look at. It reads the store for each durable subscription: for a thread that may wait for a read.
    ///
    /// `behind` is how long an event may wait before its subscription is a concern; `None`: however long.
    #[must_use]
    pub fn health(&self, behind: Option<Duration>) -> Health {
        Health::of(Some(&self.numbers()), behind)
    }

    /// Its accounts as plain numbers, as [`Metrics`](busway_observability::Metrics) and [`Health`] read them. It reads the store for each durable
    /// subscription.
    #[must_use]
    pub fn numbers(&self) -> BusNumbers {
        of_bus(self.core())
    }
}

fn of_bus(bus: &Arc<BusCore>) -> BusNumbers {
    bus.sweep();
    let mut numbers = bus.passed();
    let (ephemeral, durable, past) = bus.all_counted();
    numbers.past = past;
    numbers.is_closing = !bus.closing.admits(PublishSource::Outside);
    let mut unnamed: BTreeMap<String, SubscriptionNumbers> = BTreeMap::new();
    for entry in &ephemeral {
        let mut own = of_ephemeral(entry);
        if entry.state() == State::Stopped {
            // Its handlers may still run: it is to be forgotten.
            numbers.past.push(own.counts());
            continue;
        }
        if !own.name.is_empty() {
            numbers.subscriptions.push(own);
            continue;
        }
        match unnamed.entry(std::mem::take(&mut own.filter)) {
            Place::Vacant(place) => {
                own.filter.clone_from(place.key());
                place.insert(own);
            }
            Place::Occupied(mut sum) => sum.get_mut().join(&own),
        }
    }
    numbers.subscriptions.extend(unnamed.into_values());
    numbers.subscriptions.extend(durable.iter().map(|core| of_durable(core)));
    numbers.channels = of_channels(bus);
    numbers.store = bus.log.as_ref().and_then(|log| log.with(of_store));
    numbers
}

/// Those without a name are called nothing here. One for each connection, say: they are counted together, or there would be ever more series.
pub(crate) fn of_ephemeral(entry: &Entry) -> SubscriptionNumbers {
    let (stats, settings) = (entry.stats(), &entry.settings);
    let mut numbers = SubscriptionNumbers::default();
    (numbers.id, numbers.name, numbers.filter) = (entry.id, stats.name, entry.filter.to_string());
    if entry.is_unnamed() {
        numbers.name = "".into();
    }
    let tally = stats.tally;
    (numbers.offered, numbers.dropped) = (tally.offered, tally.dropped);
    (numbers.expired, numbers.abandoned) = (tally.expired, tally.abandoned);
    (numbers.done, numbers.skipped, numbers.retried) = (stats.done, stats.skipped, stats.retried);
    let is_at_broker = entry.awake().is_some_and(|core| core.feed.is_some());
    (numbers.failed, numbers.dead) = match is_at_broker {
        // What fails here for the last time the broker may give to somebody again.
        true => (stats.failed, stats.dead),
        // As of durable ones: what fails is attempted again, or dead.
        false => (stats.retried, stats.dead + stats.failed),
    };
    (numbers.running, numbers.pending) = (stats.running, tally.waiting());
    numbers.waiting = tally.waiting().saturating_sub(stats.running);
    numbers.capacity = u64::try_from(settings.capacity.get()).ok();
    numbers.policy = policy(settings.overflow);
    numbers.dedup = stats.idempotency.as_ref().map(of_dedup);
    numbers
}

fn of_durable(core: &DurableCore) -> SubscriptionNumbers {
    let (stats, lag) = (core.stats(), core.lag());
    let mut numbers = counts_of_durable(core);
    (numbers.waiting, numbers.running) = (stats.ready, stats.running);
    (numbers.parked, numbers.hung) = (stats.parked, stats.hung);
    numbers.parked_full = u64::from(core.is_parked_full());
    numbers.letters = core.log.with(|store| store.dead_letter_count(core.number)).unwrap_or_default();
    (numbers.pending, numbers.oldest) = (lag.events, lag.age);
    numbers
}

/// What a durable subscription has counted, without a look into the store.
pub(crate) fn counts_of_durable(core: &DurableCore) -> SubscriptionNumbers {
    let stats = core.stats();
    let mut numbers = SubscriptionNumbers::default();
    (numbers.id, numbers.name, numbers.filter) = (core.id, stats.name, core.filter.to_string());
    numbers.kind = Kind::Durable;
    (numbers.done, numbers.failed, numbers.dead) = (stats.done, stats.failed, stats.dead);
    // Those that were not given up are attempted again.
    (numbers.skipped, numbers.retried) = (stats.skipped, stats.failed);
    (numbers.lost, numbers.late, numbers.conflicts) = (stats.lost, stats.late, stats.conflicts);
    (numbers.expired, numbers.no_room) = (stats.expired, stats.no_room);
    numbers.dedup = stats.idempotency.as_ref().map(of_dedup);
    numbers
}

fn of_dedup(stats: &IdempotencyStats) -> DedupNumbers {
    let mut numbers = DedupNumbers::default();
    (numbers.local_hits, numbers.store_hits, numbers.misses) =
        (stats.local_hits, stats.store_hits, stats.misses);
    (numbers.busy, numbers.unreachable) = (stats.busy, stats.unreachable);
    (numbers.passed, numbers.untold) = (stats.passed, stats.untold);
    numbers
}

/// Those without a name are called nothing here either.
fn of_channels(bus: &BusCore) -> Vec<ChannelNumbers> {
    let mut numbers: Vec<ChannelNumbers> = Vec::new();
    for core in bus.durable.list() {
        numbers.extend(core.breakers().iter().map(of_channel));
    }
    for guard in bus.guards() {
        let unnamed = guard.unnamed();
        let statuses = guard.statuses(|topic| guard.aside_on(topic));
        numbers.extend(statuses.iter().map(|status| {
            let mut own = of_channel(status);
            if let Some(filter) = &unnamed {
                (own.subscription, own.filter) = (String::new(), filter.to_string());
            }
            own
        }));
    }
    numbers
}

fn of_channel(status: &BreakerStatus) -> ChannelNumbers {
    let mut numbers = ChannelNumbers::new(status.subscription.to_string(), status.topic.to_string());
    numbers.circuit = circuit(status.state);
    (numbers.refused, numbers.opened) = (status.counts.refused, status.counts.opened);
    numbers.waiting = status.waiting;
    numbers
}

pub(crate) const fn circuit(state: BreakerState) -> Circuit {
    match state {
        BreakerState::Closed => Circuit::Closed,
        BreakerState::Open => Circuit::Open,
        BreakerState::HalfOpen => Circuit::HalfOpen,
    }
}

fn of_store(store: &busway_persistence::Store) -> StoreNumbers {
    let figures = store.figures();
    let mut numbers = StoreNumbers::default();
    (numbers.used_bytes, numbers.map_bytes) = (figures.used_bytes, figures.map_bytes);
    (numbers.commits, numbers.requests) = (figures.commits, figures.requests);
    (numbers.readers, numbers.oldest_reader) = (figures.readers, figures.oldest_reader.unwrap_or_default());
    numbers.is_faulted = store.fault().is_some();
    numbers
}

const fn policy(overflow: Overflow) -> &'static str {
    match overflow {
        Overflow::Block(_) => "block",
        Overflow::DropNewest => "drop_newest",
        Overflow::DropOldest => "drop_oldest",
        Overflow::Coalesce => "coalesce",
        Overflow::Disconnect => "disconnect",
    }
}
