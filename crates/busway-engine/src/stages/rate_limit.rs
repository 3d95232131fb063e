//! At most so many events in a time.

use std::num::NonZeroU32;
use std::sync::Arc;

use busway_middleware::{Delivery, Middleware, Next, Outcome};
use busway_reliability::{Rate, TakeError, TokenBucket};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::clock_of;
use crate::clock::Clock;

/// Lets events inwards at a rate, with a burst; the others wait. Clones share the rate, so several subscriptions can spare
/// one dependency together. The rate may change while events wait: see [`RateLimit::handle`].
///
/// Time is that of the bus whose event comes first, unless [`with_clock`](RateLimit::with_clock) gives another; from then on
/// tokens are earned.
///
/// # Cancel safety
/// A delivery that is cancelled while it waits takes nothing.
#[derive(Debug, Clone)]
pub struct RateLimit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Held while one token is asked for.
    tokens: Mutex<Tokens>,
    changed: Notify,
}

#[derive(Debug)]
enum Tokens {
    /// Nothing has come yet: there is no clock to earn tokens by.
    Unused { rate: Rate, burst: NonZeroU32 },
    /// In use.
    Earned { bucket: TokenBucket, clock: Arc<dyn Clock> },
}

impl RateLimit {
    /// At most `burst` at once and `rate` in the long run.
    #[must_use]
    pub fn new(rate: Rate, burst: NonZeroU32) -> Self {
        Self::with_tokens(Tokens::Unused { rate, burst })
    }

    /// Measures with another clock than the bus's, from now on.
    #[must_use]
    pub fn with_clock(rate: Rate, burst: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        Self::with_tokens(Tokens::earned(rate, burst, clock))
    }

    /// A handle to change the rate while it is in use.
    #[must_use]
    pub fn handle(&self) -> RateHandle {
        RateHandle { shared: Arc::clone(&self.shared) }
    }

    fn with_tokens(tokens: Tokens) -> Self {
        Self { shared: Arc::new(Shared { tokens: Mutex::new(tokens), changed: Notify::new() }) }
    }
}

impl Tokens {
    fn earned(rate: Rate, burst: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        Self::Earned { bucket: TokenBucket::new(rate, burst, clock.now()), clock }
    }

    /// One token, or how long to wait for it by which clock.
    fn take(&mut self, delivery: &Delivery) -> Result<(), (TakeError, Arc<dyn Clock>)> {
        if let Self::Unused { rate, burst } = *self {
            *self = Self::earned(rate, burst, clock_of(delivery));
        }
        match self {
            Self::Earned { bucket, clock } => {
                bucket.try_take(1, clock.now()).map_err(|error| (error, Arc::clone(clock)))
            }
            Self::Unused { .. } => Ok(()),
        }
    }
}

impl Middleware for RateLimit {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let taken = self.shared.tokens.lock().take(delivery);
            let (until, clock) = match taken {
                Ok(()) => return next.run(delivery).await,
                Err((TakeError::Wait { until, .. }, clock)) => (until, clock),
                Err((error, _)) => return Outcome::failed(error),
            };
            tokio::select! {
                () = clock.sleep_until(until) => {}
                () = changed => {}
            }
        }
    }
}

/// Changes the rate of a [`RateLimit`] that is in use.
#[derive(Debug, Clone)]
pub struct RateHandle {
    shared: Arc<Shared>,
}

impl RateHandle {
    /// Sets the rate; what was earned at the old one stays. Deliveries that wait are measured again.
    pub fn set_rate(&self, new: Rate) {
        match &mut *self.shared.tokens.lock() {
            Tokens::Unused { rate, .. } => *rate = new,
            Tokens::Earned { bucket, clock } => bucket.set_rate(new, clock.now()),
        }
        self.shared.changed.notify_waiters();
    }
}
