//! At most so many events in a time.

use std::num::NonZeroU32;
use std::sync::Arc;

use busway_middleware::{Delivery, Middleware, Next, Outcome};
use busway_reliability::{Rate, TakeError, TokenBucket};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{Clock, SystemClock};

/// Lets events inwards at a rate, with a burst; the others wait. Clones share the rate, so several subscriptions can spare
/// one dependency together. The rate may change while events wait: see [`RateLimit::handle`].
///
/// # Cancel safety
/// A delivery that is cancelled while it waits takes nothing.
#[derive(Debug, Clone)]
pub struct RateLimit {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Shared {
    /// Held while one token is asked for.
    bucket: Mutex<TokenBucket>,
    changed: Notify,
}

impl RateLimit {
    /// At most `burst` at once and `rate` in the long run.
    #[must_use]
    pub fn new(rate: Rate, burst: NonZeroU32) -> Self {
        Self::with_clock(rate, burst, Arc::new(SystemClock))
    }

    /// Measures with another clock.
    #[must_use]
    pub fn with_clock(rate: Rate, burst: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        let bucket = Mutex::new(TokenBucket::new(rate, burst, clock.now()));
        Self { shared: Arc::new(Shared { bucket, changed: Notify::new() }), clock }
    }

    /// A handle to change the rate while it is in use.
    #[must_use]
    pub fn handle(&self) -> RateHandle {
        RateHandle { shared: Arc::clone(&self.shared), clock: Arc::clone(&self.clock) }
    }
}

impl Middleware for RateLimit {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let taken = self.shared.bucket.lock().try_take(1, self.clock.now());
            let until = match taken {
                Ok(()) => return next.run(delivery).await,
                Err(TakeError::Wait { until, .. }) => until,
                Err(error) => return Outcome::failed(error),
            };
            tokio::select! {
                () = self.clock.sleep_until(until) => {}
                () = changed => {}
            }
        }
    }
}

/// Changes the rate of a [`RateLimit`] that is in use.
#[derive(Debug, Clone)]
pub struct RateHandle {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

impl RateHandle {
    /// Sets the rate; what was earned at the old one stays. Deliveries that wait are measured again.
    pub fn set_rate(&self, rate: Rate) {
        self.shared.bucket.lock().set_rate(rate, self.clock.now());
        self.shared.changed.notify_waiters();
    }
}
