//! What can be seen of breakers, and forced.

use std::fmt;
use std::sync::Arc;

use busway_event::{Timestamp, Topic};
use busway_observability::audit::{Action, Ending};
use busway_reliability::{BreakerState, CircuitCounts, Force};
use thiserror::Error;

use super::guard::Guard;
use crate::bus::{Bus, BusCore};

/// A channel at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerStatus {
    /// The subscription.
    pub subscription: Arc<str>,
    /// The topic.
    pub topic: Topic,
    /// Where its circuit is.
    pub state: BreakerState,
    /// Whether somebody forces it.
    pub force: Force,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When it lets probes pass; `None` unless it is open by itself. A time that is over: with the next event.
    pub next_probe: Option<Timestamp>,
    /// Probes that run.
    pub probes: u32,
    /// Events that wait for it.
    pub waiting: u64,
    /// How often something was done in the place of a call, waiting not counted.
    pub fell_back: u64,
    /// What its circuit has seen.
    pub counts: CircuitCounts,
}

impl fmt::Display for BreakerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subscription, topic, state, counts, waiting, .. } = self;
        let CircuitCounts { successes, failures, refused, opened, .. } = counts;
        write!(f, "{subscription} on {topic} ({state}")?;
        if self.force != Force::Automatic {
            write!(f, ", {}", self.force)?;
        }
        write!(
            f,
            "): {successes} well, {failures} failed, {refused} refused, {waiting} waiting, opened {opened} times"
        )
    }
}

/// The breakers of a bus: [`Bus::breakers`].
#[derive(Debug, Clone)]
pub struct Breakers {
    bus: Arc<BusCore>,
    by: Option<String>,
}

impl Bus {
    /// The circuit breakers of all subscriptions that have one: what they are at, and how to force them.
    #[must_use]
    pub fn breakers(&self) -> Breakers {
        Breakers { bus: Arc::clone(self.core()), by: None }
    }
}

impl BusCore {
    pub(crate) fn breaker_statuses(&self) -> Vec<BreakerStatus> {
        let durable = self.durable.list();
        let durable = durable.iter().flat_map(|core| core.breakers());
        let ephemeral = self.guards();
        let ephemeral = ephemeral.iter().flat_map(|guard| guard.statuses(|topic| guard.aside_on(topic)));
        durable.chain(ephemeral).collect()
    }
}

impl Breakers {
    /// Who does what is done, for the [audit line](busway_observability::audit). Default: the producer of the bus.
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.by = Some(who.into());
        self
    }

    /// All channels that have had an event, or were forced, by subscription and topic. At most [`CHANNELS_MAX`](super::CHANNELS_MAX) a
    /// subscription.
    #[must_use]
    pub fn list(&self) -> Vec<BreakerStatus> {
        self.bus.breaker_statuses()
    }

    /// One channel; `None` when it has had no event yet, or there is no such subscription with a breaker.
    #[must_use]
    pub fn get(&self, subscription: &str, topic: &str) -> Option<BreakerStatus> {
        self.list()
            .into_iter()
            .find(|status| *status.subscription == *subscription && status.topic.as_str() == topic)
    }

    /// Forces a channel open or closed, or lets it go by its rules again; one that has had no event is made for it. Those who wait for it are
    /// told at once; calls that run go on, and count no more. Until the process ends: it is not stored.
    ///
    /// # Errors
    /// [`ChannelUnknown`].
    pub fn force(&self, subscription: &str, topic: &str, force: Force) -> Result<(), ChannelUnknown> {
        let (shown, forced) = (&self.bus.services.shown, self.force_channel(subscription, topic, force));
        let subject = format!("channel {subscription} on {topic}, {force}");
        let ending = match &forced {
            Ok(()) => Ending::Done { count: None },
            Err(unknown) => shown.refused(unknown),
        };
        shown.audit(Action::ForceBreaker, &subject, self.by.as_deref(), &ending);
        forced
    }

    fn force_channel(&self, subscription: &str, topic: &str, force: Force) -> Result<(), ChannelUnknown> {
        let parsed =
            Topic::new(topic).map_err(|error| ChannelUnknown::Topic { reason: error.to_string() })?;
        let durable = self.bus.durable.list();
        let guards = durable.iter().filter_map(|core| core.guard.clone()).chain(self.bus.guards());
        let mut guards = guards.filter(|guard| *guard.subscription() == *subscription).peekable();
        let Some(first) = guards.peek() else {
            return Err(ChannelUnknown::Subscription { subscription: subscription.to_owned() });
        };
        if let Some(filter) = first.filter().filter(|filter| !filter.matches(&parsed)) {
            return Err(ChannelUnknown::NotMeant { topic: topic.to_owned(), filter: filter.to_string() });
        }
        // Members of an ephemeral group have one each.
        guards.for_each(|guard| guard.force(&parsed, force));
        Ok(())
    }
}

/// There is no such channel to force.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChannelUnknown {
    /// No subscription of this name runs that has a breaker.
    #[error("no subscription \"{}\" with a breaker runs on this bus: give it one with .breaker(…)", subscription.escape_debug())]
    Subscription {
        /// The name.
        subscription: String,
    },
    /// The topic is none.
    #[error("{reason}")]
    Topic {
        /// Which rule it breaks.
        reason: String,
    },
    /// The subscription has nothing to do with the topic.
    #[error("the subscription is to {filter}, which does not mean {topic}")]
    NotMeant {
        /// The topic.
        topic: String,
        /// The filter.
        filter: String,
    },
}

impl BusCore {
    /// The guards of ephemeral subscriptions that have not ended.
    pub(crate) fn guards(&self) -> Vec<Arc<Guard>> {
        self.guards.read().iter().filter_map(std::sync::Weak::upgrade).collect()
    }

    pub(crate) fn enter_guard(&self, guard: &Arc<Guard>) {
        let mut guards = self.guards.write();
        // One that is inherited is there already.
        guards.retain(|other| other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), Arc::as_ptr(guard)));
        guards.push(Arc::downgrade(guard));
    }
}
