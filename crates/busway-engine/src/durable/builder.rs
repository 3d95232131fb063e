//! Building a durable subscription.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use busway_event::{Filter, FilterError, Priority};
use busway_middleware::middleware::IntoStep;
use busway_middleware::{AnyHandler, Durable, Identity, IntoHandler, ModeKind, Registry, Stage};
use busway_persistence::{Registered, RequestError, STREAM_NAME_BYTES_MAX, Store};
use busway_reliability::{Caution, Idempotency, Order};
use busway_router::GroupRule;

use super::core::DurableParts;
use super::hand::window;
use super::name_taken::NameTaken;
use super::recovery::Recovery;
use super::replays::with_lanes;
use super::{DurableCore, DurableSubscription, LogEnds, Member, StartAt, caution};
use crate::breaker::{Breaker, Named};
use crate::bus::{BusCore, PublisherSource, Source};
use crate::classify::Classifier;
use crate::extract::Stopping;
use crate::idempotency::Keeper;
use crate::log::Log;
use crate::settings::{Effective, Settings};
use crate::subscription::{Heritage, SubscribeError, SubscribeProblem};

/// A durable subscription that has not begun: named, with a stored cursor, at least once unless it says [otherwise](DurableBuilder::at_most_once).
///
/// Every event that a stream captures and its filter wants is attempted until it is settled: handled, skipped, given up as a
/// dead letter, or expired where it has a [time to live](Self::ttl); it may be attempted more than once. An event that fails is parked in the store and attempted again when it is due;
/// later events of its lane wait behind it, all others flow on. After a restart, also after a crash, only what was not settled is
/// attempted again.
///
/// Setters never fail; [`to`](DurableBuilder::to) reports all that is wrong at once.
#[must_use = "a subscription begins with .to(handler)"]
pub struct DurableBuilder {
    pub(super) bus: Arc<BusCore>,
    pub(super) filter: Result<Filter, FilterError>,
    pub(super) name: String,
    /// Of this stream alone.
    stream: Option<String>,
    pub(super) settings: Settings,
    start_at: StartAt,
    behind: Option<LogEnds>,
    pub(super) classify: Classifier,
    pub(super) breaker: Option<Breaker>,
    pub(super) deadline: Option<Duration>,
    pub(super) idempotent: Option<Idempotency>,
    pub(super) is_at_most_once: bool,
    pub(super) group: Option<Arc<str>>,
    pub(super) rule: Option<GroupRule>,
    pub(super) middleware: Registry,
    /// Nobody is called: its events are [taken](super::taking).
    pub(super) is_taken: bool,
    /// Who it is to rules of access: as whoever founds the group says.
    identity: Identity,
    pub(super) problems: Vec<SubscribeProblem>,
    pub(super) heritage: Option<Heritage>,
}

impl DurableBuilder {
    pub(crate) fn new(
        bus: Arc<BusCore>,
        filter: Result<Filter, FilterError>,
        name: String,
        settings: Settings,
        (group, rule): (Option<Arc<str>>, Option<GroupRule>),
        middleware: Registry,
        problems: Vec<SubscribeProblem>,
    ) -> Self {
        let (start_at, classify) = (StartAt::default(), Classifier::default());
        let (breaker, deadline, idempotent, heritage) = (None, None, None, None);
        Self {
            bus,
            filter,
            name,
            stream: None,
            settings,
            start_at,
            behind: None,
            classify,
            breaker,
            deadline,
            idempotent,
            is_at_most_once: false,
            group,
            rule,
            middleware,
            is_taken: false,
            identity: Identity::Name,
            problems,
            heritage,
        }
    }

    /// Events that this stream captures, and none of others. Default: of all streams that have topics in common with the filter. What a subscription reads is decided when the store
    /// comes to know it.
    pub fn of_stream(mut self, stream: impl Into<String>) -> Self {
        self.stream = Some(stream.into());
        self
    }

    /// Sets who it is to rules of access.
    pub(crate) fn identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// Where it begins when the store does not know it yet. Default [`StartAt::Stored`]: a new one begins with what is published
    /// from now on.
    pub const fn start_at(mut self, start_at: StartAt) -> Self {
        self.start_at = start_at;
        self
    }

    /// When the store does not know it yet, it begins behind what the log held at some moment, whatever [`start_at`](Self::start_at) says: for one that takes the place of another, which is told
    /// to end before the [ends](crate::Bus::log_ends) are looked up. What is published while that one is still ending is among its events then. Default: none.
    pub fn start_behind(mut self, ends: LogEnds) -> Self {
        self.behind = Some(ends);
        self
    }

    /// Which events run one after another. Default [`Order::Lane`].
    pub fn order(mut self, order: Order) -> Self {
        self.settings = self.settings.order(order);
        self
    }

    /// Events handled at once, in a group by this member. Default 1, at least 1, at most 65,536. With 1, events of one priority are handled exactly in the
    /// order of their offsets; in a group, those of one key. A call of a [`batch`](busway_middleware::batch) handler counts as one event.
    pub fn concurrency(mut self, events: usize) -> Self {
        self.settings = self.settings.concurrency(events);
        self
    }

    /// Events of a priority handled at once. Defaults 128, 16, 8, 8; at least 1.
    pub fn priority_limit(mut self, priority: Priority, events: u32) -> Self {
        self.settings = self.settings.priority_limit(priority, events);
        self
    }

    /// How often each priority is served when all wait, among the events in hand. Default 8:4:2:1; each at least 1.
    pub fn share(mut self, weights: [u32; 4]) -> Self {
        self.settings = self.settings.share(weights);
        self
    }

    /// Makes this a member of a group: subscriptions of the same name and group, in this process, are one, and each of its events goes
    /// to one of them. There is one cursor and one window; each member has its own handler, middleware and concurrency. Default: no
    /// group, and a second subscription of the name is an error.
    ///
    /// Members want the same: the same filter, order, share, priority limits, retry and traces; else [`to`](Self::to) says what differs.
    /// Where it begins is decided by the first.
    ///
    /// Events with a key stick to a member, unless the order is [`Order::None`]; the keys of one that [pauses](DurableSubscription::pause) or
    /// [stops](DurableSubscription::stop) go to the others, and one that joins takes some over. Lanes are the subscription's: an
    /// event of a key starts when the one before is settled, with whichever member. All others go to whoever is free.
    ///
    /// A member whose handler does not end keeps its keys waiting; when the window is full of their events, 256 of them or four for each
    /// event that may be handled at once, the others get nothing more: stop or pause it, or give it a [`Timeout`](crate::Timeout).
    pub fn group(mut self, group: &str) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Who of several free members is given an event that sticks to none. Default [`GroupRule::RoundRobin`]; the last member to join
    /// decides.
    pub const fn group_rule(mut self, rule: GroupRule) -> Self {
        self.rule = Some(rule);
        self
    }

    /// Events that may be parked before nothing more is read. Default 1,000,000, at least 1: [`Settings::parked_max`].
    pub fn parked_max(mut self, events: usize) -> Self {
        self.settings = self.settings.parked_max(events);
        self
    }

    /// Keeps the chain traces of the last deliveries. Default 0, at most 1,024.
    pub fn traces(mut self, deliveries: usize) -> Self {
        self.settings = self.settings.traces(deliveries);
        self
    }

    /// Middleware around this handler alone, merged with the bus's by stage.
    pub fn middleware<Form>(mut self, stage: Stage, name: &str, middleware: impl IntoStep<Form>) -> Self {
        if let Err(error) = self.middleware.add(stage, name, middleware.into_step()) {
            self.problems.push(SubscribeProblem::Middleware(error));
        }
        self
    }

    /// Begins the subscription, or goes on with it where the store says that it stands, or joins its group.
    ///
    /// # Errors
    /// [`SubscribeError`] lists everything that is wrong; nothing has begun then.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing has begun; the store may know the subscription then.
    pub async fn to<Args, H: IntoHandler<Durable, Args>>(
        self,
        handler: H,
    ) -> Result<DurableSubscription, SubscribeError> {
        self.begin(handler.into_handler()).await
    }

    pub(super) async fn begin(
        mut self,
        handler: AnyHandler<Durable>,
    ) -> Result<DurableSubscription, SubscribeError> {
        let bus = Arc::clone(&self.bus);
        let _joining = match &self.group {
            Some(_) => Some(bus.durable.joining.lock().await),
            None => None,
        };
        let mut problems = std::mem::take(&mut self.problems);
        problems.extend(self.check(&handler));
        let named = self.group.as_ref().and_then(|_| bus.durable.named(&self.name));
        if let Some(core) = named.filter(|core| core.group.is_some()) {
            return self.join(core, handler, problems);
        }
        let name = NameTaken::take(&bus, &self.name);
        if name.is_none() {
            problems.push(SubscribeProblem::NameTaken);
        }
        let log = bus.log.as_ref();
        let filter = self.filter.as_ref().ok();
        let partitions = log.zip(filter).map(|(log, filter)| match &self.stream {
            Some(stream) => log.partitions_within(filter, stream),
            None => log.partitions_of(filter),
        });
        let partitions = partitions.unwrap_or_default();
        if log.is_none() {
            problems.push(SubscribeProblem::NoStore);
        } else if let Some(filter) = filter.filter(|_| partitions.is_empty()) {
            problems.push(SubscribeProblem::NoStream { filter: filter.to_string() });
        }
        let refused = |problems| SubscribeError { subscription: self.name.clone(), problems };
        let (Some(name), Some(log), Ok(filter), true) = (name, log, &self.filter, problems.is_empty()) else {
            problems.extend(self.filter.as_ref().err().cloned().map(SubscribeProblem::Filter));
            return Err(refused(problems));
        };
        let _turn = bus.durable.turn(&self.name).lock_owned().await;
        let (start_at, behind) = (self.start_at, self.behind.clone());
        let offset = move |store: &Store, partition| match &behind {
            Some(ends) => ends.offset(partition),
            None => start_at.offset(store, partition),
        };
        let starts = move |store: &Store| {
            partitions.into_iter().map(|partition| (partition, offset(store, partition))).collect()
        };
        let registered = log.register(&bus.services, (&self.name, filter), starts).await;
        let registered = answered(registered).map_err(|problem| refused(vec![problem]))?;
        let taken_up =
            caution::take_up(log, &bus.services, (&self.name, filter), handler.info().name, registered).await;
        let (mut registered, caution) = answered(taken_up).map_err(|problem| refused(vec![problem]))?;
        let settings = bus.levels.resolve_shared(filter, &self.settings);
        let who = (registered.number, settings.order);
        registered.places = with_lanes(log, &bus.services, who, registered.places).await;
        let keeper = self.keeper(log, &bus.services, registered.number).await;
        let keeper = keeper.map_err(|problem| refused(vec![problem]))?;
        let (filter, taken_up) = (filter.clone(), (registered, caution, keeper));
        let (core, member) = self.found(&bus, Arc::clone(log), (filter, settings), taken_up, handler);
        // Under the lock: it begins before the bus closes, or not at all.
        let _registering = bus.registering();
        let Some(member) = member.filter(|_| bus.closing.admits(Source::Outside)) else {
            let problems = vec![SubscribeProblem::Closed];
            return Err(SubscribeError { subscription: core.name.to_string(), problems });
        };
        name.keep();
        if let Some(guard) = &core.guard {
            let (name, filter) = (Arc::clone(&core.name), core.filter.clone());
            guard.named(Named { name, filter, is_given: true });
        }
        bus.durable.enter(Arc::clone(&core));
        core.begin();
        Ok(DurableSubscription::new(core, member))
    }

    /// What is wrong with the handler, the name, the bus.
    pub(super) fn check(&self, handler: &AnyHandler<Durable>) -> Vec<SubscribeProblem> {
        let info = handler.info();
        let missing = info.requirements.states().iter().filter(|(id, _)| !self.bus.states.contains(*id));
        let mut problems: Vec<SubscribeProblem> =
            missing.map(|(_, type_name)| SubscribeProblem::StateMissing { type_name }).collect();
        problems.extend(self.recovery_problems(&self.bus.levels, self.bus.log.as_deref()));
        let breaker = self.breaker.iter().flat_map(Breaker::problems);
        problems.extend(breaker.map(SubscribeProblem::Breaker));
        let deadline = self.deadline.filter(|deadline| *deadline < Duration::from_millis(1));
        problems.extend(deadline.map(|deadline| SubscribeProblem::DeadlineTooShort { deadline }));
        problems.extend(self.idempotency_problems());
        problems.extend(self.at_most_once_problems(handler));
        if info.requirements.transactions() > 1 {
            problems.push(SubscribeProblem::Transactions { count: info.requirements.transactions() });
        }
        let is_valid = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        let length = 1..=STREAM_NAME_BYTES_MAX;
        if !length.contains(&self.name.len()) || !self.name.chars().all(is_valid) {
            problems.push(SubscribeProblem::DurableName);
        }
        if !self.bus.closing.admits(Source::Outside) {
            problems.push(SubscribeProblem::Closed);
        }
        problems
    }

    /// Makes the subscription, with this as its first member.
    fn found(
        self,
        bus: &Arc<BusCore>,
        log: Arc<Log>,
        (filter, settings): (Filter, Arc<Effective>),
        (registered, caution, keeper): (Registered, Caution, Option<Box<Keeper>>),
        handler: AnyHandler<Durable>,
    ) -> (Arc<DurableCore>, Option<Arc<Member>>) {
        let (name, id): (Arc<str>, u64) = (self.name.as_str().into(), bus.next_subscription());
        let stopping = bus.stopping.child_token();
        let mut states = bus.states.clone();
        states.insert(PublisherSource { core: Arc::downgrade(bus), subscription: id });
        states.insert(Stopping::of(stopping.clone()));
        let scope = bus.services.shown.scope(&name, filter.clone(), ModeKind::Durable, states);
        let scope = scope.with_identity(self.identity.clone());
        let mut window = window(&settings);
        let at = super::window::Moment { now: bus.services.clock.now(), utc: bus.services.clock.utc() };
        window.restore(registered.places, at);
        let core = DurableCore::new(DurableParts {
            guard: self.guard(bus, &filter),
            services: Arc::clone(&bus.services),
            id,
            name,
            filter,
            recovery: Recovery::of(&settings, self.classify.clone(), self.is_at_most_once),
            deadline: self.deadline,
            ttl: self.settings.own_ttl(),
            keeper,
            group: self.group.clone(),
            scope: Arc::new(scope),
            bus: Arc::downgrade(bus),
            log,
            number: registered.number,
            name_turn: bus.durable.turn(&self.name),
            window,
            caution,
            settings: Arc::clone(&settings),
            stopping,
        });
        let member = core.join(self.joining(&settings, handler));
        if caution == Caution::Quarantine {
            core.counts.dead.fetch_add(1, Ordering::Relaxed);
            core.counts.quarantined.fetch_add(1, Ordering::Relaxed);
        }
        (core, member)
    }
}

/// What the store's writer said.
fn answered<T>(answer: Option<Result<T, RequestError>>) -> Result<T, SubscribeProblem> {
    answer.ok_or(SubscribeProblem::Closed)?.map_err(SubscribeProblem::Store)
}

impl fmt::Debug for DurableBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableBuilder")
            .field("name", &self.name)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}
