//! Building and starting a bus.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use busway_event::codec::PAYLOAD_BYTES_MAX;
use busway_event::{Durability, Metadata};
use busway_middleware::middleware::IntoStep;
use busway_middleware::publish::{PublishMiddleware, PublishStage};
use busway_middleware::{BoxError, PublishRegistry, Registry, Stage, States};
use busway_observability::{Collectors, Metrics, Redactor, Tracing};
use busway_persistence::{AuditHead, OpenError, StoreOptions, Stream, Table};
use tokio::runtime;

use super::core::BusParts;
use super::problem::{BuildError, BuildProblem};
use super::services::Services;
use super::unless_started::AbortUnlessStarted;
use super::watched::attach;
use super::{Bus, BusCore};
use crate::clock::{Clock, SystemClock};
use crate::idle::IdleWatch;
use crate::log::{Log, StorePlan};
use crate::named::Named;
use crate::settings::{Levels, Settings};
use crate::shown::Shown;
use crate::subscription::IntoFilter;

/// A bus that is not started yet. Setters never fail; [`start`](BusBuilder::start) reports all that is wrong at once.
pub struct BusBuilder {
    producer: Option<String>,
    pub(super) redactor: Redactor,
    payload_bytes_max: usize,
    clock: Arc<dyn Clock>,
    pub(super) signals: Collectors,
    pub(super) metrics: Option<Metrics>,
    pub(crate) tracing: Option<Tracing>,
    states: States,
    levels: Levels,
    middleware: Registry,
    publish_steps: PublishRegistry,
    hooks: Vec<(String, Hook)>,
    store: Option<StorePlan>,
    /// Streams of a bus without a store.
    homeless: Vec<Stream>,
    pub(super) problems: Vec<BuildProblem>,
    pub(super) named: Named,
}

type Hook = Box<dyn FnOnce(Bus) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send>;

impl BusBuilder {
    pub(crate) fn new() -> Self {
        Self {
            producer: None,
            redactor: Redactor::new(),
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            clock: Arc::new(SystemClock),
            signals: Collectors::new(),
            metrics: None,
            tracing: None,
            states: States::new(),
            levels: Levels::default(),
            middleware: Registry::new(),
            publish_steps: PublishRegistry::new(),
            hooks: Vec::new(),
            store: None,
            homeless: Vec::new(),
            problems: Vec::new(),
            named: Named::default(),
        }
    }

    pub(crate) fn with_store(path: PathBuf) -> Self {
        Self { store: Some(StorePlan::new(path)), ..Self::new() }
    }

    /// Declares a stream: the topics that it captures are durable. One that the store does not hold yet is made.
    pub fn stream(mut self, stream: Stream) -> Self {
        match &mut self.store {
            Some(plan) => plan.streams.push(stream),
            None => self.homeless.push(stream),
        }
        self
    }

    /// Declares a table of the program's own, beside the streams and in the same commits. One that the store does not hold yet is
    /// made.
    pub fn table<K, V>(mut self, table: &Table<K, V>) -> Self {
        match &mut self.store {
            Some(plan) => plan.options = std::mem::take(&mut plan.options).table(table.name()),
            None => {
                self.problems.push(BuildProblem::TableWithoutStore { table: table.name().to_owned() });
            }
        }
        self
    }

    /// How long a publish to a durable topic waits: for room in the store (then it is [`Refused::Busy`](super::Refused)) and
    /// for the disk (then it is [`PublishError::Unknown`](super::PublishError)). Default 30 s. Of no effect without a store.
    pub fn publish_deadline(mut self, deadline: Duration) -> Self {
        if let Some(plan) = &mut self.store {
            // No clock ends before.
            plan.patience = deadline.min(DEADLINE_MAX);
        }
        self
    }

    /// What events in streams survive when their publish returns, unless the event or its stream says otherwise. Default
    /// [`Durability::Synced`]. Of no effect without a store.
    pub fn durability(mut self, durability: Durability) -> Self {
        if let Some(plan) = &mut self.store {
            plan.durability = Some(durability);
        }
        self
    }

    /// For how long nobody may attend a durable subscription of the store before it counts as abandoned: it does not run in this process, and
    /// was neither taken up nor got on in any. Then a warning is given once and [`BusStats::abandoned`](crate::stats::BusStats) names it; its events
    /// are kept as before, and only [`remove`](crate::durable::CursorHandle::remove) lets them go. Default 7 days, at least 2 hours: the store keeps
    /// such times to the hour. Of the bus and not of the subscription, because nobody is there to say it. Of no effect without a store.
    pub fn abandoned_after(mut self, idle: Duration) -> Self {
        if let Some(plan) = &mut self.store {
            plan.abandoned_after = idle.max(ABANDONED_AFTER_MIN);
        }
        self
    }

    /// How large the file of the store may grow, in bytes; then publishes are refused until retention lets segments go. Settlements, and retention
    /// itself, may use an eighth more (1 MiB at least), transactions of handlers that append nothing half of that. Default 1 TiB. Of no effect without a store.
    pub fn store_bytes_max(self, bytes: u64) -> Self {
        self.with_options(|options| options.bytes_max(bytes))
    }

    /// Address space that the store begins with, in bytes; it grows by itself while the bus runs, and a publish or two wait for that.
    /// Default 1 GiB. It costs no memory and no disk. Of no effect without a store.
    pub fn store_map_bytes(self, bytes: usize) -> Self {
        self.with_options(|options| options.map_bytes(bytes))
    }

    /// Disk space that is kept free for settlements, in bytes: with less than that, publishes are refused. Half of it is there for transactions of handlers
    /// that append nothing too. Default 64 MiB. Of no effect without a store.
    pub fn store_reserve_bytes(self, bytes: u64) -> Self {
        self.with_options(|options| options.reserve_bytes(bytes))
    }

    /// For how long an id that a publisher gave is remembered: published again within it, the event has its first place.
    /// Default 120 s, up to a minute longer, and for no shorter time where the wall clock jumps. Of no effect without a store.
    pub fn id_window(self, window: Duration) -> Self {
        self.with_options(|options| options.id_window(window))
    }

    /// Events that may wait to be published later, and the bytes of their records; more are refused. Default 1,000,000 and 1 GiB.
    /// Of no effect without a store.
    pub fn scheduled_max(self, events: u64, bytes: u64) -> Self {
        self.with_options(|options| options.scheduled_max(events, bytes))
    }

    /// Told of each new head of an audit stream, when it is stored: to be kept where the store is not. It runs on the store's thread: it
    /// must be quick (send the head on), and must not wait for the bus. Of an earlier one and a later one the later holds. Default:
    /// nobody is told. Of no effect without a store.
    pub fn on_audit_head(self, on_head: impl Fn(&AuditHead) + Send + Sync + 'static) -> Self {
        self.with_options(|options| options.on_audit_head(on_head))
    }

    fn with_options(mut self, set: impl FnOnce(StoreOptions) -> StoreOptions) -> Self {
        if let Some(plan) = &mut self.store {
            plan.options = set(std::mem::take(&mut plan.options));
        }
        self
    }

    /// The producer of events that name none. Default: the program's name.
    pub fn producer(mut self, name: impl Into<String>) -> Self {
        self.producer = Some(name.into());
        self
    }

    /// The largest encoded payload, in bytes. Default 1 MiB, at most 16 MiB, at least 1.
    ///
    /// It holds whenever a payload is encoded or received, and at once for payloads whose encoded length is known. A
    /// typed payload that nobody encodes is never measured.
    pub fn payload_bytes_max(mut self, bytes: usize) -> Self {
        self.payload_bytes_max = bytes.clamp(1, PAYLOAD_BYTES_CAP);
        self
    }

    /// A value for handlers to take as `State<S>`. One of each type; the last one wins.
    pub fn state<S: Clone + Send + Sync + 'static>(mut self, state: S) -> Self {
        self.states.insert(state);
        self
    }

    /// Settings for all subscriptions, unless a filter or the subscription itself says otherwise.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.levels.bus = settings;
        self
    }

    /// Settings for all subscriptions whose filter lies within this one. The last declared that covers a filter wins.
    pub fn filter_settings(mut self, filter: impl IntoFilter, settings: Settings) -> Self {
        match filter.into_filter() {
            Ok(filter) => self.levels.filters.push((filter, settings)),
            Err(error) => self.problems.push(BuildProblem::Filter(error)),
        }
        self
    }

    /// Middleware around all handlers, there from the first event on.
    pub fn middleware<Form>(mut self, stage: Stage, name: &str, middleware: impl IntoStep<Form>) -> Self {
        if let Err(error) = self.middleware.add(stage, name, middleware.into_step()) {
            self.problems.push(BuildProblem::Middleware(error));
        }
        self
    }

    /// Middleware around publishing, there from the first event on.
    pub fn publish_middleware(
        mut self,
        stage: PublishStage,
        name: &str,
        middleware: impl PublishMiddleware,
    ) -> Self {
        if let Err(error) = self.publish_steps.add(stage, name, middleware) {
            self.problems.push(BuildProblem::Middleware(error));
        }
        self
    }

    /// Where the bus takes its time from. Default: the machine's clock. Tests put a manual one here.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Runs `hook` as part of the start, in order: to subscribe, or to wait for what handlers depend on. When it fails, the
    /// start fails and everything that has started is stopped again.
    pub fn on_start<F, Fut>(mut self, name: &str, hook: F) -> Self
    where
        F: FnOnce(Bus) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.hooks.push((name.to_owned(), Box::new(move |bus| Box::pin(hook(bus)))));
        self
    }

    /// Starts the bus on the tokio runtime of the caller. A store is opened where the runtime lets threads block: its files are
    /// read and checked, those of a new one synced.
    ///
    /// # Errors
    /// [`BuildError`] lists everything that is wrong. Nothing is left running.
    ///
    /// # Cancel safety
    /// Dropping the future stops what has started.
    pub async fn start(self) -> Result<Bus, BuildError> {
        self.start_until(std::future::pending()).await
    }

    /// As [`start`](BusBuilder::start), but gives up cleanly when `cancelled` ends first.
    ///
    /// # Errors
    /// As [`start`](BusBuilder::start), and [`BuildProblem::Cancelled`].
    ///
    /// # Cancel safety
    /// Dropping the future stops what has started.
    pub async fn start_until(mut self, cancelled: impl Future<Output = ()>) -> Result<Bus, BuildError> {
        let hooks = std::mem::take(&mut self.hooks);
        let (metadata, runtime) = self.check()?;
        tokio::pin!(cancelled);
        let log = match self.store.take() {
            None => None,
            // Given up meanwhile: who opens it finds nobody who wants it, and closes it again.
            Some(plan) => tokio::select! {
                biased;
                () = &mut cancelled => return Err(BuildProblem::Cancelled.into()),
                log = open(plan.watched(&self.signals), &runtime) => Some(log?),
            },
        };
        let bus = Bus::new(self.build(metadata, runtime, log));
        let unless_started = AbortUnlessStarted::new(bus.core());
        let started = async {
            for (name, hook) in hooks {
                let failed = |source| BuildProblem::Hook { name, source };
                hook(bus.clone()).await.map_err(failed)?;
            }
            Ok(())
        };
        let result = tokio::select! {
            biased;
            () = cancelled => Err(BuildProblem::Cancelled),
            result = started => result,
        };
        match result {
            Ok(()) => {
                unless_started.defuse();
                Ok(bus)
            }
            Err(problem) => {
                let core = Arc::clone(bus.core());
                drop((unless_started, bus));
                // So that the directory is free for whoever tries again.
                core.close_log().await;
                Err(problem.into())
            }
        }
    }

    /// What the bus needs to begin with; or everything that is wrong. The store was not touched then.
    fn check(&mut self) -> Result<(Metadata, runtime::Handle), BuildError> {
        let producer = self.producer.take().unwrap_or_else(program_name);
        let metadata = Metadata::draft(&producer, 1).build();
        let runtime = runtime::Handle::try_current();
        let mut problems = std::mem::take(&mut self.problems);
        let streams = self.store.as_ref().map(StorePlan::problems).unwrap_or_default();
        problems
            .extend(streams.into_iter().map(|(stream, problem)| BuildProblem::Stream { stream, problem }));
        let homeless = self.homeless.drain(..).map(|stream| stream.name().to_owned());
        problems.extend(homeless.map(|stream| BuildProblem::NoStore { stream }));
        if let Some(metrics) = &self.metrics {
            problems.extend(metrics.is_attached().then_some(BuildProblem::MetricsTaken));
            self.signals.add(Arc::new(metrics.clone()));
        }
        problems.extend(self.levels.problems().map(|(at, problem)| BuildProblem::Settings { at, problem }));
        match (metadata, runtime) {
            (Ok(metadata), Ok(runtime)) if problems.is_empty() => Ok((metadata, runtime)),
            (metadata, runtime) => {
                problems.extend(metadata.err().map(BuildProblem::Producer));
                problems.extend(runtime.err().map(|_| BuildProblem::NoRuntime));
                Err(BuildError { problems })
            }
        }
    }

    fn build(self, metadata: Metadata, runtime: runtime::Handle, log: Option<Arc<Log>>) -> Arc<BusCore> {
        let metrics = self.metrics;
        if let Some(work) = self.clock.prepare() {
            drop(runtime.spawn_blocking(work));
        }
        let core = BusCore::new(BusParts {
            services: Services {
                clock: self.clock,
                shown: Shown { redactor: self.redactor, producer: metadata.producer().into() },
                idle: Arc::<IdleWatch>::default(),
                middleware: self.middleware,
                signals: self.signals,
                tracing: self.tracing,
                runtime,
            },
            publish_steps: self.publish_steps,
            metadata,
            payload_bytes_max: self.payload_bytes_max,
            states: self.states,
            levels: self.levels,
            log,
            named: self.named,
        });
        attach(metrics.as_ref(), &core);
        core.start_relay();
        core
    }
}

/// Opens a store on a thread that may block.
async fn open(plan: StorePlan, runtime: &runtime::Handle) -> Result<Arc<Log>, BuildError> {
    match runtime.spawn_blocking(|| plan.open()).await {
        Ok(Ok(log)) => Ok(log),
        Ok(Err(OpenError::Streams { problems, .. })) => {
            let problem = |(stream, problem)| BuildProblem::Stream { stream, problem };
            Err(BuildError { problems: problems.into_iter().map(problem).collect() })
        }
        Ok(Err(error)) => Err(BuildProblem::Store(error).into()),
        // The runtime ends.
        Err(_) => Err(BuildProblem::Cancelled.into()),
    }
}

impl fmt::Debug for BusBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusBuilder").field("levels", &self.levels).finish_non_exhaustive()
    }
}

fn program_name() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&path).file_stem().and_then(|stem| stem.to_str());
    name.filter(|name| !name.is_empty()).unwrap_or("busway").chars().take(64).collect()
}

/// Twice as long as times may be off.
const ABANDONED_AFTER_MIN: Duration = Duration::from_secs(2 * 3_600);
/// About 30 years.
const DEADLINE_MAX: Duration = Duration::from_secs(1_000_000_000);
const PAYLOAD_BYTES_CAP: usize = 16 * 1024 * 1024;
