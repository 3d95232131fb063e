//! What is read: the accounts of a bus, set as they are whenever somebody renders.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use metrics::{Gauge, Label};

use super::families::{Recorded, Rising};
use super::names;
use super::timed::{labels, labels_of};
use crate::numbers::{BusNumbers, ChannelNumbers, DedupNumbers, Kind, StoreNumbers, SubscriptionNumbers};
use crate::signal::Circuit;
use crate::sums::{self, CountSums};

/// Handles of what was there when it was rendered last.
#[derive(Default)]
pub(super) struct Read {
    bus: Option<OfBus>,
    store: Option<OfStore>,
    counts: HashMap<sums::Series, OfCounts>,
    filters: HashMap<Named, Gauge>,
    gauges: HashMap<Series, Vec<Gauge>>,
    breakers: HashMap<OfChannels, OfBreaker>,
}

/// A subscription with a name; of those without one their filter beside that nothing.
type OfChannels = (String, String);

/// A subscription with a name, and its filter.
type Named = (Arc<str>, String, Kind);

fn named(numbers: &SubscriptionNumbers) -> Option<Named> {
    let named = || (Arc::clone(&numbers.name), numbers.filter.clone(), numbers.kind);
    (!numbers.name.is_empty()).then(named)
}

/// Whose gauges they are: those of a name, whatever its filter, or of a filter, without one.
type Series = (Arc<str>, String, Kind);

fn series(numbers: &SubscriptionNumbers) -> Series {
    let filter = if numbers.name.is_empty() { numbers.filter.clone() } else { String::new() };
    (Arc::clone(&numbers.name), filter, numbers.kind)
}

/// What gauges measure: one subscription as a rule, and several while one takes the place of another, or where groups have one name.
fn sums(all: &[SubscriptionNumbers]) -> HashMap<Series, Cow<'_, SubscriptionNumbers>> {
    let mut sums: HashMap<Series, Cow<'_, SubscriptionNumbers>> = HashMap::new();
    for numbers in all {
        match sums.entry(series(numbers)) {
            Entry::Vacant(place) => _ = place.insert(Cow::Borrowed(numbers)),
            Entry::Occupied(mut place) => place.get_mut().to_mut().join(numbers),
        }
    }
    sums
}

struct OfBus {
    published: Rising,
    refused: Rising,
    unrouted: Rising,
    unstored: Rising,
    reloads: [Rising; 2],
    config_refused: Gauge,
}

struct OfStore {
    used: Gauge,
    map: Gauge,
    commits: Rising,
    readers: Gauge,
    oldest_reader: Gauge,
    is_faulted: Gauge,
}

/// In the order of [`counted`].
struct OfCounts {
    counters: Vec<Rising>,
    dedup: Option<Vec<Rising>>,
}

struct OfBreaker {
    states: [Gauge; 3],
    refused: Rising,
    opened: Rising,
    waiting: Gauge,
}

impl Read {
    pub(super) fn take(&mut self, recorded: &Recorded, numbers: &BusNumbers) {
        let bus = self.bus.get_or_insert_with(|| {
            let counter = |name| recorded.rising(name, Vec::new());
            OfBus {
                published: counter(names::PUBLISHED),
                refused: counter(names::REFUSED),
                unrouted: counter(names::UNROUTED),
                unstored: counter(names::UNSTORED),
                reloads: ["applied", "refused"]
                    .map(|outcome| recorded.rising(names::RELOADS, vec![Label::new("outcome", outcome)])),
                config_refused: recorded.gauge(names::CONFIG_REFUSED, Vec::new()),
            }
        });
        bus.published.rise_to(numbers.published);
        bus.refused.rise_to(numbers.refused);
        bus.unrouted.rise_to(numbers.unrouted);
        bus.unstored.rise_to(numbers.unstored);
        let reloads = numbers.reloads;
        for (counter, count) in bus.reloads.iter_mut().zip([reloads.applied, reloads.refused]) {
            counter.rise_to(count);
        }
        bus.config_refused.set(f64::from(u8::from(reloads.problems > 0)));
        if let Some(store) = &numbers.store {
            self.store.get_or_insert_with(|| OfStore::new(recorded)).take(store);
        }
        self.take_counts(recorded, numbers);
        self.take_filters(recorded, &numbers.subscriptions);
        let sums = sums(&numbers.subscriptions);
        self.gauges.retain(|series, gauges| sums.contains_key(series) || are_gone(gauges));
        for (series, sum) in sums {
            let new = || gauged(&sum).map(|(name, _)| recorded.gauge(name, own_labels(&sum)));
            let gauges = self.gauges.entry(series).or_insert_with(|| new().collect());
            gauges.iter().zip(gauged(&sum)).for_each(|(gauge, (_, value))| gauge.set(value));
        }
        self.take_channels(recorded, &numbers.channels);
    }

    /// The bus is gone: nothing of it is there any more.
    pub(super) fn end(&self) {
        self.filters.values().for_each(|filter| filter.set(0.0));
        self.gauges.values().for_each(|gauges| _ = are_gone(gauges));
        self.breakers.values().for_each(OfBreaker::is_gone);
        self.store.iter().for_each(OfStore::is_gone);
        self.bus.iter().for_each(|bus| bus.config_refused.set(0.0));
    }

    /// What was counted under a name stays, whoever bears it now.
    fn take_counts(&mut self, recorded: &Recorded, numbers: &BusNumbers) {
        let mut sums = CountSums::default();
        numbers.subscriptions.iter().chain(&numbers.past).for_each(|numbers| sums.add(numbers));
        let sums = sums.by_series();
        // Those of names that the bus no longer remembers go: there are too many of them.
        self.counts.retain(|series, _| sums.contains_key(series));
        for (series, sum) in sums {
            if !self.counts.contains_key(series) {
                self.counts.insert(series.clone(), OfCounts::new(recorded, sum));
            }
            let Some(of) = self.counts.get_mut(series) else { continue };
            of.take(recorded, sum);
        }
    }

    /// Which filter a subscription with a name has.
    fn take_filters(&mut self, recorded: &Recorded, subscriptions: &[SubscriptionNumbers]) {
        let there: HashSet<Named> = subscriptions.iter().filter_map(named).collect();
        let gone = self.filters.extract_if(|named, _| !there.contains(named));
        gone.for_each(|(_, filter)| filter.set(0.0));
        for named in there {
            let new = |(name, filter, _): &Named| {
                recorded.gauge(names::SUBSCRIPTION, labels(name, [("filter", filter.clone())]))
            };
            let filter = self.filters.entry(named).or_insert_with_key(new);
            filter.set(1.0);
        }
    }

    /// Topics are many: channels are summed by subscription, and those of subscriptions without a name by filter.
    fn take_channels(&mut self, recorded: &Recorded, channels: &[ChannelNumbers]) {
        let mut sums: HashMap<OfChannels, ([u32; 3], [u64; 3])> = HashMap::new();
        for channel in channels {
            let own = (channel.subscription.clone(), channel.filter.clone());
            let (states, counts) = sums.entry(own).or_default();
            if let Some((_, state)) =
                CIRCUITS.iter().zip(states).find(|(circuit, _)| **circuit == channel.circuit)
            {
                *state += 1;
            }
            let [refused, opened, waiting] = counts;
            *refused += channel.refused;
            *opened += channel.opened;
            *waiting += channel.waiting;
        }
        // A name may come back with the circuits that it had, so it is remembered what was counted of them. Filters without a name are not: there may be ever more.
        self.breakers.retain(|own, of| {
            let is_there = sums.contains_key(own);
            if !is_there {
                of.is_gone();
            }
            is_there || !own.0.is_empty()
        });
        for (own, (states, [refused, opened, waiting])) in sums {
            let of = self.breakers.entry(own).or_insert_with_key(|own| OfBreaker::new(recorded, own));
            of.states.iter().zip(states).for_each(|(gauge, channels)| gauge.set(f64::from(channels)));
            of.refused.rise_by_sum(refused);
            of.opened.rise_by_sum(opened);
            of.waiting.set(as_f64(waiting));
        }
    }
}

impl OfStore {
    fn new(recorded: &Recorded) -> Self {
        let gauge = |name| recorded.gauge(name, Vec::new());
        Self {
            used: gauge(names::STORE_BYTES),
            map: gauge(names::STORE_MAP),
            commits: recorded.rising(names::STORE_COMMITS, Vec::new()),
            readers: gauge(names::STORE_READERS),
            oldest_reader: gauge(names::OLDEST_READER),
            is_faulted: gauge(names::STORE_FAULTED),
        }
    }

    fn take(&mut self, store: &StoreNumbers) {
        self.used.set(as_f64(store.used_bytes));
        self.map.set(as_f64(store.map_bytes));
        self.commits.rise_to(store.commits);
        self.readers.set(as_f64(store.readers));
        self.oldest_reader.set(store.oldest_reader.as_secs_f64());
        self.is_faulted.set(f64::from(u8::from(store.is_faulted)));
    }

    fn is_gone(&self) {
        let all = [&self.used, &self.map, &self.readers, &self.oldest_reader, &self.is_faulted];
        all.iter().for_each(|gauge| gauge.set(0.0));
    }
}

impl OfCounts {
    fn new(recorded: &Recorded, numbers: &SubscriptionNumbers) -> Self {
        let labels = |more: Option<(&'static str, &'static str)>| {
            let mut all = own_labels(numbers);
            all.extend(more.map(|(name, value)| Label::new(name, value)));
            all
        };
        let counters = counted(numbers).map(|(name, more, _)| recorded.rising(name, labels(more)));
        Self { counters: counters.collect(), dedup: None }
    }

    fn take(&mut self, recorded: &Recorded, sum: &SubscriptionNumbers) {
        let counters = self.counters.iter_mut().zip(counted(sum));
        counters.for_each(|(counter, (.., count))| counter.rise_by_sum(count));
        if let Some(dedup) = &sum.dedup {
            let counters = self.dedup.get_or_insert_with(|| {
                let of = |step: &'static str| {
                    let mut all = own_labels(sum);
                    all.push(Label::new("step", step));
                    all
                };
                steps(dedup).iter().map(|(step, _)| recorded.rising(names::DEDUP, of(step))).collect()
            });
            counters
                .iter_mut()
                .zip(steps(dedup))
                .for_each(|(counter, (_, count))| counter.rise_by_sum(count));
        }
    }
}

/// Nothing of what they measure is there any more. `false`, for they are not kept.
fn are_gone(gauges: &[Gauge]) -> bool {
    gauges.iter().for_each(|gauge| gauge.set(0.0));
    false
}

/// The name says which one it is. A label more is a twentieth of what a rendering costs, so the filter is told once, and of those without a name, which it
/// tells apart.
fn own_labels(numbers: &SubscriptionNumbers) -> Vec<Label> {
    labels_of(&numbers.name, &numbers.filter)
}

type Counted = (&'static str, Option<(&'static str, &'static str)>, u64);

/// What is counted of a subscription of its kind.
fn counted(numbers: &SubscriptionNumbers) -> impl Iterator<Item = Counted> {
    let outcome = |outcome, count| (names::DELIVERED, Some(("outcome", outcome)), count);
    let both = [
        outcome("done", numbers.done),
        outcome("failed", numbers.failed),
        outcome("dead", numbers.dead),
        outcome("skipped", numbers.skipped),
        (names::RETRIED, None, numbers.retried),
        (names::EXPIRED, None, numbers.expired),
    ];
    let own = match numbers.kind {
        Kind::Ephemeral => [
            (names::OFFERED, None, numbers.offered),
            (names::DROPPED, Some(("policy", numbers.policy)), numbers.dropped),
            (names::ABANDONED, None, numbers.abandoned),
        ],
        Kind::Durable => [
            (names::DEAD_LETTERS, None, numbers.dead),
            (names::LOST, None, numbers.lost),
            (names::LATE, None, numbers.late),
        ],
    };
    let is_durable = numbers.kind == Kind::Durable;
    let conflicts = is_durable.then_some((names::CONFLICTS, None, numbers.conflicts));
    both.into_iter().chain(own).chain(conflicts)
}

/// What is measured of a subscription of its kind.
fn gauged(numbers: &SubscriptionNumbers) -> impl Iterator<Item = (&'static str, f64)> {
    let both = [
        (names::QUEUE_DEPTH, as_f64(numbers.waiting)),
        (names::RUNNING, as_f64(numbers.running)),
        (names::PENDING, as_f64(numbers.pending)),
    ];
    let capacity = numbers.capacity.map(|capacity| (names::QUEUE_CAPACITY, as_f64(capacity)));
    let durable = (numbers.kind == Kind::Durable).then(|| {
        [
            (names::PARKED, as_f64(numbers.parked)),
            (names::PARKED_FULL, as_f64(numbers.parked_full)),
            (names::HUNG, as_f64(numbers.hung)),
            (names::DEAD_LETTER_DEPTH, as_f64(numbers.letters)),
            (names::DEAD_LETTERS_WAITING, as_f64(numbers.no_room)),
            (names::OLDEST, numbers.oldest.unwrap_or_default().as_secs_f64()),
        ]
    });
    both.into_iter().chain(capacity).chain(durable.into_iter().flatten())
}

fn steps(dedup: &DedupNumbers) -> [(&'static str, u64); 7] {
    [
        ("local_hit", dedup.local_hits),
        ("store_hit", dedup.store_hits),
        ("miss", dedup.misses),
        ("busy", dedup.busy),
        ("unreachable", dedup.unreachable),
        ("passed", dedup.passed),
        ("untold", dedup.untold),
    ]
}

impl OfBreaker {
    fn new(recorded: &Recorded, (subscription, filter): &OfChannels) -> Self {
        let own = || labels_of(subscription, filter);
        let state = |circuit: Circuit| {
            let mut all = own();
            all.push(Label::new("state", circuit.to_string()));
            recorded.gauge(names::BREAKER_STATE, all)
        };
        let counter = |name| recorded.rising(name, own());
        Self {
            states: CIRCUITS.map(state),
            refused: counter(names::BREAKER_REFUSED),
            opened: counter(names::BREAKER_OPENED),
            waiting: recorded.gauge(names::BREAKER_WAITING, own()),
        }
    }

    /// There is no such channel any more.
    fn is_gone(&self) {
        self.states.iter().chain([&self.waiting]).for_each(|gauge| gauge.set(0.0));
    }
}

const CIRCUITS: [Circuit; 3] = [Circuit::Closed, Circuit::Open, Circuit::HalfOpen];

/// Exact up to 2^53, as all numbers of Prometheus.
#[expect(clippy::cast_precision_loss, reason = "the text format knows no other number")]
const fn as_f64(count: u64) -> f64 {
    count as f64
}
