//! What a bridge waits for: its rate, and the time before the next attempt. Meanwhile its source is told that it works on.

use std::time::Instant;

use busway_reliability::TakeError;

use super::figures::BridgeState;
use super::pump::{LONGEST_WAIT, Next, Pump};
use crate::transport::{DeliveryId, TransportError};

impl Pump {
    /// Waits for room under the rate.
    pub(super) async fn earn(&mut self, events: u32, waiting: &[DeliveryId]) -> Next {
        let mut left = events;
        while left > 0 {
            let Some(bucket) = &mut self.rate else { return Next::GoOn };
            let now = self.services.clock.now();
            let some = bucket.available(now).clamp(1, left);
            match bucket.try_take(some, now) {
                Ok(()) => left -= some,
                Err(TakeError::Wait { until, .. }) => {
                    if self.sleep_until(until, waiting).await == Next::Stop {
                        return Next::Stop;
                    }
                }
                // A burst is one at least.
                Err(_) => return Next::GoOn,
            }
        }
        Next::GoOn
    }

    /// Waits before the next attempt, longer after each that failed.
    pub(super) async fn wait(&mut self, reason: &TransportError, waiting: &[DeliveryId]) -> Next {
        self.failed = self.failed.saturating_add(1);
        let state = BridgeState::Waiting { reason: reason.to_string(), failed: self.failed };
        self.figures.set(state);
        match reason.is_transient() {
            true if self.failed == 1 => tracing::warn!(bridge = %self.name, %reason, "a bridge waits"),
            true => {}
            // What has to be put right by somebody is said each time.
            false => tracing::error!(bridge = %self.name, %reason, "a bridge cannot go on, and tries again"),
        }
        let delay = self.retry.after(self.failed, fastrand::u64(..)).unwrap_or(LONGEST_WAIT);
        self.sleep_until(self.services.clock.now() + delay, waiting).await
    }

    async fn sleep_until(&self, until: Instant, waiting: &[DeliveryId]) -> Next {
        let slept = async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => Next::Stop,
                () = self.services.clock.sleep_until(until) => Next::GoOn,
            }
        };
        self.renewing(waiting, slept).await
    }

    /// Waits for something, and says meanwhile that these are still worked on.
    pub(super) async fn renewing<T>(&self, waiting: &[DeliveryId], until: impl Future<Output = T>) -> T {
        let clock = &self.services.clock;
        let mut until = std::pin::pin!(until);
        loop {
            tokio::select! {
                biased;
                ended = &mut until => return ended,
                () = clock.sleep_until(clock.now() + self.renewed_every) => self.renew(waiting).await,
            }
        }
    }

    pub(super) async fn renew(&self, waiting: &[DeliveryId]) {
        if let Err(error) = self.from.renew(waiting).await {
            tracing::debug!(bridge = %self.name, %error, "events were not renewed");
        }
    }
}
