//! The handle of a durable subscription.

use std::fmt;
use std::sync::Arc;

use busway_middleware::{ChainTrace, Stage};
use busway_observability::audit::Action;

use super::stats::{DurableStats, Lag};
use super::{DurableCore, Member};
use crate::bus::MiddlewareHandle;

/// A running durable subscription, or one member of a group. Dropping it changes nothing: the subscription goes on until the bus
/// stops.
pub struct DurableSubscription {
    core: Arc<DurableCore>,
    member: Arc<Member>,
}

impl DurableSubscription {
    pub(super) const fn new(core: Arc<DurableCore>, member: Arc<Member>) -> Self {
        Self { core, member }
    }

    pub(super) const fn member(&self) -> &Arc<Member> {
        &self.member
    }

    pub(crate) const fn core(&self) -> &Arc<DurableCore> {
        &self.core
    }

    /// Its name, by which the store knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// Fetches and starts no further event until [`resume`](Self::resume). Those that run go on; what is published meanwhile waits
    /// in the log.
    ///
    /// Of a group only this member pauses: what it has not started goes to the others, its keys too. When all have paused, nothing is
    /// started.
    pub fn pause(&self) {
        let is_done = self.core.pause(&self.member);
        self.core.services.shown.audit_turn(Action::Pause, &self.core.name, is_done);
    }

    /// Goes on after [`pause`](Self::pause). A member of a group has its keys again, from the next event of each on.
    pub fn resume(&self) {
        let is_done = self.core.resume(&self.member);
        self.core.services.shown.audit_turn(Action::Resume, &self.core.name, is_done);
    }

    /// Ends the subscription in this process: nothing more is started, and it returns when running handlers have ended and what
    /// they decided is stored. What waits stays in the log: the next subscription of this name goes on there.
    ///
    /// Of a group only this member leaves: what it has not started goes to the others, and it returns when its running handlers have
    /// ended; what they decided is stored with the decisions of the others. The last member ends the subscription.
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the stop: the subscription ends all the same.
    pub async fn stop(self) -> DurableStats {
        let (core, member) = (Arc::clone(&self.core), Arc::clone(&self.member));
        // Nothing more is started as soon as somebody has asked.
        let has_others = core.leave(&member);
        // A task of its own: the stop goes on when its caller gives up. A runtime that ends ends it too.
        drop(self.core.services.runtime.spawn(async move { core.left(&member, has_others).await }).await);
        self.core.stats()
    }

    /// What became of its events so far; of a group, of those of all members.
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
        MiddlewareHandle::new(&self.member.middleware, stage)
    }
}

impl fmt::Debug for DurableSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableSubscription({}, {})", self.core.name, self.core.state())
    }
}
