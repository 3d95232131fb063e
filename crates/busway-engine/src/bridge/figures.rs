//! What a bridge did.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// What a bridge did since it began.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BridgeStats {
    /// Events that their goal has taken.
    pub carried: u64,
    /// Of them: those that the goal had already, as far as it says so.
    pub duplicates: u64,
    /// Events that were given up: refused for good, or no events.
    pub dead: u64,
    /// Sends that failed and were made again.
    pub retried: u64,
    /// Verdicts that the source did not hear: it gives the event out again.
    pub unheard: u64,
    /// What it does now.
    pub state: BridgeState,
}

/// What a bridge does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BridgeState {
    /// It carries what comes.
    Flowing,
    /// Source or goal does not answer: it tries again by itself.
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
    carried: AtomicU64,
    duplicates: AtomicU64,
    dead: AtomicU64,
    retried: AtomicU64,
    unheard: AtomicU64,
    state: Mutex<BridgeState>,
}

impl Figures {
    pub(super) fn new() -> Self {
        let [carried, duplicates, dead, retried, unheard] = [const { AtomicU64::new(0) }; 5];
        Self { carried, duplicates, dead, retried, unheard, state: Mutex::new(BridgeState::Flowing) }
    }

    pub(super) fn carried(&self, is_duplicate: bool) {
        self.carried.fetch_add(1, Ordering::Relaxed);
        if is_duplicate {
            self.duplicates.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn dead(&self) {
        self.dead.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn retried(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unheard(&self) {
        self.unheard.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set(&self, state: BridgeState) {
        *self.state.lock() = state;
    }

    pub(super) fn read(&self) -> BridgeStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BridgeStats {
            carried: of(&self.carried),
            duplicates: of(&self.duplicates),
            dead: of(&self.dead),
            retried: of(&self.retried),
            unheard: of(&self.unheard),
            state: self.state.lock().clone(),
        }
    }
}
