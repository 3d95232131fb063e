//! Building a subscription.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use busway_event::{AnyEvent, Filter, FilterError, Priority, Topic};
use busway_middleware::middleware::IntoStep;
use busway_middleware::{AnyHandler, Ephemeral, IntoHandler, ModeKind, Registry, Run, Scope, Stage};
use busway_reliability::{Order, Overflow};
use busway_router::GroupRule;

use super::core::{SubscriptionCore, SubscriptionParts};
use super::error::{SubscribeError, SubscribeProblem};
use super::handle::Subscription;
use super::member::Member;
use crate::bus::{BusCore, PublisherSource, Source};
use crate::extract::Stopping;
use crate::mailbox::{CoalesceKey, Handling, Mailbox};
use crate::settings::{Effective, Settings};

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
            problems: Vec::new(),
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

    /// Middleware around this handler alone, merged with the bus's by stage.
    pub fn middleware<Form>(mut self, stage: Stage, name: &str, middleware: impl IntoStep<Form>) -> Self {
        if let Err(error) = self.middleware.add(stage, name, middleware.into_step()) {
            self.problems.push(SubscribeProblem::Middleware(error));
        }
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
        let core = match existing {
            Some(core) => {
                let differing = differences(&core, &settings);
                if !differing.is_empty() {
                    return Err(SubscribeError { subscription: shown, problems: differing });
                }
                core
            }
            None => self.found(filter, settings, handler.info().run),
        };
        Ok(self.join(&core, handler))
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
        if self.group.is_none() && self.name.as_deref().is_some_and(|name| self.bus.has_name(name)) {
            problems.push(SubscribeProblem::NameTaken);
        }
        if !self.bus.closing.admits(Source::Outside) {
            problems.push(SubscribeProblem::Closed);
        }
        problems
    }

    /// Makes the subscription that this is the first member of.
    fn found(&self, filter: Filter, settings: Arc<Effective>, run: Run) -> Arc<SubscriptionCore> {
        let id = self.bus.next_subscription();
        let name: Arc<str> = match (&self.name, &self.group) {
            (Some(name), _) => name.as_str().into(),
            (None, Some(group)) => format!("{filter} @{group}").into(),
            (None, None) => format!("{filter} #{id}").into(),
        };
        let handling = match run {
            Run::Inline => Handling::Inline,
            _ if self.group.is_some() || settings.concurrency > NonZeroU32::MIN => Handling::Scheduled,
            _ => Handling::OneWorker,
        };
        let mut states = self.bus.states.clone();
        let stopping = self.bus.stopping.child_token();
        states.insert(PublisherSource { core: Arc::downgrade(&self.bus), subscription: id });
        states.insert(Stopping::of(stopping.clone()));
        let scope = Scope::new(Arc::clone(&name), filter.clone(), ModeKind::Ephemeral, states);
        SubscriptionCore::new(SubscriptionParts {
            services: Arc::clone(&self.bus.services),
            id,
            name,
            filter,
            group: self.group.clone(),
            mailbox: Mailbox::new(
                Arc::clone(&settings),
                Some(self.coalesce.clone()),
                handling,
                self.bus.services.clock.now(),
            ),
            settings,
            scope: Arc::new(scope),
            bus: Arc::downgrade(&self.bus),
            stopping,
        })
    }

    /// Adds the handler to the subscription, and routes events to it when it is the first one.
    fn join(self, core: &Arc<SubscriptionCore>, handler: AnyHandler<Ephemeral>) -> Subscription {
        let id = core.next_member();
        let member = Member::new(id, handler, Arc::new(self.middleware), &self.bus.services.middleware);
        let member = Arc::new(member);
        if member.handler.info().run == Run::Inline {
            _ = core.inline.set(Arc::clone(&member));
        }
        core.add(Arc::clone(&member));
        core.mailbox.join(id);
        if let Some(rule) = self.rule {
            core.mailbox.set_rule(rule);
        }
        if core.route.get().is_none() {
            self.bus.enter(core);
        }
        Subscription::new(Arc::clone(core), member)
    }
}

impl std::fmt::Debug for SubscribeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscribeBuilder").field("filter", &self.filter).finish_non_exhaustive()
    }
}

/// What can be the filter of a subscription: a [`Filter`] or [`Topic`], which are valid already, or text, which is checked
/// by `.to(…)`.
pub trait IntoFilter {
    /// The filter, or the rule that the text breaks.
    ///
    /// # Errors
    /// [`FilterError`].
    fn into_filter(self) -> Result<Filter, FilterError>;
}

impl IntoFilter for Filter {
    fn into_filter(self) -> Result<Filter, FilterError> {
        Ok(self)
    }
}

impl IntoFilter for &Filter {
    fn into_filter(self) -> Result<Filter, FilterError> {
        Ok(self.clone())
    }
}

impl IntoFilter for Topic {
    fn into_filter(self) -> Result<Filter, FilterError> {
        Ok(self.into())
    }
}

impl IntoFilter for &str {
    fn into_filter(self) -> Result<Filter, FilterError> {
        Filter::new(self)
    }
}

impl IntoFilter for String {
    fn into_filter(self) -> Result<Filter, FilterError> {
        Filter::new(self)
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
