//! What a remote subscription did at its broker.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::stats::SubscriptionStats;

/// What a remote subscription did since it began here.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RemoteStats {
    /// What its handler did. Offered is what was received, joined deliveries and those of the next five not counted.
    pub subscription: SubscriptionStats,
    /// Deliveries of an event that was in hand already: they are settled with it.
    pub joined: u64,
    /// Messages that are no events: given up with their bytes.
    pub unreadable: u64,
    /// Events whose time to live was over: settled unattempted.
    pub expired: u64,
    /// Events that were delivered too often: given up unattempted.
    pub worn_out: u64,
    /// Copies of what is handled where it was published: see [`RemoteBuilder::carried`](super::RemoteBuilder::carried).
    pub led_elsewhere: u64,
    /// Verdicts that the broker did not hear: it delivers the event again.
    pub unheard: u64,
    /// Deliveries of which the broker does not know yet what became of them.
    pub in_hand: usize,
    /// How it stands with its broker.
    pub state: RemoteState,
}

/// How a remote subscription stands with its broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteState {
    /// It receives what comes.
    Flowing,
    /// The broker does not answer, or not well: it tries again by itself.
    Waiting {
        /// Why.
        reason: String,
        /// Attempts that failed one after the other.
        failed: u32,
    },
    /// It has ended.
    Stopped,
}

/// The same, while it is counted.
#[derive(Debug)]
pub(super) struct Figures {
    joined: AtomicU64,
    unreadable: AtomicU64,
    expired: AtomicU64,
    worn_out: AtomicU64,
    led_elsewhere: AtomicU64,
    unheard: AtomicU64,
    state: Mutex<RemoteState>,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Figure {
    Joined,
    Unreadable,
    Expired,
    WornOut,
    LedElsewhere,
    Unheard,
}

impl Figures {
    pub(super) fn new() -> Self {
        let [joined, unreadable, expired, worn_out, led_elsewhere, unheard] =
            [const { AtomicU64::new(0) }; 6];
        Self {
            joined,
            unreadable,
            expired,
            worn_out,
            led_elsewhere,
            unheard,
            state: Mutex::new(RemoteState::Flowing),
        }
    }

    pub(super) fn count(&self, figure: Figure) {
        let counter = match figure {
            Figure::Joined => &self.joined,
            Figure::Unreadable => &self.unreadable,
            Figure::Expired => &self.expired,
            Figure::WornOut => &self.worn_out,
            Figure::LedElsewhere => &self.led_elsewhere,
            Figure::Unheard => &self.unheard,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set(&self, state: RemoteState) {
        *self.state.lock() = state;
    }

    pub(super) fn read(&self, subscription: SubscriptionStats, in_hand: usize) -> RemoteStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RemoteStats {
            subscription,
            joined: of(&self.joined),
            unreadable: of(&self.unreadable),
            expired: of(&self.expired),
            worn_out: of(&self.worn_out),
            led_elsewhere: of(&self.led_elsewhere),
            unheard: of(&self.unheard),
            in_hand,
            state: self.state.lock().clone(),
        }
    }
}
