//! Metrics: of one bus, on recorders of its own, as Prometheus text.
//!
//! Two buses of a process, or two tests, have nothing in common. What a bus keeps account of anyway is read from a [`BusNumbers`] when somebody renders, and costs
//! nothing before; how long things took comes as [`Signal`]s, of which a few are taken.
//!
//! Labels are bounded by what the program declares: `subscription`, `filter` (of those without a name, and once of the others), `outcome`, `policy`, `step`, `state`,
//! `kind`, and `tenant` from a list that is given. Never an id, a key or a topic: a million of those would be a million series.

mod families;
mod names;
mod read;
mod sheets;
mod timed;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use busway_event::{Metadata, MetadataError};
use metrics::Recorder;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};
use parking_lot::Mutex;
use thiserror::Error;

use self::families::Recorded;
use self::read::Read;
use self::sheets::{Handles, Sheets};
use self::timed::Timed;
use crate::collector::{Collector, Wants};
use crate::numbers::{BusNumbers, Source};
use crate::signal::Signal;

/// The metrics of a bus. Clones are the same metrics.
///
/// They are given to a bus when it is built, as `.metrics(&metrics)`, and rendered whenever somebody asks. Costs are with who renders: between two renderings a
/// bus with metrics reads a clock for each durable publish, attempt and commit, and for nothing else.
///
/// ```
/// use busway_observability::Metrics;
///
/// let metrics = Metrics::new();
/// let text = metrics.render();
/// assert!(text.contains("busway_build_info"));
/// ```
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    handles: Handles,
    recorded: Recorded,
    timed: Timed,
    /// Samples since they were taken in last: nobody may render for days.
    samples: AtomicU32,
    read: Mutex<Read>,
    source: Mutex<Option<Arc<dyn Source>>>,
    tenants: Option<Tenants>,
}

/// Whose events are counted apart.
struct Tenants {
    field: String,
    counters: families::TenantCounters,
}

/// What is wrong with metrics that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetricsProblem {
    /// More tenants than have series of their own.
    #[error("{tenants} tenants are named, and each has series of its own: at most {TENANTS_MAX}")]
    Tenants {
        /// As many.
        tenants: usize,
    },
    /// No metadata field has that name.
    #[error("the tenant is in no metadata field: {0}")]
    Field(MetadataError),
    /// The recorder does not take its settings.
    #[error("the recorder refuses its settings: {reason}")]
    Recorder {
        /// What it says.
        reason: String,
    },
}

/// As many tenants may be named: each is five series.
pub const TENANTS_MAX: usize = 100;

impl Metrics {
    /// Metrics with the defaults.
    #[must_use]
    pub fn new() -> Self {
        let sheets = Sheets::new(recorder).unwrap_or_else(|error| {
            tracing::error!(%error, "histograms of the metrics have no buckets");
            let Ok(plain) = Sheets::new(|| Ok::<_, Infallible>(PrometheusBuilder::new().build_recorder()));
            plain
        });
        Self::on(sheets, None)
    }

    /// Counts attempts apart by tenant too, where a metadata field names it: `busway_tenant_events_total`. Tenants that are not in the list are counted as
    /// `other`, events without the field as `none`, so that nobody makes series by naming himself. The event of each attempt that ends is looked at then.
    ///
    /// # Errors
    /// [`MetricsProblem`]: more than [`TENANTS_MAX`] tenants, or a field that cannot be.
    pub fn with_tenants<T: Into<String>>(
        field: &str,
        tenants: impl IntoIterator<Item = T>,
    ) -> Result<Self, MetricsProblem> {
        let tenants: Vec<String> = tenants.into_iter().map(Into::into).collect();
        if tenants.len() > TENANTS_MAX {
            return Err(MetricsProblem::Tenants { tenants: tenants.len() });
        }
        let mut draft = Metadata::draft("tenants", 1);
        draft.set(field, "one");
        draft.build().map_err(MetricsProblem::Field)?;
        let refused = |error: BuildError| MetricsProblem::Recorder { reason: error.to_string() };
        Ok(Self::on(Sheets::new(recorder).map_err(refused)?, Some((field.to_owned(), tenants))))
    }

    fn on(sheets: Sheets, tenants: Option<(String, Vec<String>)>) -> Self {
        let handles = sheets.handles();
        let recorded = Recorded::new(Arc::new(sheets));
        let tenants = tenants.map(|(field, tenants)| {
            recorded.describe(&names::TENANT_FAMILY);
            let counters = families::TenantCounters::new(&recorded, tenants);
            Tenants { field, counters }
        });
        let (timed, read) = (Timed::new(&recorded), Mutex::default());
        let samples = AtomicU32::new(0);
        let shared = Shared { handles, recorded, timed, samples, read, source: Mutex::new(None), tenants };
        Self { shared: Arc::new(shared) }
    }

    /// Says where the numbers come from that are read. `false`: it has a bus already that is still there, and each bus has metrics of its own. A bus that
    /// takes the place of one that is gone goes on counting where that was.
    pub fn attach(&self, source: Arc<dyn Source>) -> bool {
        // In the order of a rendering: first what was read, then where from.
        let mut read = self.shared.read.lock();
        if self.is_attached() {
            return false;
        }
        *self.shared.source.lock() = Some(source);
        std::mem::take(&mut *read).end();
        true
    }

    /// Whether it has a bus that is still there.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.shared.source.lock().as_ref().is_some_and(|attached| attached.is_there())
    }

    /// All of them, in the Prometheus text format. It reads the store of its bus: for a thread that may wait.
    ///
    /// Gauges of subscriptions that are gone are 0, and of a bus that is gone all of them; what was counted stays. With histograms of a hundred subscriptions
    /// and more it has a second thread while it renders, which has ended when it returns.
    #[must_use]
    pub fn render(&self) -> String {
        let Shared { handles, recorded, timed, read, .. } = &*self.shared;
        let rendering = handles.begin(timed.subscriptions() >= SIDE_BY_SIDE);
        {
            // Held around both: what two renderings read is taken in the order in which it was read.
            let mut read = read.lock();
            match self.numbers() {
                Some(numbers) => read.take(recorded, &numbers),
                None => read.end(),
            }
        }
        rendering.finish()
    }

    /// Its bus as it is now; `None` without one. It reads the store: for a thread that may wait.
    #[must_use]
    pub fn numbers(&self) -> Option<BusNumbers> {
        let source = self.shared.source.lock().clone();
        source?.numbers()
    }

    /// The recorder, for metrics of the program's own beside those of the bus: in the same text, under names of its own.
    #[must_use]
    pub fn recorder(&self) -> &(dyn Recorder + Send + Sync) {
        self.shared.recorded.recorder()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("is_attached", &self.is_attached()).finish_non_exhaustive()
    }
}

impl Collector for Metrics {
    fn wants(&self) -> Wants {
        match self.shared.tenants {
            Some(_) => Wants::ALL,
            None => Wants::TIMES | Wants::ALARMS,
        }
    }

    fn collect(&self, signal: &Signal<'_>) {
        let Shared { handles, recorded, timed, samples, tenants, .. } = &*self.shared;
        if let (Some(Tenants { field, counters }), Signal::Settled { event, outcome, .. }) = (tenants, signal)
        {
            counters.count(event.metadata().get(field), outcome.label());
        }
        timed.collect(recorded, signal);
        if signal.wants() == Wants::TIMES
            && samples.fetch_add(1, Ordering::Relaxed) % SAMPLES_MAX == SAMPLES_MAX - 1
        {
            handles.run_upkeep();
        }
    }
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let of = |name: &str| Matcher::Full(name.to_owned());
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &names::SECONDS)?
        .set_buckets_for_metric(of(names::HANDLER), &names::HANDLER_SECONDS)?
        .set_buckets_for_metric(of(names::END_TO_END), &names::END_TO_END_SECONDS)?
        .set_buckets_for_metric(of(names::COMMIT_REQUESTS), &names::SHARED)?
        .set_buckets_for_metric(of(names::COMMIT_EVENTS), &names::SHARED)?;
    Ok(builder.build_recorder())
}

/// So many samples are taken in at once: some 64 KiB of them wait at most, a thread's worth of what it measured meanwhile not counted.
const SAMPLES_MAX: u32 = 8_192;

/// With histograms of so many subscriptions these are rendered on a second thread: two milliseconds of work, where a thread is begun and ended in a tenth of one.
const SIDE_BY_SIDE: usize = 100;
