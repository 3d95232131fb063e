//! A deadline for handling.

use std::sync::Arc;
use std::time::Duration;

use busway_middleware::{Delivery, Middleware, Next, Outcome};

use super::clock_of;
use crate::clock::Clock;

/// Cancels what is inside when it takes longer than its limit; the outcome is `Failed` with [`Elapsed`].
///
/// Put it into [`Stage::Timeout`](busway_middleware::Stage::Timeout). The handler's future is dropped at its next await and
/// its lane opens after that, never before. A blocking handler cannot be cancelled: it runs to its end and its own
/// outcome counts, whether late or not; a durable subscription may have a
/// [deadline](crate::DurableBuilder::deadline) for that. Time is that of the bus, unless [`clock`](Timeout::clock) gives another.
#[derive(Debug, Clone)]
pub struct Timeout {
    limit: Duration,
    /// `None`: the bus's.
    clock: Option<Arc<dyn Clock>>,
}

impl Timeout {
    /// At most `limit` for what is inside.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit, clock: None }
    }

    /// Measures with another clock than the bus's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }
}

impl Middleware for Timeout {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        let clock = self.clock.clone().unwrap_or_else(|| clock_of(delivery));
        let Some(until) = clock.now().checked_add(self.limit) else { return next.run(delivery).await };
        tokio::select! {
            biased;
            outcome = next.run(delivery) => outcome,
            () = clock.sleep_until(until) => Outcome::failed(Elapsed { limit: self.limit }),
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
