//! The account of a subscription: what became of each event.

use std::sync::atomic::{AtomicU64, Ordering};

use busway_middleware::Outcome;
use busway_reliability::Tally;

/// Counters of one subscription. What publishers write and what workers write are apart, so that neither side's counting
/// makes the other wait for a cache line.
#[derive(Debug)]
pub(crate) struct Account {
    offers: Offers,
    ends: Ends,
    writers: Writers,
}

/// Written by publishers.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Offers {
    offered: AtomicU64,
    dropped: AtomicU64,
}

/// Written by workers.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Ends {
    done: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
    skipped: AtomicU64,
    /// Events that are with a handler.
    held: AtomicU64,
    /// Workers that are about to look for an event or have one, and inline handlers.
    active: AtomicU64,
    expired: AtomicU64,
    abandoned: AtomicU64,
}

/// How many threads settle events at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    /// One worker at a time: it counts by plain stores.
    One,
    Many,
    /// Publishers, which run the handler themselves: whoever is active has exactly one event.
    Publishers,
}

impl Account {
    pub(crate) fn new(writers: Writers) -> Self {
        Self { offers: Offers::default(), ends: Ends::default(), writers }
    }

    /// Counts an offer. Sequentially consistent, as is the mark that a mailbox is closed: of who offers and then looks for
    /// the mark, and who closes and then reads this, at least one sees the other.
    pub(crate) fn offered(&self) {
        self.offers.offered.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes back an offer that met a closed mailbox: nobody looked at it.
    pub(crate) fn retract(&self) {
        self.offers.offered.fetch_sub(1, Ordering::Release);
    }

    pub(crate) fn dropped(&self, events: u64) {
        self.offers.dropped.fetch_add(events, Ordering::Release);
    }

    pub(crate) fn expired(&self) {
        self.ends.expired.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn abandoned(&self, events: u64) {
        self.ends.abandoned.fetch_add(events, Ordering::Release);
    }

    /// A worker begins to look for events, or a publisher to run an inline handler. Sequentially consistent, and before it
    /// looks at the subscription's state, which is so too: who pauses and then sees nobody active can rely on it.
    pub(crate) fn activate(&self) {
        self.ends.active.fetch_add(1, Ordering::SeqCst);
    }

    /// It has none left and holds none. Sequentially consistent, as is the look for somebody who waits for this, see
    /// `IdleWatch::touch_after_rest`.
    pub(crate) fn rest(&self) {
        self.ends.active.fetch_sub(1, Ordering::SeqCst);
    }

    /// An event goes to a handler.
    pub(crate) fn held(&self) {
        if self.writers != Writers::Publishers {
            self.add(&self.ends.held, 1);
        }
    }

    /// An event that was with a handler was handled.
    pub(crate) fn handled(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Done => &self.ends.done,
            Outcome::Dead(_) => &self.ends.dead,
            Outcome::Skip => &self.ends.skipped,
            _ => &self.ends.failed,
        };
        self.let_go();
        self.add(counter, 1);
    }

    /// An event that was with a handler was cut short: it counts as abandoned.
    pub(crate) fn cut_short(&self) {
        self.let_go();
        self.abandoned(1);
    }

    /// Before its end is counted: an event is never seen both as held and as settled.
    fn let_go(&self) {
        if self.writers != Writers::Publishers {
            self.add(&self.ends.held, u64::MAX);
        }
    }

    /// Adds, wrapping round: `u64::MAX` takes one off.
    fn add(&self, counter: &AtomicU64, n: u64) {
        match self.writers {
            Writers::One => {
                counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Release);
            }
            Writers::Many | Writers::Publishers => {
                counter.fetch_add(n, Ordering::Release);
            }
        }
    }

    /// Whether every event that was offered is settled or with a handler: no publisher is in the middle of an offer.
    pub(crate) fn is_at_rest(&self) -> bool {
        if self.writers == Writers::Publishers {
            return self.active() == 0;
        }
        // In this order: see `let_go`.
        let tally = self.tally();
        tally.offered <= tally.settled() + self.running()
    }

    /// Events that are with a handler.
    pub(crate) fn running(&self) -> u64 {
        match self.writers {
            Writers::Publishers => self.active(),
            Writers::One | Writers::Many => self.ends.held.load(Ordering::Acquire),
        }
    }

    /// Workers and inline handlers that have an event or look for one: 0 only when nothing runs.
    pub(crate) fn active(&self) -> u64 {
        self.ends.active.load(Ordering::Acquire)
    }

    /// Handled events by outcome: done, failed, dead, skipped.
    pub(crate) fn outcomes(&self) -> [u64; 4] {
        let Ends { done, failed, dead, skipped, .. } = &self.ends;
        [done, failed, dead, skipped].map(|counter| counter.load(Ordering::Acquire))
    }

    /// The sum. `offered` is read last, so an event is never seen as settled and not offered; what waits is the difference.
    pub(crate) fn tally(&self) -> Tally {
        let delivered = self.outcomes().iter().sum();
        let (offers, ends) = (&self.offers, &self.ends);
        let [dropped, expired, abandoned] =
            [&offers.dropped, &ends.expired, &ends.abandoned].map(|counter| counter.load(Ordering::Acquire));
        Tally { delivered, dropped, expired, abandoned, offered: offers.offered.load(Ordering::SeqCst) }
    }
}
