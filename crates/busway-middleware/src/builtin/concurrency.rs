//! At most so many at once, across all subscriptions that share the limit.

use std::sync::Arc;

use async_lock::Semaphore;

use crate::chain::Next;
use crate::delivery::Delivery;
use crate::middleware::Middleware;
use crate::outcome::Outcome;

/// Lets at most `limit` deliveries inwards at once and lets the others wait.
///
/// A place that becomes free goes to the one that waits longest, unless a newcomer takes it before that one runs: fair
/// over time, not in each case. Events of one lane keep their order anyway, since only one of them is on its way.
///
/// A clone shares the limit: add clones to several subscriptions to bound what they do to one dependency together. For one
/// subscription alone its `.concurrency(n)` is cheaper.
///
/// # Cancel safety
/// A delivery that is cancelled while it waits leaves the queue; one that is cancelled inside gives its place back.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit {
    places: Arc<Semaphore>,
}

impl ConcurrencyLimit {
    /// At most `limit` at once; 0 becomes 1.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(limit.max(1))) }
    }
}

impl Middleware for ConcurrencyLimit {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        let _place = self.places.acquire().await;
        next.run(delivery).await
    }
}
