//! Appending: events on their way into the log.
//!
//! Everything that can be done without the writer is done by the publisher: the payload is encoded, the partition chosen,
//! the record laid out and hashed. What is left for the writer is a place and a dozen bytes of checksum.

use std::fmt;
use std::time::Duration;

use busway_event::{AnyEvent, EventId, Timestamp};
use uuid::Uuid;

use crate::audit::Hash;
use crate::error::AppendError;
use crate::record::Recorded;
use crate::schedule::Wait;

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
    /// Of the store that made it, see [`Shared`](crate::shared::Shared).
    pub(crate) opening: Uuid,
    pub(crate) stream: u32,
    pub(crate) partition: u32,
    pub(crate) event: AnyEvent,
    pub(crate) appended: Timestamp,
    pub(crate) recorded: Recorded,
    /// How long it waits before it is in the log; `None`: not at all. Boxed: most entries do not.
    pub(crate) wait: Option<Box<Wait>>,
    /// The hash of its body, when its publisher gave the id: it is looked for among those that are there.
    pub(crate) given: Option<u64>,
    /// Nobody gave its id, and that says another time than the one at which it is taken.
    pub(crate) is_out_of_time: bool,
    /// Of its record, when its stream is audited.
    pub(crate) hash: Option<Box<Hash>>,
    /// Where it was placed in the batch that is being written.
    pub(crate) offset: u64,
    /// An event that made room for it in the memory of the newest ones: let go by whoever gets the entry back.
    pub(crate) outdated: Option<AnyEvent>,
    /// Where it was stored before, when its publisher gave the id and published it twice.
    pub(crate) first_place: Option<Position>,
    /// When it is due as it was scheduled before, likewise.
    pub(crate) first_due: Option<Timestamp>,
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

    /// Takes the event that it took the place of in the memory of the newest ones, for whoever can use its envelope again.
    pub fn take_outdated(&mut self) -> Option<AnyEvent> {
        self.outdated.take()
    }

    /// Lets it wait until `due`: it is stored now, and goes into the log when the store is told to
    /// [`fire`](crate::Store::fire) at that time or later. `delay` is how long was asked for when no time was named: it begins
    /// anew when the clock turns out to be set back, see [`Store::redate`](crate::Store::redate).
    #[must_use]
    pub fn wait_until(mut self, due: Timestamp, delay: Option<Duration>) -> Self {
        self.wait = Some(Box::new(Wait { due, delay }));
        self
    }

    /// When it is due, once it is stored; `None` when it is in the log. Of an id that was published before this is what became
    /// of the first one.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        match self.first_place {
            Some(_) => None,
            None => self.first_due.or(self.wait.as_ref().map(|wait| wait.due)),
        }
    }

    /// Whether it is stored by its own batch, not by an earlier one.
    pub(crate) const fn is_new(&self) -> bool {
        self.first_place.is_none() && self.first_due.is_none()
    }

    pub(crate) fn id(&self) -> EventId {
        self.event.id()
    }

    /// Where it is stored in the log, once it is. Before that, and while it waits to be due, it says nothing.
    #[must_use]
    pub fn place(&self) -> Position {
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

/// Entries that were stored, in the order in which they were given: all of them, in one commit that is synced.
///
/// They come back to whoever is told of them with all that they hold, so that memory is given back by the thread that took it: for
/// most allocators that is several times as quick as giving it back from the writer's.
#[derive(Debug)]
pub struct Appended {
    entries: Vec<Entry>,
}

impl Appended {
    pub(crate) const fn new(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    /// Where they lie in the log, one by one; of those that are [`due`](Entry::due) later it says nothing.
    pub fn positions(&self) -> impl ExactSizeIterator<Item = Position> {
        self.entries.iter().map(Entry::place)
    }

    /// What was stored.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What was stored.
    #[must_use]
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

/// Entries to be stored together, or not at all.
pub(crate) struct Append {
    pub(crate) entries: Vec<Entry>,
    pub(crate) done: OnAppended,
}
