//! The log of a bus: its open store, and everything that goes into it and comes out of it.
//!
//! `open` makes it of a directory, `append` publishes into it, `relay` offers what was committed to ephemeral subscriptions.
//! Durable subscriptions read it by themselves, see [`durable`](crate::durable).
//!
//! The store is held in one place and lent for moments only: never across an await, and never by a callback of its writer, which
//! would wait for its own thread when it were the last to let go. So closing it is taking it out.

mod abandoned;
mod accept;
mod append;
mod asking;
mod deadlines;
mod keeping_time;
mod open;
mod pending;
mod refusing;
mod relay;
pub(crate) mod singles;
mod transact;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway_event::{AnyEvent, Durability, Filter, Timestamp, Topic};
use busway_middleware::Position;
use busway_persistence::{Entry, EntryError, Position as Place, Store, Stream};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::abandoned::idle;
pub(crate) use self::accept::NotAccepted;
pub(crate) use self::append::{NotAppended, Placed, Unappended};
pub(crate) use self::open::StorePlan;
pub(crate) use self::pending::{Answer, Answered};

pub(crate) use self::transact::{NotTransacted, Wait};

use self::abandoned::Abandoned;
use self::append::Passing;
use self::deadlines::Deadlines;
use self::relay::Relayed;
use crate::believed::Believed;
use crate::schedule::Scheduler;
use crate::settings::Origin;

/// See the module.
pub(crate) struct Log {
    streams: Vec<CapturedStream>,
    /// `None` when it is closed.
    store: RwLock<Option<Store>>,
    /// What appends that are under way share.
    passing: Arc<Passing>,
    /// How long a publish waits for the store.
    patience: Duration,
    deadlines: Arc<Deadlines>,
    /// Raised by the store's writer after each commit that appended something.
    committed: Arc<watch::Sender<u64>>,
    /// Of streams that say nothing of it.
    durability: Durability,
    /// Whether the bus says so.
    is_durability_said: bool,
    /// Whether somebody need not wait for the disk unless the draft says so.
    is_any_unsynced: bool,
    relayed: Relayed,
    abandoned: Abandoned,
    /// What waits to be published later.
    pub(crate) schedule: Arc<Scheduler>,
    /// What time is believed where age counts; since the first question, which is asked when the bus starts.
    believed: Mutex<Option<Believed>>,
    /// Ends what reads the log: the relay, and the pumps of durable subscriptions.
    pub(crate) ending: CancellationToken,
    /// Counts them.
    pub(crate) readers: TaskTracker,
}

/// What was published into streams. The writer counts while publishers read what lies beside it: on lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    published: AtomicU64,
    /// Of them: those that no subscription was offered.
    unrouted: AtomicU64,
    /// Accepted, and not stored.
    unstored: AtomicU64,
}

/// A stream that takes events.
#[derive(Debug)]
struct CapturedStream {
    declared: Stream,
    name: Arc<str>,
    /// The store's numbers of its partitions.
    partitions: std::ops::Range<u32>,
}

impl Log {
    /// Calls `with` with the store, unless it is closed. Lent in between: code of the user's that is called inside (a payload that
    /// is encoded) may publish too.
    pub(crate) fn with<R>(&self, with: impl FnOnce(&Store) -> R) -> Option<R> {
        self.store.read_recursive().as_ref().map(with)
    }

    /// Whether a stream captures the topic.
    pub(crate) fn captures(&self, topic: &Topic) -> bool {
        self.stream_of(topic).is_some()
    }

    /// The name of the stream that captures the topic.
    pub(crate) fn stream_of(&self, topic: &Topic) -> Option<&Arc<str>> {
        self.captured(topic).map(|stream| &stream.name)
    }

    fn captured(&self, topic: &Topic) -> Option<&CapturedStream> {
        self.streams.iter().find(|stream| stream.declared.captures(topic))
    }

    /// What events of a stream survive that say nothing of it.
    fn durability_of(&self, stream: &Stream) -> Durability {
        stream.own_durability().unwrap_or(self.durability)
    }

    /// Its streams, and what their events survive that say nothing of it, and who says so.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (&Stream, Durability, Origin)> {
        self.streams.iter().map(|CapturedStream { declared, .. }| {
            let origin = match declared.own_durability() {
                Some(_) => Origin::Stream,
                None if self.is_durability_said => Origin::Bus,
                None => Origin::Default,
            };
            (declared, self.durability_of(declared), origin)
        })
    }

    /// The partitions of a stream.
    pub(crate) fn partitions_named(&self, stream: &str) -> Option<std::ops::Range<u32>> {
        self.streams
            .iter()
            .find(|captured| *captured.name == *stream)
            .map(|captured| captured.partitions.clone())
    }

    /// The partitions of all streams that have topics in common with the filter.
    pub(crate) fn partitions_of(&self, filter: &Filter) -> Vec<u32> {
        self.ranges_of(filter).flatten().collect()
    }

    /// The same, within one stream.
    pub(crate) fn partitions_within(&self, filter: &Filter, stream: &str) -> Vec<u32> {
        let streams = self.streams.iter().filter(|captured| *captured.name == *stream);
        let streams = streams.filter(|captured| captured.declared.overlaps(filter));
        streams.flat_map(|captured| captured.partitions.clone()).collect()
    }

    /// The same of all streams, stream by stream.
    pub(crate) fn ranges_of(&self, filter: &Filter) -> impl Iterator<Item = std::ops::Range<u32>> {
        let streams = self.streams.iter().filter(|stream| stream.declared.overlaps(filter));
        streams.map(|stream| stream.partitions.clone())
    }

    /// Where the partitions of all streams begin and end.
    fn partitions(&self) -> impl Iterator<Item = u32> {
        self.streams.iter().flat_map(|stream| stream.partitions.clone())
    }

    /// A place of the store as subscribers and publishers know it.
    pub(crate) fn position(&self, place: Place) -> Option<Position> {
        let stream = self.streams.iter().find(|stream| stream.partitions.contains(&place.partition))?;
        let partition = u16::try_from(place.partition - stream.partitions.start).ok()?;
        Some(Position { stream: Arc::clone(&stream.name), partition, offset: place.offset })
    }

    /// Makes an event ready to be stored, within the bus's own limit of a payload; it comes back when it cannot be.
    pub(crate) fn entry(
        &self,
        event: AnyEvent,
        given: bool,
        now: Timestamp,
        payload_bytes_max: usize,
    ) -> Result<Entry, (AnyEvent, Unstored)> {
        let store = self.store.read_recursive();
        let Some(store) = &*store else { return Err((event, Unstored::Closed)) };
        store.entry_within(event, given, now, payload_bytes_max).map_err(|refused| {
            let (event, error) = *refused;
            (event, Unstored::Entry(error))
        })
    }

    /// Events have come into the log from the schedule.
    pub(crate) fn published_later(&self, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.passing.counts.published.fetch_add(events, Ordering::Relaxed);
    }

    /// Told of commits from now on.
    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    /// Events that were published into streams, and those of them that no subscription was offered.
    pub(crate) fn published(&self) -> (u64, u64) {
        let Counts { published, unrouted, .. } = &self.passing.counts;
        (published.load(Ordering::Relaxed), unrouted.load(Ordering::Relaxed))
    }

    /// Closes the store: what it was asked for is stored, then its directory is free. Blocks meanwhile.
    pub(crate) fn close(&self) {
        let store = self.store.write().take();
        drop(store);
        self.deadlines.end();
    }

    /// One behind the last offset of all partitions, summed up: it rises with each event.
    pub(crate) fn end(&self) -> u64 {
        let end =
            |store: &Store| self.partitions().filter_map(|partition| Some(store.bounds(partition)?.1)).sum();
        self.with(end).unwrap_or(0)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.deadlines.end();
    }
}

/// Why an event cannot become an entry.
#[derive(Debug)]
pub(crate) enum Unstored {
    Entry(EntryError),
    Closed,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("streams", &self.streams).finish_non_exhaustive()
    }
}
