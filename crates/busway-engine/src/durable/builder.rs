//! Building a durable subscription.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_event::{Filter, FilterError, Priority};
use busway_middleware::middleware::IntoStep;
use busway_middleware::{AnyHandler, Durable, IntoHandler, ModeKind, Registry, Scope, Stage};
use busway_persistence::{Registered, STREAM_NAME_BYTES_MAX, Store};
use busway_reliability::{Caution, Order, Retry, Running};
use busway_router::Share;

use super::core::DurableParts;
use super::window::Window;
use super::{DurableCore, DurableSubscription, StartAt, caution};
use crate::bus::{BusCore, PublisherSource, Source};
use crate::extract::Stopping;
use crate::log::Log;
use crate::settings::{Effective, Settings};
use crate::subscription::{SubscribeError, SubscribeProblem};

/// A durable subscription that has not begun: named, with a stored cursor, at least once.
///
/// Every event that a stream captures and its filter wants is attempted until it is settled: handled, skipped, or given up as a
/// dead letter; it may be attempted more than once. An event that fails is parked in the store and attempted again when it is due;
/// later events of its lane wait behind it, all others flow on. After a restart, also after a crash, only what was not settled is
/// attempted again.
///
/// Setters never fail; [`to`](DurableBuilder::to) reports all that is wrong at once.
#[must_use = "a subscription begins with .to(handler)"]
pub struct DurableBuilder {
    bus: Arc<BusCore>,
    filter: Result<Filter, FilterError>,
    name: String,
    settings: Settings,
    start_at: StartAt,
    retry: Retry,
    middleware: Registry,
    problems: Vec<SubscribeProblem>,
}

impl DurableBuilder {
    pub(crate) fn new(
        bus: Arc<BusCore>,
        filter: Result<Filter, FilterError>,
        name: String,
        settings: Settings,
        middleware: Registry,
        problems: Vec<SubscribeProblem>,
    ) -> Self {
        let (start_at, retry) = (StartAt::default(), Retry::default());
        Self { bus, filter, name, settings, start_at, retry, middleware, problems }
    }

    /// Where it begins when the store does not know it yet. Default [`StartAt::Stored`]: a new one begins with what is published
    /// from now on.
    pub const fn start_at(mut self, start_at: StartAt) -> Self {
        self.start_at = start_at;
        self
    }

    /// Which events run one after another. Default [`Order::Lane`].
    pub fn order(mut self, order: Order) -> Self {
        self.settings = self.settings.order(order);
        self
    }

    /// Events handled at once. Default 1, at least 1, at most 65,536. With 1, events of one priority are handled exactly in the
    /// order of their offsets.
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

    /// How often a failing event is attempted, and how far apart. Default: 16 attempts, 200 ms to 60 s.
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
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

    /// Begins the subscription, or goes on with it where the store says that it stands. Handlers of batches are given their events
    /// one by one.
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

    async fn begin(mut self, handler: AnyHandler<Durable>) -> Result<DurableSubscription, SubscribeError> {
        let bus = Arc::clone(&self.bus);
        let mut problems = std::mem::take(&mut self.problems);
        problems.extend(self.check(&handler));
        let name = NameTaken::take(&bus, &self.name);
        if name.is_none() {
            problems.push(SubscribeProblem::NameTaken);
        }
        let log = bus.log.as_ref();
        let filter = self.filter.as_ref().ok();
        let partitions = log.zip(filter).map(|(log, filter)| log.partitions_of(filter)).unwrap_or_default();
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
        let start_at = self.start_at;
        let starts = move |store: &Store| {
            partitions.into_iter().map(|partition| (partition, start_at.offset(store, partition))).collect()
        };
        let registered = log.register(&bus.services, (&self.name, filter), starts).await;
        let registered = match registered {
            Some(Ok(registered)) => registered,
            Some(Err(error)) => return Err(refused(vec![SubscribeProblem::Store(error)])),
            None => return Err(refused(vec![SubscribeProblem::Closed])),
        };
        let taken_up =
            caution::take_up(log, &bus.services, (&self.name, filter), handler.info().name, registered).await;
        let (registered, caution) = match taken_up {
            Some(Ok(taken_up)) => taken_up,
            Some(Err(error)) => return Err(refused(vec![SubscribeProblem::Store(error)])),
            None => return Err(refused(vec![SubscribeProblem::Closed])),
        };
        let filter = filter.clone();
        let core = self.core(&bus, Arc::clone(log), filter, (registered, caution), handler);
        // Under the lock: it begins before the bus closes, or not at all.
        let _registering = bus.registering();
        if !bus.closing.admits(Source::Outside) {
            let problems = vec![SubscribeProblem::Closed];
            return Err(SubscribeError { subscription: core.name.to_string(), problems });
        }
        name.keep();
        bus.durable.enter(Arc::clone(&core));
        core.begin();
        Ok(DurableSubscription::new(core))
    }

    /// What is wrong with the handler, the name, the bus.
    fn check(&self, handler: &AnyHandler<Durable>) -> Vec<SubscribeProblem> {
        let info = handler.info();
        let missing = info.requirements.states().iter().filter(|(id, _)| !self.bus.states.contains(*id));
        let mut problems: Vec<SubscribeProblem> =
            missing.map(|(_, type_name)| SubscribeProblem::StateMissing { type_name }).collect();
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

    fn core(
        self,
        bus: &Arc<BusCore>,
        log: Arc<Log>,
        filter: Filter,
        (registered, caution): (Registered, Caution),
        handler: AnyHandler<Durable>,
    ) -> Arc<DurableCore> {
        let settings = bus.levels.resolve_shared(&filter, &self.settings);
        let (name, id): (Arc<str>, u64) = (self.name.into(), bus.next_subscription());
        let stopping = bus.stopping.child_token();
        let mut states = bus.states.clone();
        states.insert(PublisherSource { core: Arc::downgrade(bus), subscription: id });
        states.insert(Stopping::of(stopping.clone()));
        let scope = Scope::new(Arc::clone(&name), filter.clone(), ModeKind::Durable, states);
        let mut window = window(&settings);
        let at = super::window::Moment { now: bus.services.clock.now(), utc: bus.services.clock.utc() };
        window.restore(registered.places, at);
        let careful = if caution == Caution::None { 0 } else { room(&settings) };
        let core = DurableCore::new(DurableParts {
            services: Arc::clone(&bus.services),
            id,
            name,
            filter,
            retry: self.retry,
            handler,
            middleware: self.middleware,
            scope: Arc::new(scope),
            bus: Arc::downgrade(bus),
            log,
            number: registered.number,
            window,
            careful,
            settings,
            stopping,
        });
        if caution == Caution::Quarantine {
            core.counts.dead.fetch_add(1, Ordering::Relaxed);
            core.counts.quarantined.fetch_add(1, Ordering::Relaxed);
        }
        core
    }
}

pub(super) fn window<E>(settings: &Effective) -> Window<E> {
    let running = Running::new(settings.limits, settings.concurrency);
    Window::new(room(settings), PARKED_MAX, running, Share::new(settings.share))
}

/// Events that are in hand at once.
fn room(settings: &Effective) -> usize {
    let concurrency = usize::try_from(settings.concurrency.get()).unwrap_or(usize::MAX);
    concurrency.saturating_mul(ROOM_A_HANDLER).clamp(ROOM_MIN, ROOM_MAX)
}

/// A name that is about to be borne: free again unless it is kept.
struct NameTaken<'a> {
    bus: &'a BusCore,
    name: Option<String>,
}

impl<'a> NameTaken<'a> {
    fn take(bus: &'a BusCore, name: &str) -> Option<Self> {
        if !bus.durable.take_name(name) {
            return None;
        }
        let taken = Self { bus, name: Some(name.to_owned()) };
        let _registering = bus.registering();
        (!bus.has_name(name)).then_some(taken)
    }

    fn keep(mut self) {
        self.name = None;
    }
}

impl Drop for NameTaken<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.bus.durable.free_name(name);
        }
    }
}

impl fmt::Debug for DurableBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableBuilder")
            .field("name", &self.name)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

/// Events in hand: a page, or some for each handler, so that a handler that has ended finds the next one there.
const ROOM_MIN: usize = 256;
const ROOM_A_HANDLER: usize = 4;
/// More would not fit into one settlement, should all of them wait for one that fails.
const ROOM_MAX: usize = 16_384;

/// Events that may be parked before nothing more is fetched.
const PARKED_MAX: usize = 1_000_000;
