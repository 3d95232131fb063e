//! Building a subscription.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use busway_event::{AnyEvent, Filter, FilterError, Priority};
use busway_middleware::middleware::IntoStep;
use busway_middleware::{AnyHandler, Chain, Ephemeral, IntoHandler, Registry, RegistryError, Run, Stage};
use busway_reliability::{FailureClass, Idempotency, Order, Overflow, Retry};
use busway_router::GroupRule;

use super::core::SubscriptionCore;
use super::entry::Entry;
use super::error::{SubscribeError, SubscribeProblem};
use super::handle::Subscription;
use super::into_filter::IntoFilter;
use super::member::{IDEMPOTENT, Member};
use crate::breaker::{Breaker, BreakerStage, FallbackKind, Guard};
use crate::bus::{BusCore, Source};
use crate::classify::Classifier;
use crate::durable::DurableBuilder;
use crate::idempotency::Keeper;
use crate::mailbox::{CoalesceKey, Handling};
use crate::settings::{Effective, Settings};
use crate::worker::Again;

/// An ephemeral subscription that has not begun: in memory, from now on, at most once across a crash.
///
/// Setters never fail; [`to`](SubscribeBuilder::to) reports all that is wrong at once.
#[must_use = "a subscription begins with .to(handler)"]
pub struct SubscribeBuilder {
    bus: Arc<BusCore>,
    filter: Result<Filter, FilterError>,
    name: Option<String>,
    settings: Settings,
    group: Option<Arc<str>>,
    rule: Option<GroupRule>,
    coalesce: CoalesceKey,
    middleware: Registry,
    retry: Option<Retry>,
    classify: Option<Classifier>,
    breaker: Option<Breaker>,
    idempotent: Option<Idempotency>,
    problems: Vec<SubscribeProblem>,
}

impl SubscribeBuilder {
    pub(crate) fn new(bus: Arc<BusCore>, filter: impl IntoFilter) -> Self {
        Self {
            bus,
            filter: filter.into_filter(),
            name: None,
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
        }
    }

    /// Makes it durable: it has a cursor in the store under this name, and every event that streams capture for it is attempted
    /// until it is settled. Names have 1 to 64 characters of `[A-Za-z0-9_-]`, and are unique in the bus.
    /// It waits in the log, so capacity, overflow and time to live do not concern it.
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

    /// The name in statistics, logs and reports; unique in the bus. Default: the filter with a number.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
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

    fn begin(mut self, handler: AnyHandler<Ephemeral>) -> Result<Subscription, SubscribeError> {
        let shown = self.name.clone().unwrap_or_else(|| match &self.filter {
            Ok(filter) => filter.to_string(),
            Err(error) => error.input().to_owned(),
        });
        // Until it has joined: what is checked here must still hold then.
        let bus = Arc::clone(&self.bus);
        let _registering = bus.registering();
        let mut problems = std::mem::take(&mut self.problems);
        problems.extend(self.check(&handler));
        let guard = self.breaker.take().map(|breaker| {
            problems.extend(breaker.problems().into_iter().map(SubscribeProblem::Breaker));
            let is_retried = breaker.fallback.kind() == FallbackKind::AckAndRetryLater;
            if is_retried && handler.run() == Run::Inline {
                problems.push(SubscribeProblem::InlineRetry);
            }
            Arc::new(Guard::new(Arc::clone(&bus.services), breaker))
        });
        if let Some(guard) = &guard {
            let step = BreakerStage::new(Arc::clone(guard)).into_step();
            let added = self.middleware.add(Stage::Breaker, "breaker", step);
            problems.extend(added.err().map(SubscribeProblem::Middleware));
        }
        let filter = match std::mem::replace(&mut self.filter, Ok(everything())) {
            Ok(filter) if problems.is_empty() => filter,
            filter => {
                problems.extend(filter.err().map(SubscribeProblem::Filter));
                return Err(SubscribeError { subscription: shown, problems });
            }
        };
        let settings = self.bus.levels.resolve_shared(&filter, &self.settings);
        let group = self.group.clone();
        let existing = group.as_deref().and_then(|group| self.bus.group(filter.as_str(), group));
        // One that was aborted a moment ago may be forgotten already: then there is no group.
        let subscription = match existing.and_then(|core| Some((core.entry()?, core))) {
            Some((entry, core)) => {
                let differing = differences(&core, &settings);
                if !differing.is_empty() {
                    return Err(SubscribeError { subscription: shown, problems: differing });
                }
                self.join(entry, &core, handler)
            }
            None => self.found(filter.clone(), settings, handler),
        };
        if let Some(guard) = guard {
            guard.named(subscription.name().into(), filter);
            bus.enter_guard(&guard);
        }
        Ok(subscription)
    }

    /// What is wrong with the handler, the name, the bus.
    fn check(&self, handler: &AnyHandler<Ephemeral>) -> Vec<SubscribeProblem> {
        let info = handler.info();
        let missing = info.requirements.states().iter().filter(|(id, _)| !self.bus.states.contains(*id));
        let mut problems: Vec<SubscribeProblem> =
            missing.map(|(_, type_name)| SubscribeProblem::StateMissing { type_name }).collect();
        if info.run == Run::Inline && self.group.is_some() {
            problems.push(SubscribeProblem::InlineInGroup);
        }
        problems.extend(self.retry.iter().flat_map(Retry::problems).map(SubscribeProblem::Retry));
        if matches!(info.run, Run::Inline | Run::Batch(_)) && self.is_again() {
            problems.push(SubscribeProblem::RetryNotPossible { run: info.run });
        }
        if self.group.is_none() && self.name.as_deref().is_some_and(|name| self.bus.is_taken(name)) {
            problems.push(SubscribeProblem::NameTaken);
        }
        if let Some(idempotency) = &self.idempotent {
            problems.extend(idempotency.problems().into_iter().map(SubscribeProblem::Idempotency));
            let steps = Chain::merge([&self.middleware]);
            if steps.nodes().iter().any(|node| node.name() == IDEMPOTENT) {
                let taken = RegistryError::NameTaken { name: IDEMPOTENT.to_owned() };
                problems.push(SubscribeProblem::Middleware(taken));
            }
            if self.group.is_some() && idempotency.shared_store().is_none() {
                problems.push(SubscribeProblem::IdempotentInGroup);
            }
        }
        if !self.bus.closing.admits(Source::Outside) {
            problems.push(SubscribeProblem::Closed);
        }
        problems
    }

    const fn is_again(&self) -> bool {
        self.retry.is_some() || self.classify.is_some()
    }

    /// What this member does about failures.
    fn again(&mut self) -> Option<Arc<Again>> {
        let asked = self.is_again();
        let (retry, classify) =
            (self.retry.unwrap_or(Retry::never()), self.classify.take().unwrap_or_default());
        asked.then(|| Arc::new(Again { retry, classify }))
    }

    /// Makes the subscription that this is the first member of, and routes events to it.
    fn found(
        mut self,
        filter: Filter,
        settings: Arc<Effective>,
        handler: AnyHandler<Ephemeral>,
    ) -> Subscription {
        let again = self.again();
        let shown = self.name.as_deref().unwrap_or(filter.as_str());
        let with = (self.middleware, self.idempotent.as_ref(), again);
        let member = Self::member(0, handler, with, shown);
        let name = self.name.map(Into::into);
        let entry = Entry::new(&self.bus, name, filter, settings, Arc::clone(&member));
        // What has lanes, members or keys to keep, or no queue to fill, is made at once.
        if self.group.is_some() || self.coalesce.is_function() || entry.handling() != Handling::OneWorker {
            let core = entry.wake(self.group, self.coalesce);
            if let (Some(core), Some(rule)) = (core, self.rule) {
                core.mailbox.set_rule(rule);
            }
        }
        self.bus.enter(&entry);
        Subscription::new(entry, member)
    }

    /// Makes a member of it.
    fn member(
        id: u64,
        handler: AnyHandler<Ephemeral>,
        (middleware, idempotent, again): (Registry, Option<&Idempotency>, Option<Arc<Again>>),
        subscription: &str,
    ) -> Arc<Member> {
        let mut member = Member::new(id, handler, middleware, again);
        if let Some(keeper) =
            idempotent.and_then(|idempotency| Keeper::ephemeral(idempotency, subscription.into()))
        {
            member.be_idempotent(Arc::new(keeper));
        }
        Arc::new(member)
    }

    /// Adds the handler to a group that is there.
    fn join(
        mut self,
        entry: Arc<Entry>,
        core: &Arc<SubscriptionCore>,
        handler: AnyHandler<Ephemeral>,
    ) -> Subscription {
        let id = core.next_member();
        let again = self.again();
        let with = (self.middleware, self.idempotent.as_ref(), again);
        let member = Self::member(id, handler, with, &core.name);
        core.add(Arc::clone(&member));
        core.mailbox.join(id);
        if let Some(rule) = self.rule {
            core.mailbox.set_rule(rule);
        }
        Subscription::new(entry, member)
    }
}

impl std::fmt::Debug for SubscribeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscribeBuilder").field("filter", &self.filter).finish_non_exhaustive()
    }
}

/// Settings of a group's new member that differ from the group's.
fn differences(core: &SubscriptionCore, wanted: &Effective) -> Vec<SubscribeProblem> {
    let pairs = core.settings.described.iter().zip(&wanted.described);
    let differing = pairs.filter(|(existing, wanted)| existing.value != wanted.value);
    let group = core.group.as_deref().unwrap_or_default();
    let problem = |(existing, wanted): (&crate::settings::Setting, &crate::settings::Setting)| {
        SubscribeProblem::GroupMismatch {
            group: group.to_owned(),
            setting: existing.name,
            existing: existing.value.clone(),
            wanted: wanted.value.clone(),
        }
    };
    differing.map(problem).collect()
}

fn everything() -> Filter {
    Filter::from_static("#").unwrap_or_else(|_| unreachable!("\"#\" is a filter"))
}
