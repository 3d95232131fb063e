//! The account of a subscription: what became of each event.

use std::sync::atomic::{AtomicU64, Ordering};

use busway_middleware::Outcome;
use busway_reliability::Tally;

/// Counters of one subscription. Publishers write the first line, workers the second.
#[derive(Debug, Default)]
pub(crate) struct Account {
    offered: AtomicU64,
    dropped: AtomicU64,

    done: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
    skipped: AtomicU64,
    expired: AtomicU64,
    abandoned: AtomicU64,
    /// Taken out of a queue and not settled yet.
    running: AtomicU64,
}

impl Account {
    pub(crate) fn offered(&self) {
        self.offered.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes back an offer that met a closed mailbox: nobody looked at it.
    pub(crate) fn retract(&self) {
        self.offered.fetch_sub(1, Ordering::Release);
    }

    pub(crate) fn dropped(&self, events: u64) {
        self.dropped.fetch_add(events, Ordering::Release);
    }

    pub(crate) fn expired(&self) {
        self.expired.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn abandoned(&self, events: u64) {
        self.abandoned.fetch_add(events, Ordering::Release);
    }

    pub(crate) fn started(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes back a start for which there was no event.
    pub(crate) fn not_started(&self) {
        self.running.fetch_sub(1, Ordering::Release);
    }

    /// A started event was handled.
    pub(crate) fn handled(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Done => &self.done,
            Outcome::Dead(_) => &self.dead,
            Outcome::Skip => &self.skipped,
            _ => &self.failed,
        };
        counter.fetch_add(1, Ordering::Release);
        self.running.fetch_sub(1, Ordering::Release);
    }

    /// A started event was cut short: it counts as abandoned.
    pub(crate) fn cut_short(&self) {
        self.abandoned(1);
        self.running.fetch_sub(1, Ordering::Release);
    }

    /// Whether every event that was offered is settled or with a handler: no publisher is in the middle of an offer.
    pub(crate) fn is_at_rest(&self) -> bool {
        let running = self.running();
        let tally = self.tally();
        tally.offered <= tally.settled() + running
    }

    pub(crate) fn running(&self) -> u64 {
        self.running.load(Ordering::Acquire)
    }

    /// Handled events by outcome: done, failed, dead, skipped.
    pub(crate) fn outcomes(&self) -> [u64; 4] {
        [&self.done, &self.failed, &self.dead, &self.skipped].map(|counter| counter.load(Ordering::Acquire))
    }

    /// The sum. `offered` is read last, so an event is never seen as settled and not offered; what waits is the difference.
    pub(crate) fn tally(&self) -> Tally {
        let delivered = self.outcomes().iter().sum();
        let [dropped, expired, abandoned] =
            [&self.dropped, &self.expired, &self.abandoned].map(|counter| counter.load(Ordering::Acquire));
        Tally { delivered, dropped, expired, abandoned, offered: self.offered.load(Ordering::Acquire) }
    }
}
