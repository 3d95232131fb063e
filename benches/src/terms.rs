//! The terms of a run: how long, how often, on what.

use std::time::Duration;

use anyhow::Result;
use busway::{Clock, SystemClock};
use tokio::runtime::{Builder, Runtime};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long one contender runs at a time, about.
    pub block: Duration,
    /// How often each contender runs, without the round that is discarded.
    pub rounds: usize,
}

impl Terms {
    /// Long enough for numbers that can be compared.
    pub const FULL: Self = Self { block: Duration::from_millis(400), rounds: 11 };

    /// One suite in less than a minute.
    pub const QUICK: Self = Self { block: Duration::from_millis(100), rounds: 5 };

    /// Whether suites that need a large log are to take a smaller one, and say so.
    #[must_use]
    pub const fn is_quick(&self) -> bool {
        self.rounds < Self::FULL.rounds
    }

    /// The same number of rounds, in blocks of another length.
    #[must_use]
    pub const fn with_block(self, block: Duration) -> Self {
        Self { block, ..self }
    }
}

/// Every queue of every contender holds this many messages.
pub const CAPACITY: usize = 1_024;

/// The runtime of every async contender: two workers, because the machine that matters least has two cores.
///
/// # Errors
/// The threads cannot be started.
pub fn two_workers() -> Result<Runtime> {
    ready_clock();
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// The system clock calibrates itself beside the first events of a process; no suite is about those.
fn ready_clock() {
    if let Some(work) = SystemClock.prepare() {
        work();
    }
}

/// A runtime on the thread that drives it: the same steps in each run, as far as the hash seeds allow.
///
/// # Errors
/// The driver cannot be opened.
pub fn one_thread() -> Result<Runtime> {
    ready_clock();
    Ok(Builder::new_current_thread().enable_all().build()?)
}
