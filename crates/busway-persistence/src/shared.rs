//! What the writer, readers and publishers share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::aging::AgedAtMost;
use crate::append::Entry;
use crate::audit::{AuditRow, Audited, OnHead};
use crate::dead::Rooms;
use crate::error::{Fault, Refusal};
use crate::figures::{Commits, OnCommitted};
use crate::layout::Databases;
use crate::lmdb::Gate;
use crate::names::Names;
use crate::open::free_bytes;
use crate::segment::Log;
use crate::stream::{Cap, Retention, Stream};
use crate::table::TableId;
use crate::tail::{StoredEvent, Tail};

/// See the module.
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) store_id: Uuid,
    /// Of this opening: numbers of names hold for it alone, as long as they are not stored.
    pub(crate) opening: Uuid,
    pub(crate) gate: Gate,
    pub(crate) databases: Databases<'static>,
    pub(crate) names: Names,
    pub(crate) streams: Vec<StoredStream>,
    pub(crate) tables: HashMap<String, TableId>,
    /// By their number.
    pub(crate) partitions: Vec<Partition>,
    /// Set once, when storage has failed.
    pub(crate) fault: OnceLock<Fault>,
    pub(crate) aged_at_most: AgedAtMost,
    /// For how long a given id is remembered.
    pub(crate) id_window: Duration,
    /// The largest value that needs one page at most.
    pub(crate) value_bytes_max: usize,
    pub(crate) limits: Limits,
    /// Called after each commit that appended something.
    pub(crate) on_commit: Option<Box<dyn Fn() + Send + Sync>>,
    /// Called after each commit.
    pub(crate) on_committed: Option<OnCommitted>,
    pub(crate) commits: Commits,
    /// Called with each new head of an audit stream.
    pub(crate) on_audit_head: Option<OnHead>,
    /// How many dead letters there are.
    pub(crate) rooms: Rooms,
}

/// How far a store may grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) bytes_max: u64,
    pub(crate) reserve: u64,
    /// Events that may wait to be published, and bytes of their records.
    pub(crate) scheduled_events: u64,
    pub(crate) scheduled_bytes: u64,
}

/// A stream that the store holds.
#[derive(Debug)]
pub(crate) struct StoredStream {
    pub(crate) name: String,
    /// The number of its first partition; the others follow.
    pub(crate) first: u32,
    pub(crate) partitions: u16,
    pub(crate) slots: u16,
    /// What the program says of it. `None`: it lies there from an earlier time, and takes nothing.
    pub(crate) declared: Option<Stream>,
    /// What is stored of its audit, when it has one.
    pub(crate) audit_row: Option<AuditRow>,
    pub(crate) audited: Option<Audited>,
}

/// A partition, as others than the writer see it.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Its stream, by place.
    pub(crate) stream: usize,
    first: AtomicU64,
    next: AtomicU64,
    pub(crate) tail: Mutex<Tail>,
}

impl Partition {
    pub(crate) fn new(stream: usize, log: &Log, tail: Tail) -> Self {
        let (first, next) = (AtomicU64::new(log.first()), AtomicU64::new(log.next()));
        Self { stream, first, next, tail: Mutex::new(tail) }
    }

    /// The first offset that is there, and the one behind the last. A glance: both may have risen since.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        (self.first.load(Ordering::Acquire), self.next.load(Ordering::Acquire))
    }
}

impl Shared {
    pub(crate) fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(number).ok()?)
    }

    fn stream_of(&self, partition: u32) -> Option<&StoredStream> {
        self.streams.get(self.partition(partition)?.stream)
    }

    /// The audit of a partition's stream.
    pub(crate) fn audited(&self, partition: u32) -> Option<&Audited> {
        self.stream_of(partition)?.audited.as_ref()
    }

    pub(crate) fn stream_name(&self, partition: u32) -> &str {
        self.stream_of(partition).map_or("", |stream| &stream.name)
    }

    pub(crate) fn retention_of(&self, partition: u32) -> Option<Retention> {
        Some(self.stream_of(partition)?.declared.as_ref()?.retention)
    }

    /// The cap of a stream's partitions, with its name.
    pub(crate) fn cap_of(&self, stream: u32) -> Option<(&str, Cap)> {
        let stream = self.streams.get(usize::try_from(stream).ok()?)?;
        Some((&stream.name, stream.declared.as_ref()?.retention.cap?))
    }

    /// The cap of a partition, with the name of its stream.
    pub(crate) fn cap_of_partition(&self, partition: u32) -> Option<(&str, Cap)> {
        let stream = self.stream_of(partition)?;
        Some((&stream.name, stream.declared.as_ref()?.retention.cap?))
    }

    /// What is said where a partition has no room below its cap.
    pub(crate) fn capped(&self, partition: u32, (stream, cap): (&str, Cap)) -> Refusal {
        let (stream, partition) = (stream.to_owned(), self.index_in_stream(partition));
        Refusal::Capped { stream, partition, cap: cap.bytes }
    }

    /// A partition's place within its stream.
    pub(crate) fn index_in_stream(&self, partition: u32) -> u16 {
        let first = self.stream_of(partition).map_or(0, |stream| stream.first);
        u16::try_from(partition.saturating_sub(first)).unwrap_or(u16::MAX)
    }

    /// Shows readers a log as it was committed.
    pub(crate) fn note_log(&self, number: u32, log: &Log) {
        if let Some(partition) = self.partition(number) {
            partition.first.store(log.first(), Ordering::Release);
            partition.next.store(log.next(), Ordering::Release);
        }
    }

    /// Gives readers who keep up the events that were committed.
    pub(crate) fn tell(&self, entries: &mut [Entry]) {
        for run in entries.chunk_by_mut(|one, next| one.partition == next.partition) {
            let Some(partition) = run.first().and_then(|entry| self.partition(entry.partition)) else {
                continue;
            };
            let mut tail = partition.tail.lock();
            for entry in run.iter_mut().filter(|entry| entry.is_new() && entry.wait.is_none()) {
                let outdated = match tail.is_read() {
                    true => {
                        let event = StoredEvent {
                            offset: entry.offset,
                            appended: entry.appended,
                            given_id: entry.given.is_some(),
                            event: entry.event.clone(),
                        };
                        tail.push(event, entry.bytes())
                    }
                    false => tail.let_go(),
                };
                entry.outdated = outdated.map(|outdated| outdated.event);
            }
        }
    }

    /// Wakes who waits for events, after a commit.
    pub(crate) fn told(&self) {
        if let Some(on_commit) = &self.on_commit {
            on_commit();
        }
    }

    /// Bytes that are free on the disk, when they are fewer than the reserve. What cannot be asked is taken for enough: a write that fails says so too.
    pub(crate) fn free_on_disk(&self) -> Option<u64> {
        self.free_bytes().filter(|free| *free < self.limits.reserve)
    }

    pub(crate) fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.path)
    }

    pub(crate) const fn storage_full(&self, free: u64) -> Refusal {
        Refusal::StorageFull { free, reserve: self.limits.reserve }
    }

    /// The largest value of which two lie in one page, and the largest that needs one page at most.
    pub(crate) const fn pack_bytes(&self) -> (usize, usize) {
        // Of the page without its head LMDB gives half to each of two keys: 2 bytes are its place there, 8 its head, 8 the key.
        ((self.value_bytes_max / 2 / 2 * 2).saturating_sub(2 + 8 + 8), self.value_bytes_max)
    }

    pub(crate) const fn bytes_max(&self) -> u64 {
        self.limits.bytes_max
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("path", &self.path)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// Map sizes are multiples of this: of every page size there is.
pub(crate) const MAP_STEP: usize = 64 << 10;
