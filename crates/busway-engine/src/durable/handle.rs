//! The handle of a durable subscription.

use std::fmt;
use std::sync::Arc;

use busway_middleware::{ChainTrace, Stage};

use super::DurableCore;
use super::stats::{DurableStats, Lag};
use crate::bus::MiddlewareHandle;
use crate::stats::State;

/// A running durable subscription. Dropping it changes nothing: the subscription goes on until the bus stops.
pub struct DurableSubscription {
    core: Arc<DurableCore>,
}

impl DurableSubscription {
    pub(super) const fn new(core: Arc<DurableCore>) -> Self {
        Self { core }
    }

    /// Its name, by which the store knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// Fetches and starts no further event until [`resume`](Self::resume). Those that run go on; what is published meanwhile waits
    /// in the log.
    pub fn pause(&self) {
        self.core.advance(State::Paused);
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.core.advance(State::Running);
    }

    /// Ends the subscription in this process: nothing more is started, and it returns when running handlers have ended and what
    /// they decided is stored. What waits stays in the log: the next subscription of this name goes on there.
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the stop: the subscription ends all the same.
    pub async fn stop(self) -> DurableStats {
        let core = Arc::clone(&self.core);
        // A task of its own: the stop goes on when its caller gives up. A runtime that ends ends it too.
        drop(self.core.services.runtime.spawn(async move { core.stop().await }).await);
        self.core.stats()
    }

    /// What became of its events so far.
    #[must_use]
    pub fn stats(&self) -> DurableStats {
        self.core.stats()
    }

    /// How far it is behind. Reads a record of each partition.
    #[must_use]
    pub fn lag(&self) -> Lag {
        self.core.lag()
    }

    /// The last deliveries' ways through the chain, oldest first: see `.traces(n)` on the builder.
    #[must_use]
    pub fn traces(&self) -> Vec<ChainTrace> {
        self.core.traces()
    }

    /// The middleware of this handler alone, in a stage; it may change while events are handled.
    #[must_use]
    pub fn middleware(&self, stage: Stage) -> MiddlewareHandle<'_> {
        MiddlewareHandle::new(&self.core.middleware, stage)
    }
}

impl fmt::Debug for DurableSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableSubscription({}, {})", self.core.name, self.core.state())
    }
}
