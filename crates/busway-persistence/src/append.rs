//! Appending: events on their way into the log.
//!
//! Everything that can be done without the writer is done by the publisher: the payload is encoded, the partition chosen,
//! the record laid out and hashed. What is left for the writer is a place and a dozen bytes of checksum.

use std::fmt;

use busway_event::{AnyEvent, EventId, Timestamp};

use crate::error::AppendError;
use crate::record::Recorded;

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition's number in the store.
    pub partition: u32,
    /// The position in it.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

/// An event that is ready to be stored. Made by [`Store::entry`](crate::Store::entry).
pub struct Entry {
    pub(crate) stream: u32,
    pub(crate) partition: u32,
    pub(crate) event: AnyEvent,
    pub(crate) appended: Timestamp,
    pub(crate) recorded: Recorded,
    /// The hash of its body, when its publisher gave the id: it is looked for among those that are there.
    pub(crate) given: Option<u64>,
    /// Where it was placed in the batch that is being written.
    pub(crate) offset: u64,
    /// Where it was stored before, when its publisher gave the id and published it twice.
    pub(crate) first_place: Option<Position>,
}

impl Entry {
    /// The event.
    #[must_use]
    pub const fn event(&self) -> &AnyEvent {
        &self.event
    }

    /// The event, taken back.
    #[must_use]
    pub fn into_event(self) -> AnyEvent {
        self.event
    }

    /// The partition that it goes to.
    #[must_use]
    pub const fn partition(&self) -> u32 {
        self.partition
    }

    pub(crate) fn id(&self) -> EventId {
        self.event.id()
    }

    /// Where it is stored, once it is.
    pub(crate) fn place(&self) -> Position {
        self.first_place.unwrap_or(Position { partition: self.partition, offset: self.offset })
    }

    /// Bytes of its values.
    pub(crate) fn bytes(&self) -> usize {
        self.recorded.len()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("partition", &self.partition)
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

/// Called by the writer's thread when an append is decided. It must be quick, and must not wait for the store.
pub type OnAppended = Box<dyn FnOnce(Result<Appended, AppendError>) + Send>;

/// Where events were stored, each in the order in which they were given: all of them, in one commit that is synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// One event.
    One(Position),
    /// A batch.
    Many(Vec<Position>),
}

impl Appended {
    /// The places.
    #[must_use]
    pub fn positions(&self) -> &[Position] {
        match self {
            Self::One(position) => std::slice::from_ref(position),
            Self::Many(positions) => positions,
        }
    }
}

/// Entries to be stored together, or not at all.
pub(crate) struct Append {
    pub(crate) entries: Entries,
    pub(crate) done: OnAppended,
}

/// One entry needs no list.
pub(crate) enum Entries {
    One(Box<Entry>),
    Many(Vec<Entry>),
}

impl Entries {
    pub(crate) fn as_slice(&self) -> &[Entry] {
        match self {
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Many(entries) => entries,
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Entry] {
        match self {
            Self::One(entry) => std::slice::from_mut(entry),
            Self::Many(entries) => entries,
        }
    }

    /// Where they are stored.
    pub(crate) fn places(&self) -> Appended {
        match self {
            Self::One(entry) => Appended::One(entry.place()),
            Self::Many(entries) => Appended::Many(entries.iter().map(Entry::place).collect()),
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Entry> {
        match self {
            Self::One(entry) => vec![*entry],
            Self::Many(entries) => entries,
        }
    }
}
