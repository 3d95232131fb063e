//! The account of a subscription: what became of each event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use busway_middleware::Outcome;
use busway_reliability::Tally;
use parking_lot::Mutex;

use super::share::Share;

/// Counters of one subscription. What publishers write and what workers write are apart, so that neither side's counting
/// makes the other wait for a cache line.
#[derive(Debug)]
pub(crate) struct Account {
    offers: Offers,
    ends: Ends,
    writers: Writers,
    /// Of an inline subscription: what threads count by themselves, for as long as they do. Held for moments, also by publishers that
    /// begin to.
    shares: Mutex<Vec<Arc<Share>>>,
}

/// What a handled event counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    Failed,
    Dead,
    Skipped,
}

impl Ended {
    #[inline]
    pub(crate) const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Dead(_) => Self::Dead,
            Outcome::Skip => Self::Skipped,
            _ => Self::Failed,
        }
    }
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
    /// Events that were with a handler and were cut short: they count as abandoned.
    cut: AtomicU64,
    /// Events that went to a handler. Those that have not ended yet run.
    taken: AtomicU64,
    /// Workers that are about to look for an event or have one.
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
    /// Publishers, which run the handler themselves: what was offered and has not ended is with a handler.
    Publishers,
}

impl Account {
    pub(crate) fn new(writers: Writers) -> Self {
        Self { offers: Offers::default(), ends: Ends::default(), writers, shares: Mutex::default() }
    }

    /// A share for the calling thread. Those that nobody holds any more are added to what is counted here, so that there are no more than
    /// threads, times the publishers that each of them has at hand.
    pub(crate) fn share(&self) -> Arc<Share> {
        let fresh = Arc::new(Share::new());
        let mut shares = self.shares.lock();
        // Under the lock, which who reads holds too: an event is in one of the two.
        shares.retain_mut(|share| match Arc::get_mut(share) {
            Some(left) => {
                self.add(left);
                false
            }
            None => true,
        });
        shares.push(Arc::clone(&fresh));
        fresh
    }

    fn add(&self, share: &Share) {
        let Ends { done, failed, dead, skipped, .. } = &self.ends;
        for (counter, ended) in [done, failed, dead, skipped].into_iter().zip(share.outcomes()) {
            counter.fetch_add(ended, Ordering::SeqCst);
        }
        self.offers.offered.fetch_add(share.offered(), Ordering::SeqCst);
    }

    /// Counts an offer. Sequentially consistent, as is the mark that a mailbox is closed: of who offers and then looks for
    /// the mark, and who closes and then reads this, at least one sees the other.
    #[inline]
    pub(crate) fn offered(&self) {
        self.offers.offered.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes back an offer that met a closed mailbox: nobody looked at it.
    pub(crate) fn retract(&self) {
        self.offers.offered.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn dropped(&self, events: u64) {
        self.offers.dropped.fetch_add(events, Ordering::SeqCst);
    }

    pub(crate) fn expired(&self) {
        self.ends.expired.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn abandoned(&self, events: u64) {
        self.ends.abandoned.fetch_add(events, Ordering::Release);
    }

    /// A worker begins to look for events. Sequentially consistent, and before it
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
    #[inline]
    pub(crate) fn taken(&self) {
        self.add_one(&self.ends.taken);
    }

    /// An event that was with a handler was handled.
    #[inline]
    pub(crate) fn handled(&self, outcome: &Outcome) {
        self.add_one(match Ended::of(outcome) {
            Ended::Done => &self.ends.done,
            Ended::Dead => &self.ends.dead,
            Ended::Skipped => &self.ends.skipped,
            Ended::Failed => &self.ends.failed,
        });
    }

    /// An event that was with a handler was cut short: it counts as abandoned.
    pub(crate) fn cut_short(&self) {
        self.add_one(&self.ends.cut);
    }

    #[inline]
    fn add_one(&self, counter: &AtomicU64) {
        match self.writers {
            Writers::One => counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Release),
            // Sequentially consistent for publishers: it is their rest, see `rest`.
            Writers::Many | Writers::Publishers => {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Whether every event that was offered is settled or with a handler: no publisher is in the middle of an offer.
    pub(crate) fn is_at_rest(&self) -> bool {
        if self.writers == Writers::Publishers {
            return self.active() == 0;
        }
        let (gone, taken) = (self.gone_untaken(), self.ends.taken.load(Ordering::Acquire));
        self.offers.offered.load(Ordering::SeqCst) <= gone + taken
    }

    /// Events that are with a handler.
    pub(crate) fn running(&self) -> u64 {
        match self.writers {
            Writers::Publishers => self.active(),
            Writers::One | Writers::Many => {
                // In this order: an event is taken before it ends.
                let ended = self.outcomes().iter().sum::<u64>() + self.ends.cut.load(Ordering::Acquire);
                self.ends.taken.load(Ordering::Acquire).saturating_sub(ended)
            }
        }
    }

    /// Events that ended without having been with a handler.
    fn gone_untaken(&self) -> u64 {
        let gone = [&self.offers.dropped, &self.ends.expired, &self.ends.abandoned];
        gone.iter().map(|counter| counter.load(Ordering::Acquire)).sum()
    }

    /// Workers and inline handlers that have an event or look for one: 0 only when nothing runs.
    pub(crate) fn active(&self) -> u64 {
        match self.writers {
            Writers::Publishers => self.tally().waiting(),
            Writers::One | Writers::Many => self.ends.active.load(Ordering::Acquire),
        }
    }

    /// Handled events by outcome: done, failed, dead, skipped.
    pub(crate) fn outcomes(&self) -> [u64; 4] {
        self.outcomes_with(&self.shares.lock())
    }

    fn outcomes_with(&self, shares: &[Arc<Share>]) -> [u64; 4] {
        let Ends { done, failed, dead, skipped, .. } = &self.ends;
        let mut outcomes = [done, failed, dead, skipped].map(|counter| counter.load(Ordering::Acquire));
        for share in shares {
            outcomes.iter_mut().zip(share.outcomes()).for_each(|(sum, ended)| *sum += ended);
        }
        outcomes
    }

    /// The sum. `offered` is read last, so an event is never seen as settled and not offered; what waits is the difference.
    pub(crate) fn tally(&self) -> Tally {
        // Held to the end: no share is added to the sum in between.
        let shares = self.shares.lock();
        let delivered = self.outcomes_with(&shares).iter().sum();
        let (offers, ends) = (&self.offers, &self.ends);
        let [dropped, expired, abandoned, cut] = [&offers.dropped, &ends.expired, &ends.abandoned, &ends.cut]
            .map(|counter| counter.load(Ordering::Acquire));
        // Of who has closed or paused and reads now, and a thread that has counted itself in and looks, one sees the other: see `share.rs`.
        fence(Ordering::SeqCst);
        let by_threads = shares.iter().map(|share| share.offered()).sum::<u64>();
        let offered = offers.offered.load(Ordering::SeqCst) + by_threads;
        Tally { delivered, dropped, expired, abandoned: abandoned + cut, offered }
    }
}
