//! How much of a subscription's traffic in memory may be attempts that follow another one.
//!
//! A worker waits with its event behind the event's own delay until there is a part of the budget left for it. It waits as it does for
//! that delay: with its lane, until the subscription is stopped. All members of a group share one budget.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use busway_reliability::{RetryBudget, RetryMeter};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::waits::Waits;

/// See the module.
#[derive(Debug)]
pub(crate) struct Metered {
    meter: Mutex<RetryMeter>,
    /// Events that wait for their part.
    waiting: AtomicU64,
}

impl Metered {
    pub(crate) const fn new(budget: RetryBudget) -> Self {
        Self { meter: Mutex::new(RetryMeter::new(budget)), waiting: AtomicU64::new(0) }
    }

    /// A first attempt has ended.
    pub(super) fn attempted(&self, now: Instant) {
        self.meter.lock().attempted(now);
    }

    /// Events that are due, and wait for their part.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns when one more attempt has its part of the budget. Dropped before, it has used none.
    pub(super) async fn granted(&self, clock: &dyn Clock) {
        let Err(mut opens) = self.meter.lock().try_retry(clock.now()) else { return };
        let _waits = Waits::new(&self.waiting);
        loop {
            clock.sleep_until(opens).await;
            match self.meter.lock().try_retry(clock.now()) {
                Ok(()) => return,
                Err(next) => opens = next,
            }
        }
    }
}
