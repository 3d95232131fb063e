//! Building a subscription.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use busway_event::{AnyEvent, Filter, FilterError, Priority};
use busway_middleware::middleware::IntoStep;
use busway_middleware::{Ephemeral, Identity, IntoHandler, Registry, Stage};
use busway_reliability::{FailureClass, Idempotency, Order, Overflow, Retry, RetryBudget};
use busway_router::GroupRule;

use super::error::{SubscribeError, SubscribeProblem};
use super::handle::Subscription;
use super::heritage::Heritage;
use super::into_filter::IntoFilter;
use super::takeover::Predecessor;
use crate::breaker::Breaker;
use crate::bus::BusCore;
use crate::classify::Classifier;
use crate::durable::DurableBuilder;
use crate::mailbox::CoalesceKey;
use crate::remote::Feed;
use crate::settings::Settings;

/// An ephemeral subscription that has not begun: in memory, from now on, at most once across a crash.
///
/// Setters never fail; [`to`](SubscribeBuilder::to) reports all that is wrong at once.
#[must_use = "a subscription begins with .to(handler)"]
pub struct SubscribeBuilder {
    pub(crate) bus: Arc<BusCore>,
    pub(crate) filter: Result<Filter, FilterError>,
    pub(crate) name: Option<String>,
    pub(super) identity: Identity,
    pub(crate) settings: Settings,
    pub(crate) group: Option<Arc<str>>,
    pub(super) rule: Option<GroupRule>,
    pub(crate) coalesce: CoalesceKey,
    pub(super) middleware: Registry,
    pub(crate) retry: Option<Retry>,
    pub(crate) classify: Option<Classifier>,
    pub(crate) breaker: Option<Breaker>,
    pub(super) idempotent: Option<Idempotency>,
    pub(super) problems: Vec<SubscribeProblem>,
    pub(super) predecessor: Option<Predecessor>,
    pub(super) heritage: Option<Heritage>,
    /// Where its events come from, when that is not the routing table.
    pub(super) feed: Option<Arc<Feed>>,
}

impl SubscribeBuilder {
    pub(crate) fn new(bus: Arc<BusCore>, filter: impl IntoFilter) -> Self {
        Self {
            bus,
            filter: filter.into_filter(),
            name: None,
            identity: Identity::Name,
            settings: Settings::new(),
            group: None,
            rule: None,
            coalesce: CoalesceKey::default(),
            middleware: Registry::new(),
            retry: None,
            classify: None,
            breaker: None,
            idempotent: None,
            problems: Vec::new(),
            predecessor: None,
            heritage: None,
            feed: None,
        }
    }

    /// Makes it durable: it has a cursor in the store under this name, and every event that streams capture for it is attempted
    /// until it is settled. Names have 1 to 64 characters of `[A-Za-z0-9_-]`, and are unique in the bus.
    /// It waits in the log, so capacity and overflow do not concern it, and of time to live only what is said here by [`ttl`](Self::ttl): see [`DurableBuilder::ttl`].
    pub fn durable(self, name: impl Into<String>) -> DurableBuilder {
        let Self {
            bus,
            filter,
            settings,
            group,
            rule,
            coalesce,
            middleware,
            mut problems,
            retry,
            classify,
            breaker,
            idempotent,
            ..
        } = self;
        if coalesce.is_function() {
            problems.push(SubscribeProblem::NotDurable { setting: "coalesce_by" });
        }
        let durable =
            DurableBuilder::new(bus, filter, name.into(), settings, (group, rule), middleware, problems);
        let durable = durable.with_recovery(retry, classify);
        let durable = match breaker {
            Some(breaker) => durable.breaker(breaker),
            None => durable,
        };
        match idempotent {
            Some(idempotency) => durable.idempotent(idempotency),
            None => durable,
        }
    }

    /// Takes its events from there, and from nowhere else.
    pub(crate) fn fed_by(mut self, feed: Arc<Feed>) -> Self {
        self.feed = Some(feed);
        self
    }

    /// The name in statistics, logs and reports; unique in the bus. Default: the filter with a number.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// As whom rules of access judge what it is given. Default: its name. In a group it is of this member. Made [durable](Self::durable) it is judged by its
    /// name in the store.
    pub fn identity(mut self, identity: impl Into<Arc<str>>) -> Self {
        self.identity = Identity::Other(identity.into());
        self
    }

    /// See [`Settings::capacity`]: events that may wait in each queue. Default 64, at least 1.
    pub fn capacity(mut self, events: usize) -> Self {
        self.settings = self.settings.capacity(events);
        self
    }

    /// See [`Settings::capacity_bytes`]: bytes that waiting events may weigh. Default 64 MiB, at least 1.
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.settings = self.settings.capacity_bytes(bytes);
        self
    }

    /// What happens when a queue is full. Default [`Overflow::DropNewest`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.settings = self.settings.overflow(overflow);
        self
    }

    /// Of events with the same `key` only the latest waits: [`Overflow::Coalesce`] by a function instead of the event's key.
    /// An event without a key (`None`, or one that breaks the rules of [`Key`](busway_event::Key)) is not coalesced.
    pub fn coalesce_by(mut self, key: impl Fn(&AnyEvent) -> Option<String> + Send + Sync + 'static) -> Self {
        self.coalesce = CoalesceKey(Some(Arc::new(key)));
        self.overflow(Overflow::Coalesce)
    }

    /// Which events run one after another. Default [`Order::Lane`].
    pub fn order(mut self, order: Order) -> Self {
        self.settings = self.settings.order(order);
        self
    }

    /// Events handled at once, in a group by each member. Default 1, at least 1, at most 65,536.
    pub fn concurrency(mut self, events: usize) -> Self {
        self.settings = self.settings.concurrency(events);
        self
    }

    /// Events of a priority handled at once. Defaults 128, 16, 8, 8; at least 1.
    pub fn priority_limit(mut self, priority: Priority, events: u32) -> Self {
        self.settings = self.settings.priority_limit(priority, events);
        self
    }

    /// How often each priority is served when all wait. Default 8:4:2:1; each at least 1.
    pub fn share(mut self, weights: [u32; 4]) -> Self {
        self.settings = self.settings.share(weights);
        self
    }

    /// How long events of a priority may wait, `None` for ever. Defaults P0 30 s, P1 300 s, P2 and P3 for ever.
    pub fn ttl(mut self, priority: Priority, ttl: Option<Duration>) -> Self {
        self.settings = self.settings.ttl(priority, ttl);
        self
    }

    /// Keeps the chain traces of the last deliveries. Default 0, at most 1,024.
    pub fn traces(mut self, deliveries: usize) -> Self {
        self.settings = self.settings.traces(deliveries);
        self
    }

    /// Makes this a member of a group: members on the same filter share its events, each event goes to one of them. Events
    /// with a key stick to a member, and stay in order also when members come and go.
    pub fn group(mut self, group: &str) -> Self {
        self.group = Some(group.into());
        self
    }

    /// How members share events without a key. Default [`GroupRule::RoundRobin`]; the last member to join decides.
    pub fn group_rule(mut self, rule: GroupRule) -> Self {
        self.rule = Some(rule);
        self
    }

    /// How often a failing event is attempted, and how far apart: in memory, so that no retry outlives the process. Default: once.
    /// [`Retry::ephemeral`] is 3 attempts within a second.
    ///
    /// The handler's worker waits with the event: its lane waits, and with a [`concurrency`](Self::concurrency) of 1 everything else of the subscription
    /// too, in its bounded queue. A shutdown waits for what is left of the attempts within its grace, and then for none. Inline and batch
    /// handlers are attempted once: [`to`](Self::to) refuses this with them. What must survive is for a [durable](Self::durable) subscription.
    /// In a group it is of this member.
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// How much of the subscription's traffic may be further attempts, so that an outage does not multiply the load on what is down. What is over it waits as
    /// it does for its [delay](Self::retry), and is charged nothing (see [`stats().over_budget`](crate::SubscriptionStats)): a queue that is full meanwhile is for its overflow
    /// policy. `None`: no bound, which is the default. In a group it is that of all members together, who have to agree. Inline and batch handlers are refused with it.
    pub fn retry_budget(mut self, budget: impl Into<Option<RetryBudget>>) -> Self {
        self.settings = self.settings.retry_budget(budget);
        self
    }

    /// What kind of failure an error is, see [`DurableBuilder::classify`]: a permanent one is not attempted again, and counts as dead. Not for inline and
    /// batch handlers.
    pub fn classify(
        mut self,
        classify: impl Fn(&(dyn Error + Send + Sync + 'static)) -> FailureClass + Send + Sync + 'static,
    ) -> Self {
        self.classify = Some(Classifier::new(classify));
        self
    }

    /// Handles what is asked for twice once: an event whose key is done is skipped, and counted ([`idempotency`](crate::SubscriptionStats)); see
    /// [`Idempotency`] for what makes two events one. Default: nothing is remembered.
    ///
    /// Of an ephemeral subscription the keys are in memory: at most [`local_capacity`](Idempotency::local_capacity) of them, for
    /// [`local_ttl`](Idempotency::local_ttl) at the longest, and gone with the process, unless there is a shared [`store`](Idempotency::store). It
    /// is a step of the chain in [`Stage::Idempotency`]. An event whose key another one has waits in its place until that one has ended, and so do
    /// those of its lane; while a shared store cannot be reached they wait too. Not for groups without a shared store: each member would
    /// remember its own.
    pub fn idempotent(mut self, idempotency: Idempotency) -> Self {
        self.idempotent = Some(idempotency);
        self
    }

    /// Middleware around this handler alone, merged with the bus's by stage.
    pub fn middleware<Form>(mut self, stage: Stage, name: &str, middleware: impl IntoStep<Form>) -> Self {
        if let Err(error) = self.middleware.add(stage, name, middleware.into_step()) {
            self.problems.push(SubscribeProblem::Middleware(error));
        }
        self
    }

    /// A circuit breaker around the handler, one for each topic: a middleware named `breaker` in [`Stage::Breaker`]. What it remembers, and
    /// what waits for it, is in memory and does not survive the process; see [`Fallback`](crate::Fallback) for what is done while it is open.
    /// Default: none. In a group each member has its own.
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// Begins the subscription: events that are published from now on reach `handler`.
    ///
    /// # Errors
    /// [`SubscribeError`] lists everything that is wrong; nothing has begun then.
    ///
    /// # Cancel safety
    /// Begins when first polled; dropped before, nothing has begun.
    #[expect(
        clippy::unused_async,
        reason = "durable subscriptions read their cursor here; one verb serves both"
    )]
    pub async fn to<Args, H: IntoHandler<Ephemeral, Args>>(
        self,
        handler: H,
    ) -> Result<Subscription, SubscribeError> {
        self.begin(handler.into_handler())
    }
}

impl std::fmt::Debug for SubscribeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscribeBuilder").field("filter", &self.filter).finish_non_exhaustive()
    }
}
