//! What the writer knows: the segments of each partition, and where each subscription stands.
//!
//! Logs are changed in a copy, which takes their place when the commit has succeeded: a batch that is applied a second time
//! gives the same offsets again. Cursors are changed in place: settling is a set that grows, and applying the same
//! settlements and seeks in the same order once more comes to the same end.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use busway_event::Timestamp;

use crate::cursor::Cursor;
use crate::segment::Log;
use crate::settle::Parked;
use crate::shared::Shared;

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    /// By the number of the partition.
    pub(crate) logs: Vec<Log>,
    pub(crate) subscriptions: HashMap<String, Subscription>,
    /// By subscription and partition.
    pub(crate) positions: HashMap<(u32, u32), Position>,
    pub(super) staged: Staged,
}

/// A durable subscription.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) number: u32,
    pub(crate) filter: String,
}

/// Where a subscription stands in a partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position {
    pub(crate) cursor: Cursor,
    pub(crate) parked: BTreeMap<u64, Parked>,
}

impl Position {
    /// The lowest offset that it needs the event of.
    fn needs(&self) -> u64 {
        let parked = self.parked.keys().next().copied().unwrap_or(u64::MAX);
        parked.min(self.cursor.low())
    }
}

/// What a batch has changed and no commit has stored.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub(super) logs: BTreeMap<u32, Log>,
    /// Segments whose row has to be written.
    pub(super) touched: BTreeSet<(u32, u16)>,
    /// Positions whose row has to be written. Stays when a commit fails.
    pub(super) moved: HashSet<(u32, u32)>,
    /// Subscriptions that were registered. Stays when a commit fails.
    pub(super) registered: HashSet<String>,
    /// The number up to which names were written.
    pub(super) names: u32,
    /// The time of the newest event.
    pub(super) now: Option<Timestamp>,
}

impl Staged {
    /// The logs, to be given back to [`restore`](Self::restore).
    pub(super) fn logs_as_they_are(&self) -> Logs {
        (self.logs.clone(), self.touched.clone())
    }

    /// Undoes what was done to logs since.
    pub(super) fn restore(&mut self, (logs, touched): Logs) {
        (self.logs, self.touched) = (logs, touched);
    }
}

/// Logs that a batch has changed, and the segments whose row has to be written.
pub(super) type Logs = (BTreeMap<u32, Log>, BTreeSet<(u32, u16)>);

impl State {
    pub(crate) fn new(
        logs: Vec<Log>,
        subscriptions: HashMap<String, Subscription>,
        positions: HashMap<(u32, u32), Position>,
    ) -> Self {
        Self { logs, subscriptions, positions, staged: Staged::default() }
    }

    /// A batch begins, or begins again: what it did to logs is forgotten.
    pub(super) fn begin(&mut self) {
        self.staged.logs.clear();
        self.staged.touched.clear();
        self.staged.names = 0;
        self.staged.now = None;
    }

    /// The batch is stored.
    pub(super) fn keep(&mut self, shared: &Shared) {
        for (partition, log) in std::mem::take(&mut self.staged.logs) {
            shared.note_log(partition, &log);
            if let Some(place) = index(partition).and_then(|at| self.logs.get_mut(at)) {
                *place = log;
            }
        }
        self.staged.moved.clear();
        self.staged.registered.clear();
        shared.names.note_stored(self.staged.names);
    }

    /// The log of a partition as this batch has it, to be changed.
    pub(super) fn log_mut(&mut self, partition: u32) -> Option<&mut Log> {
        let Self { logs, staged, .. } = self;
        match staged.logs.entry(partition) {
            std::collections::btree_map::Entry::Occupied(log) => Some(log.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) => {
                Some(place.insert(logs.get(index(partition)?)?.clone()))
            }
        }
    }

    /// The log of a partition as this batch has it.
    pub(super) fn log(&self, partition: u32) -> Option<&Log> {
        self.staged.logs.get(&partition).or_else(|| self.logs.get(index(partition)?))
    }

    /// The lowest offset of a partition that some subscription needs; the log's end when none does.
    pub(super) fn needed_from(&self, partition: u32) -> u64 {
        let positions = self.positions.iter().filter(|((_, at), _)| *at == partition);
        let lowest = positions.map(|(_, position)| position.needs()).min();
        lowest.unwrap_or_else(|| self.log(partition).map_or(0, Log::next))
    }
}

fn index(partition: u32) -> Option<usize> {
    usize::try_from(partition).ok()
}
