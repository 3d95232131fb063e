//! The handle of a subscription.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use busway_middleware::{ChainTrace, Stage};
use busway_observability::audit::Action;

use super::core::SubscriptionCore;
use super::entry::Entry;
use super::member::Member;
use crate::bus::MiddlewareHandle;
use crate::stats::{State, SubscriptionStats};

/// A running subscription, or one member of a group. Dropping it changes nothing: the subscription goes on until the bus
/// stops. [`scoped`](Subscription::scoped) makes a guard of it.
pub struct Subscription {
    pub(super) entry: Arc<Entry>,
    name: Arc<str>,
    pub(super) member: Arc<Member>,
}

impl Subscription {
    pub(crate) fn new(entry: Arc<Entry>, member: Arc<Member>) -> Self {
        let name = match entry.awake() {
            Some(core) => Arc::clone(&core.name),
            None => entry.name(),
        };
        Self { entry, name, member }
    }

    /// What is at work, if it was made and has not ended before.
    pub(crate) fn core(&self) -> Option<Arc<SubscriptionCore>> {
        self.entry.awake().cloned()
    }

    /// The subscription's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts no further event until [`resume`](Subscription::resume). Events go on being taken in, under the overflow
    /// policy; those that run go on. Of a group, all members pause. An inline subscription has no queue: it drops what is
    /// published while it is paused, and counts that.
    pub fn pause(&self) {
        if let Some(core) = self.entry.core() {
            core.advance(State::Paused);
            core.touch();
        }
        self.entry.audit_turn(Action::Pause, &self.name, State::Paused);
    }

    /// Goes on after [`pause`](Subscription::pause).
    pub fn resume(&self) {
        if let Some(core) = self.entry.awake() {
            core.resume();
        }
        self.entry.audit_turn(Action::Resume, &self.name, State::Running);
    }

    /// Ends the subscription: nothing new is routed to it, what waits is handled, and it returns when all of it is done. A
    /// paused one abandons what waits. Of a group, only this member leaves: what waits goes to the others. One that took the place of another waits for the end of that, so
    /// a handler of the other must not wait for this.
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the stop: the subscription ends all the same.
    pub async fn stop(self) -> SubscriptionStats {
        match self.entry.end() {
            Some(core) => core.stop(&self.member).await,
            None => self.entry.stats(),
        }
    }

    /// Ends the subscription at once: what waits is abandoned, running handlers are cut short. Blocking ones cannot be; the
    /// call does not wait for them. Of a group, all members end.
    pub fn abort(self) -> SubscriptionStats {
        if let Some(core) = self.entry.end() {
            core.abort_now();
        }
        self.entry.stats()
    }

    /// Waits until the subscription has ended by itself: by [`Overflow::Disconnect`](busway_reliability::Overflow), or with
    /// the bus.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ended(&self) {
        if let Some(core) = self.entry.core() {
            core.ended().await;
        }
    }

    /// What became of its events.
    #[must_use]
    pub fn stats(&self) -> SubscriptionStats {
        self.entry.stats()
    }

    /// The last deliveries' ways through the chain, oldest first: see `.traces(n)` on the builder.
    #[must_use]
    pub fn traces(&self) -> Vec<ChainTrace> {
        self.entry.awake().map(|core| core.traces()).unwrap_or_default()
    }

    /// The middleware of this handler alone, in a stage; it may change while events are handled.
    #[must_use]
    pub fn middleware(&self, stage: Stage) -> MiddlewareHandle<'_> {
        MiddlewareHandle::new(&self.member.middleware, stage)
    }

    /// Makes a guard that aborts the subscription when it is dropped.
    pub fn scoped(self) -> ScopedSubscription {
        ScopedSubscription { subscription: Some(self) }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({}, {})", self.name, self.entry.state())
    }
}

/// A subscription that ends with this guard, as by [`Subscription::abort`].
#[derive(Debug)]
#[must_use = "the subscription ends when this is dropped"]
pub struct ScopedSubscription {
    subscription: Option<Subscription>,
}

impl ScopedSubscription {
    /// Takes the subscription out of the guard.
    ///
    /// # Panics
    /// Never: the guard holds it until it is dropped.
    pub fn detach(mut self) -> Option<Subscription> {
        self.subscription.take()
    }
}

impl Deref for ScopedSubscription {
    type Target = Subscription;

    fn deref(&self) -> &Subscription {
        match &self.subscription {
            Some(subscription) => subscription,
            None => unreachable!("only detach and drop take it, and both end the guard"),
        }
    }
}

impl Drop for ScopedSubscription {
    fn drop(&mut self) {
        if let Some(subscription) = self.subscription.take() {
            subscription.abort();
        }
    }
}
