//! Opening the log of a bus.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use busway_event::Durability;
use busway_persistence::{OpenError, Store, StoreOptions, Stream, StreamProblem, stream_problems};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::abandoned::Abandoned;
use super::append::{APPENDS_MAX, Passing};
use super::deadlines::Deadlines;
use super::refusing::Refusing;
use super::relay::Relayed;
use super::{CapturedStream, Counts, Log};
use crate::cutover::{COMPARISONS, LEADS};
use crate::schedule::Scheduler;

/// Where a store is to be, and how it is to be opened.
#[derive(Debug)]
pub(crate) struct StorePlan {
    pub(crate) path: PathBuf,
    pub(crate) streams: Vec<Stream>,
    pub(crate) options: StoreOptions,
    pub(crate) patience: Duration,
    /// Behind how long a subscription that nobody attends is abandoned.
    pub(crate) abandoned_after: Duration,
    /// What events survive that say nothing of it, in streams that do not either.
    pub(crate) durability: Option<Durability>,
}

impl StorePlan {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            streams: Vec::new(),
            options: StoreOptions::new().table(LEADS.name()).table(COMPARISONS.name()),
            patience: PATIENCE,
            abandoned_after: ABANDONED_AFTER,
            durability: None,
        }
    }

    /// All that is wrong with its streams, without opening it.
    pub(crate) fn problems(&self) -> Vec<(String, StreamProblem)> {
        stream_problems(&self.streams)
    }

    /// Opens the store. Blocks: it reads and checks files, and syncs those of a new one.
    pub(crate) fn open(self) -> Result<Arc<Log>, OpenError> {
        let Self { path, streams, options, patience, abandoned_after, durability } = self;
        let (is_durability_said, durability) =
            (durability.is_some(), durability.unwrap_or(Durability::Synced));
        let unsynced = |stream: &Stream| stream.own_durability().unwrap_or(durability) != Durability::Synced;
        let is_any_unsynced = streams.iter().any(unsynced);
        let committed = Arc::new(watch::Sender::new(0));
        let told = Arc::clone(&committed);
        let options = streams.iter().cloned().fold(options, StoreOptions::stream);
        let options = options.on_commit(move || told.send_modify(|commits: &mut u64| *commits += 1));
        let store = Store::open(path, options)?;
        let captured = |declared: Stream| {
            let name: Arc<str> = declared.name().into();
            let partitions = store.partitions(&name).unwrap_or_default();
            CapturedStream { declared, name, partitions }
        };
        let streams: Vec<CapturedStream> = streams.into_iter().map(captured).collect();
        let partitions = streams.iter().flat_map(|stream| stream.partitions.clone());
        let relayed = Relayed::new(partitions.map(|partition| {
            let end = store.bounds(partition).map_or(0, |(_, end)| end);
            (partition, end)
        }));
        let schedule = Arc::new(Scheduler::new());
        let passing = Passing {
            permits: Arc::new(Semaphore::new(APPENDS_MAX)),
            counts: Counts::default(),
            schedule: Arc::clone(&schedule),
            refusing: Refusing::default(),
        };
        Ok(Arc::new(Log {
            streams,
            store: RwLock::new(Some(store)),
            passing: Arc::new(passing),
            patience,
            deadlines: Arc::new(Deadlines::new(patience)),
            committed,
            durability,
            is_durability_said,
            is_any_unsynced,
            relayed,
            abandoned: Abandoned::new(abandoned_after),
            schedule,
            believed: Mutex::default(),
            ending: CancellationToken::new(),
            readers: TaskTracker::new(),
        }))
    }
}

/// A week: longer than a holiday of whoever runs it.
const ABANDONED_AFTER: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long a publish waits for the store unless the bus says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);
