//! The relay: offers events to ephemeral subscriptions when they are committed, in the order of their offsets.
//!
//! One task a bus. The log is its queue: it reads on from where it stands, so it holds one page at most, however far it is
//! behind. A subscription that blocks by its policy holds it up, as it would hold up a publisher; publishers of durable
//! topics are not held up by it.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;

use busway_event::Topic;
use busway_observability::{Signal, Wants};
use busway_persistence::{Page, ReadError, ReadLimits, StoredEvent};

use super::Log;
use crate::bus::{BusCore, Source};
use crate::durable::StreamShare;

/// How far the relay has come: the offset of each partition from which on nothing was offered yet.
#[derive(Debug)]
pub(super) struct Relayed {
    next: Vec<(u32, AtomicU64)>,
}

impl Relayed {
    pub(super) fn new(ends: impl Iterator<Item = (u32, u64)>) -> Self {
        Self { next: ends.map(|(partition, end)| (partition, AtomicU64::new(end))).collect() }
    }
}

impl Log {
    /// Committed events that ephemeral subscriptions were not offered yet.
    pub(crate) fn unrelayed(&self) -> u64 {
        let behind = |store: &busway_persistence::Store| {
            let behind = self.relayed.next.iter().map(|(partition, next)| {
                let end = store.bounds(*partition).map_or(0, |(_, end)| end);
                end.saturating_sub(next.load(Ordering::Acquire))
            });
            behind.sum()
        };
        self.with(behind).unwrap_or(0)
    }

    /// From where on ephemeral subscriptions were not offered a partition yet.
    pub(crate) fn relayed(&self, partition: u32) -> Option<u64> {
        let relayed = self.relayed.next.iter().find(|(known, _)| *known == partition);
        relayed.map(|(_, next)| next.load(Ordering::Acquire))
    }

    /// Offers what is committed until the log ends.
    pub(crate) async fn relay(self: Arc<Self>, bus: Weak<BusCore>) {
        let mut commits = self.commits();
        loop {
            commits.borrow_and_update();
            let (mut has_moved, mut is_failing) = (false, false);
            for (partition, next) in &self.relayed.next {
                let page = self.ending.run_until_cancelled(self.relay_page(&bus, *partition, next)).await;
                match page {
                    Some(Relay::Moved) => has_moved = true,
                    Some(Relay::Nothing) => {}
                    Some(Relay::Failing) => is_failing = true,
                    Some(Relay::Over) | None => return,
                }
            }
            self.look_for_abandoned(&bus);
            if has_moved {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                changed = commits.changed() => if changed.is_err() { return },
                () = self.ending.cancelled() => return,
                () = again(&bus, is_failing) => {}
            }
        }
    }

    async fn relay_page(&self, bus: &Weak<BusCore>, partition: u32, next: &AtomicU64) -> Relay {
        let from = next.load(Ordering::Relaxed);
        if let Some(end) = self.unheard(bus, partition, from) {
            next.store(end, Ordering::Release);
            if let Some(bus) = bus.upgrade() {
                bus.services.idle.touch();
            }
            return Relay::Moved;
        }
        let page = match self.with(|store| store.read(partition, from, None, ReadLimits::default())) {
            None => return Relay::Over,
            Some(Ok(page)) => page,
            Some(Err(error)) => match skipping(from, &error) {
                Some(to) => {
                    tracing::error!(partition, %error, "ephemeral subscriptions miss an event of the log");
                    Page { events: Vec::new(), next: to }
                }
                None => {
                    tracing::error!(partition, %error, "ephemeral subscriptions get nothing of the log");
                    return Relay::Failing;
                }
            },
        };
        if page.next == from {
            return Relay::Nothing;
        }
        for StoredEvent { offset, event, .. } in page.events {
            let Some(bus) = bus.upgrade() else { return Relay::Over };
            let topic = event.topic().clone();
            if bus.nobody_is_offered(&topic) {
                self.count_unrouted(&bus, &topic);
                next.store(offset + 1, Ordering::Release);
                continue;
            }
            // What panics is code of the user's outside of a chain: an event that an inline handler emits, and its encoding.
            let offer = async {
                let mut offering = bus.begin(event, Source::Outside);
                bus.complete(&mut offering.dispatched).await;
                offering
            };
            let Ok(offering) = AssertUnwindSafe(offer).catch_unwind().await else {
                tracing::error!(
                    partition,
                    offset,
                    "an event panicked while it was offered to ephemeral subscriptions"
                );
                next.store(offset + 1, Ordering::Release);
                continue;
            };
            let offered = offering.dispatched.offered;
            if offered == 0 {
                self.count_unrouted(&bus, &topic);
            }
            if let Some(event) = &offering.observed {
                // As many as its receipt says.
                let offered = offered + bus.durable.matching(&topic);
                bus.services.signals.tell(&Signal::Published { event, offered });
            }
            next.store(offset + 1, Ordering::Release);
        }
        next.store(page.next, Ordering::Release);
        if let Some(bus) = bus.upgrade() {
            bus.services.idle.touch();
        }
        Relay::Moved
    }
}

impl Log {
    /// Where a partition ends, if there is something behind `from` and no ephemeral subscription on the bus to offer it to: then it need not be
    /// read. `None` also when only reading tells which of it durable subscriptions leave out, which is counted.
    fn unheard(&self, bus: &Weak<BusCore>, partition: u32, from: u64) -> Option<u64> {
        // First: who subscribes behind the next line is owed nothing that was committed before.
        let (first, end) = self.with(|store| store.bounds(partition))??;
        let bus = bus.upgrade()?;
        if end <= from || bus.services.signals.want(Wants::EVENTS) || !bus.has_no_entries() {
            return None;
        }
        let stream = self.streams.iter().find(|stream| stream.partitions.contains(&partition))?;
        let unrouted = match bus.durable.share_of(&stream.declared) {
            StreamShare::All => 0,
            // What retention took before it was come to is no more an event of anybody.
            StreamShare::Nothing => end.saturating_sub(from.max(first)),
            StreamShare::Some => return None,
        };
        self.passing.counts.unrouted.fetch_add(unrouted, Ordering::Relaxed);
        Some(end)
    }

    /// Counts an event that ephemeral subscriptions were not offered, unless a durable one gets it.
    fn count_unrouted(&self, bus: &BusCore, topic: &Topic) {
        if bus.durable.matching(topic) == 0 {
            self.passing.counts.unrouted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl BusCore {
    /// Whether an event of this topic has nobody to be offered to, nor to be shown to: then it need not become an offering, which costs most of what a
    /// publish without a log does.
    fn nobody_is_offered(&self, topic: &Topic) -> bool {
        !self.services.signals.want(Wants::EVENTS)
            && self.router.lookup_with(topic, |targets| targets.len()) == 0
    }
}

/// A moment later, when the storage could not be read; never otherwise.
async fn again(bus: &Weak<BusCore>, is_failing: bool) {
    match bus.upgrade().filter(|_| is_failing).map(|bus| Arc::clone(&bus.services)) {
        Some(services) => services.clock.sleep_until(services.clock.now() + AGAIN_AFTER).await,
        None => std::future::pending().await,
    }
}

const AGAIN_AFTER: Duration = Duration::from_secs(1);

enum Relay {
    Moved,
    Nothing,
    /// The storage cannot be read.
    Failing,
    /// The bus is gone, or its store.
    Over,
}

/// Where to read on behind what cannot be read; `None` when the storage itself fails.
fn skipping(from: u64, error: &ReadError) -> Option<u64> {
    match error {
        ReadError::BeforeStart { first, .. } => Some(*first),
        ReadError::Corrupt(_) => Some(from + 1),
        _ => None,
    }
}
