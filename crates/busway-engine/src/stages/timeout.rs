//! A deadline for handling.

use std::sync::Arc;
use std::time::Duration;

use busway_middleware::{Delivery, Middleware, Next, Outcome};

use crate::clock::{Clock, SystemClock};

/// Cancels what is inside when it takes longer than its limit; the outcome is `Failed` with [`Elapsed`].
///
/// Put it into [`Stage::Timeout`](busway_middleware::Stage::Timeout). The handler's future is dropped at its next await and
/// its lane opens after that, never before. A blocking handler cannot be cancelled: it runs to its end and its own
/// outcome counts, whether late or not.
#[derive(Debug, Clone)]
pub struct Timeout {
    limit: Duration,
    clock: Arc<dyn Clock>,
}

impl Timeout {
    /// At most `limit` for what is inside.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit, clock: Arc::new(SystemClock) }
    }

    /// Measures with another clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl Middleware for Timeout {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        let Some(until) = self.clock.now().checked_add(self.limit) else { return next.run(delivery).await };
        tokio::select! {
            biased;
            outcome = next.run(delivery) => outcome,
            () = self.clock.sleep_until(until) => Outcome::failed(Elapsed { limit: self.limit }),
        }
    }
}

/// The handler took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handler was cancelled after {limit:?}")]
pub struct Elapsed {
    /// The limit that it exceeded.
    pub limit: Duration,
}
