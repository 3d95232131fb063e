//! Building and starting a bus.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use busway_event::codec::PAYLOAD_BYTES_MAX;
use busway_event::{FilterError, Metadata};
use busway_middleware::middleware::IntoStep;
use busway_middleware::publish::{PublishMiddleware, PublishStage};
use busway_middleware::{BoxError, PublishRegistry, Registry, RegistryError, Stage, States};
use tokio::runtime;

use super::core::{BusParts, Services};
use super::{Bus, BusCore};
use crate::clock::{Clock, SystemClock};
use crate::idle::IdleWatch;
use crate::observer::Observer;
use crate::settings::{Levels, Settings};
use crate::subscription::IntoFilter;

/// A bus that is not started yet. Setters never fail; [`start`](BusBuilder::start) reports all that is wrong at once.
pub struct BusBuilder {
    producer: Option<String>,
    payload_bytes_max: usize,
    clock: Arc<dyn Clock>,
    observer: Option<Arc<dyn Observer>>,
    states: States,
    levels: Levels,
    middleware: Registry,
    publish_steps: PublishRegistry,
    hooks: Vec<(String, Hook)>,
    problems: Vec<BuildProblem>,
}

type Hook = Box<dyn FnOnce(Bus) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send>;

impl BusBuilder {
    pub(crate) fn new() -> Self {
        Self {
            producer: None,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            clock: Arc::new(SystemClock),
            observer: None,
            states: States::new(),
            levels: Levels::default(),
            middleware: Registry::new(),
            publish_steps: PublishRegistry::new(),
            hooks: Vec::new(),
            problems: Vec::new(),
        }
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

    /// Is told what happens. One at most; the last one wins.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
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

    /// Starts the bus on the tokio runtime of the caller.
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
        let bus = Bus::new(self.build()?);
        let unless_started = AbortUnlessStarted(Some(Arc::clone(bus.core())));
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
            Err(problem) => Err(BuildError { problems: vec![problem] }),
        }
    }

    fn build(mut self) -> Result<Arc<BusCore>, BuildError> {
        let producer = self.producer.take().unwrap_or_else(program_name);
        let metadata = Metadata::draft(&producer, 1).build();
        let runtime = runtime::Handle::try_current();
        let (metadata, runtime) = match (metadata, runtime) {
            (Ok(metadata), Ok(runtime)) if self.problems.is_empty() => (metadata, runtime),
            (metadata, runtime) => {
                let mut problems = self.problems;
                problems.extend(metadata.err().map(BuildProblem::Producer));
                problems.extend(runtime.err().map(|_| BuildProblem::NoRuntime));
                return Err(BuildError { problems });
            }
        };
        if let Some(work) = self.clock.prepare() {
            drop(runtime.spawn_blocking(work));
        }
        Ok(BusCore::new(BusParts {
            services: Services {
                clock: self.clock,
                idle: IdleWatch::default(),
                middleware: self.middleware,
                observer: self.observer,
                runtime,
            },
            publish_steps: self.publish_steps,
            metadata,
            payload_bytes_max: self.payload_bytes_max,
            states: self.states,
            levels: self.levels,
        }))
    }
}

impl fmt::Debug for BusBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusBuilder").field("levels", &self.levels).finish_non_exhaustive()
    }
}

/// Hooks may keep clones of the bus: a start that fails or is given up stops it by hand.
struct AbortUnlessStarted(Option<Arc<BusCore>>);

impl AbortUnlessStarted {
    fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortUnlessStarted {
    fn drop(&mut self) {
        if let Some(core) = &self.0 {
            core.abort();
        }
    }
}

/// Why a bus did not start: everything that is wrong.
#[derive(Debug)]
pub struct BuildError {
    problems: Vec<BuildProblem>,
}

impl BuildError {
    /// All problems.
    #[must_use]
    pub fn problems(&self) -> &[BuildProblem] {
        &self.problems
    }

    /// Whether the same build may succeed later without a change.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.problems
            .iter()
            .all(|problem| matches!(problem, BuildProblem::Cancelled | BuildProblem::Hook { .. }))
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bus did not start: ")?;
        list(f, &self.problems)
    }
}

impl std::error::Error for BuildError {}

/// One thing that is wrong with a bus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildProblem {
    /// There is no tokio runtime.
    #[error("there is no tokio runtime here: start the bus inside of one")]
    NoRuntime,
    /// The producer's name breaks a rule.
    #[error("{0}")]
    Producer(busway_event::MetadataError),
    /// A filter of `filter_settings` breaks a rule.
    #[error("{0}")]
    Filter(FilterError),
    /// A middleware could not be added.
    #[error("{0}")]
    Middleware(RegistryError),
    /// A start hook failed.
    #[error("start hook \"{name}\" failed: {source}")]
    Hook {
        /// The hook.
        name: String,
        /// Why.
        source: BoxError,
    },
    /// The start was cancelled.
    #[error("the start was cancelled")]
    Cancelled,
}

/// Writes problems one after the other.
pub(crate) fn list<P: fmt::Display>(f: &mut fmt::Formatter<'_>, problems: &[P]) -> fmt::Result {
    problems.iter().enumerate().try_for_each(|(at, problem)| match at {
        0 => write!(f, "{problem}"),
        _ => write!(f, "; {problem}"),
    })
}

fn program_name() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&path).file_stem().and_then(|stem| stem.to_str());
    name.filter(|name| !name.is_empty()).unwrap_or("busway").chars().take(64).collect()
}

const PAYLOAD_BYTES_CAP: usize = 16 * 1024 * 1024;
