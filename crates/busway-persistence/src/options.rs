//! How a store is opened.

use std::fmt;
use std::time::Duration;

use crate::audit::{AuditHead, OnHead};
use crate::figures::{Commit, OnCommitted};
use crate::stream::{Stream, StreamProblem};

/// What a store is opened with.
pub struct StoreOptions {
    pub(crate) streams: Vec<Stream>,
    pub(crate) tables: Vec<String>,
    pub(crate) map_bytes: usize,
    pub(crate) bytes_max: u64,
    pub(crate) reserve_bytes: u64,
    pub(crate) readers_max: u32,
    pub(crate) tail_events: usize,
    pub(crate) tail_bytes: usize,
    pub(crate) id_window: Duration,
    pub(crate) verified: u64,
    pub(crate) scheduled_events: u64,
    pub(crate) scheduled_bytes: u64,
    pub(crate) on_commit: Option<Box<dyn Fn() + Send + Sync>>,
    pub(crate) on_committed: Option<OnCommitted>,
    pub(crate) on_audit_head: Option<OnHead>,
}

impl StoreOptions {
    /// No streams, and the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            streams: Vec::new(),
            tables: Vec::new(),
            map_bytes: 1 << 30,
            bytes_max: 1 << 40,
            reserve_bytes: 64 << 20,
            readers_max: 126,
            tail_events: 4_096,
            tail_bytes: 4 << 20,
            id_window: Duration::from_secs(120),
            verified: 64,
            scheduled_events: 1_000_000,
            scheduled_bytes: 1 << 30,
            on_commit: None,
            on_committed: None,
            on_audit_head: None,
        }
    }

    /// Declares a stream. One that the store does not hold yet is made.
    pub fn stream(mut self, stream: Stream) -> Self {
        self.streams.push(stream);
        self
    }

    /// Declares a table of the program's own. One that the store does not hold yet is made; declared twice it is the same.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.tables.push(name.into());
        self
    }

    /// Address space that the store begins with, in bytes; it grows by itself. Default 1 GiB. It costs no memory and no disk.
    pub const fn map_bytes(mut self, bytes: usize) -> Self {
        self.map_bytes = bytes;
        self
    }

    /// As large as the store's file may grow, in bytes; then publishes are refused until retention lets segments go. Default 1 TiB. Settlements, and
    /// retention itself, may use an eighth more (1 MiB at least), because taking away needs pages too; publishes never do.
    pub const fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Disk space that is kept free for settlements and retention, in bytes: with less than that, publishes are refused. Half of it is there for
    /// [transactions that settle](crate::Store::transact_to_settle) and append nothing too. Default 64 MiB.
    pub const fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve_bytes = bytes;
        self
    }

    /// Events of each partition that are kept in memory for those who keep up, and the bytes of their records; none while nobody
    /// reads the partition. Default 4,096 and 4 MiB.
    pub const fn tail(mut self, events: usize, bytes: usize) -> Self {
        self.tail_events = events;
        self.tail_bytes = bytes;
        self
    }

    /// For how long an id that a publisher gave is remembered: published again within it, the event has its first place.
    /// Default 120 s. It is remembered no longer than its event is kept, and as [`Store::age_at_most`](crate::Store::age_at_most) says it is that old.
    pub const fn id_window(mut self, window: Duration) -> Self {
        self.id_window = window;
        self
    }

    /// Records at the end of each partition that are checked when the store is opened. Default 64.
    pub const fn verified_records(mut self, records: u64) -> Self {
        self.verified = records;
        self
    }

    /// Events that may wait to be published later, and the bytes of their records; more are refused. Default 1,000,000 and 1 GiB.
    /// What waits is counted when the store is opened, which takes about a tenth of a second for a million.
    pub const fn scheduled_max(mut self, events: u64, bytes: u64) -> Self {
        self.scheduled_events = events;
        self.scheduled_bytes = bytes;
        self
    }

    /// Called by the writer's thread after each commit that appended something, when readers can see it. It must be quick, and
    /// must not wait for the store.
    pub fn on_commit(mut self, on_commit: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_commit = Some(Box::new(on_commit));
        self
    }

    /// Called by the writer's thread behind each commit, whatever it stored, with what can be measured of it. It must be quick, and must not wait for the
    /// store. Without it no clock is read.
    pub fn on_committed(mut self, on_committed: impl Fn(Commit) + Send + Sync + 'static) -> Self {
        self.on_committed = Some(Box::new(on_committed));
        self
    }

    /// Called by the writer's thread with each head of an audit stream, when it is stored: to be kept where the store is not. It must
    /// be quick, and must not wait for the store.
    pub fn on_audit_head(mut self, on_head: impl Fn(&AuditHead) + Send + Sync + 'static) -> Self {
        self.on_audit_head = Some(Box::new(on_head));
        self
    }
}

/// All that is wrong with streams by themselves and beside each other, by their names: what a store that is opened with them would
/// say before it touches anything.
#[must_use]
pub fn stream_problems(streams: &[Stream]) -> Vec<(String, StreamProblem)> {
    let mut problems = Vec::new();
    for (at, stream) in streams.iter().enumerate() {
        let name = |problem| (stream.name.clone(), problem);
        problems.extend(stream.problems().into_iter().map(name));
        for other in streams.iter().skip(at + 1) {
            if stream.name == other.name {
                problems.push(name(StreamProblem::Twice));
            }
            problems.extend(overlap(stream, other).map(name));
        }
    }
    problems
}

fn overlap(stream: &Stream, other: &Stream) -> Option<StreamProblem> {
    let pairs = stream
        .captures
        .iter()
        .flatten()
        .flat_map(|filter| other.captures.iter().flatten().map(move |its_own| (filter, its_own)));
    let (filter, its_own) = pairs.into_iter().find(|(filter, its_own)| filter.overlaps(its_own))?;
    Some(StreamProblem::Overlap {
        filter: filter.to_string(),
        other: its_own.to_string(),
        stream: other.name.clone(),
    })
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions").field("streams", &self.streams).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_with_topics_in_common_or_with_one_name_are_listed() {
        let options = StoreOptions::new()
            .stream(Stream::new("orders").capture("orders.#"))
            .stream(Stream::new("audit").capture("x").capture("+.created"))
            .stream(Stream::new("audit").capture("y"));
        let problems: Vec<_> = stream_problems(&options.streams)
            .into_iter()
            .map(|(name, problem)| format!("{name}: {problem}"))
            .collect();
        assert_eq!(
            problems,
            [
                "orders: orders.# and +.created of stream audit have topics in common; a topic is captured by one stream",
                "audit: its name is borne by another one too; give it another name",
            ]
        );
    }
}
