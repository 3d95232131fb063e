//! What the store answers when it does not do what it was asked for.

use std::path::PathBuf;

use busway_event::{EncodeError, EventId, Timestamp};

use crate::append::{Entry, Position};
use crate::corrupt::Corrupt;
use crate::dead::{LetterKey, REQUEST_BYTES_MAX};
use crate::record::RecordTooLarge;
use crate::schedule::SCHEDULE_NAME_BYTES_MAX;
use crate::settle::SUBSCRIPTION_NAME_BYTES_MAX;

/// An event cannot become an entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Its payload has no bytes, or too many.
    #[error("the payload cannot be encoded")]
    Encode(#[from] EncodeError),
    /// It does not fit into the record format.
    #[error(
        "the event has {len} bytes with its header, more than the {limit} of a record; keep large payloads elsewhere and publish where they lie"
    )]
    TooLarge {
        /// Bytes of header and payload.
        len: usize,
        /// As many as a record may have.
        limit: usize,
    },
    /// No such stream.
    #[error("the store has no stream \"{stream}\"; declare it when the store is opened")]
    UnknownStream {
        /// The name that was given.
        stream: String,
    },
}

impl From<RecordTooLarge> for EntryError {
    fn from(RecordTooLarge { len, limit }: RecordTooLarge) -> Self {
        Self::TooLarge { len, limit }
    }
}

/// An append came to nothing, or nobody can say what it came to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Nothing was stored, nothing will be. Safe to repeat.
    #[error("nothing was stored")]
    Refused {
        /// What was to be stored.
        entries: Vec<Entry>,
        /// Why it was not.
        #[source]
        reason: Refusal,
    },
    /// Storage failed during the commit: the events may be there or not. The store acknowledges nothing more until it is
    /// opened again; then a lookup tells. Repeat with the same ids only.
    #[error("the storage failed during the commit; open the store again and look the ids up")]
    Unknown {
        /// The events in question.
        ids: Vec<EventId>,
        /// What failed.
        #[source]
        fault: Fault,
    },
}

/// Why the store refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The disk is full, or nearly: what is left is kept for settlements and retention.
    #[error(
        "the disk has {free} bytes free, and {reserve} are kept in reserve; free some space, publishes pass again then"
    )]
    StorageFull {
        /// Bytes that are free.
        free: u64,
        /// Bytes that are kept.
        reserve: u64,
    },
    /// The store has grown to its limit.
    #[error("the store has grown to its limit of {limit} bytes; raise it, or let retention keep less")]
    StoreFull {
        /// The limit.
        limit: u64,
    },
    /// The partition has grown to its cap, and a subscription has not settled its oldest events.
    #[error(
        "partition {partition} of stream {stream} has grown to its cap of {cap} bytes; its slowest subscription has to catch up"
    )]
    Capped {
        /// The stream.
        stream: String,
        /// The partition in it.
        partition: u16,
        /// The cap.
        cap: u64,
    },
    /// Another event has been published under this id.
    #[error("id {id} was given to another event, at {first}; give this one an id of its own")]
    Conflict {
        /// The id.
        id: EventId,
        /// Where the other event lies.
        first: Position,
    },
    /// Another event waits under this id.
    #[error("id {id} was given to another event, which is due at {due}; give this one an id of its own")]
    ConflictScheduled {
        /// The id.
        id: EventId,
        /// When the other event is due.
        due: Timestamp,
    },
    /// As many events wait to be published as may, or as many bytes.
    #[error(
        "{events} events of {bytes} bytes wait to be published later, of {events_max} and {bytes_max} that may; raise the limit, or schedule again when some are due"
    )]
    ScheduleFull {
        /// Events that wait.
        events: u64,
        /// As many as may.
        events_max: u64,
        /// Bytes of their records.
        bytes: u64,
        /// As many as may be.
        bytes_max: u64,
    },
    /// The same id is borne by two events of one batch.
    #[error("id {id} is given to two events of one batch; give each its own")]
    TwiceInBatch {
        /// The id.
        id: EventId,
    },
    /// The entry was made by another store, or before this one was opened again: what it calls its names holds no longer.
    #[error("the entry was made for another opening of the store; make it again from its event")]
    OtherOpening,
    /// The storage has failed before.
    #[error("the storage has failed before; open the store again")]
    Faulted,
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

/// A failure of the storage after which nothing is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{doing} failed: {reason}")]
pub struct Fault {
    /// What was being done.
    pub doing: &'static str,
    /// What the system said.
    pub reason: String,
}

/// Something cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log begins behind this offset: what was asked for is gone.
    #[error("the partition begins at offset {first}, offset {from} is gone; begin there, or seek")]
    BeforeStart {
        /// The offset that was asked for.
        from: u64,
        /// The first that is there.
        first: u64,
    },
    /// No such partition.
    #[error("there is no partition {partition}")]
    UnknownPartition {
        /// The number that was asked for.
        partition: u32,
    },
    /// What is stored cannot be trusted. Its neighbours can be read: go on behind it.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The system refuses; or the list of a partition's segments is damaged, without which nothing in it is found, though its records may be as
    /// they were written.
    #[error("{}: the store cannot be read: {reason}", path.display())]
    Storage {
        /// The store.
        path: PathBuf,
        /// What the system said, or what is damaged.
        reason: String,
    },
}

/// A request to the store other than an append came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A durable subscription of this name was made with another filter.
    #[error(
        "subscription {name} was made with the filter {stored}, not {asked}; give the new one another name, or remove the old one"
    )]
    OtherFilter {
        /// Its name.
        name: String,
        /// The filter that it was made with.
        stored: String,
        /// The filter that was asked for.
        asked: String,
    },
    /// The name of a subscription is empty or too long.
    #[error("a subscription's name has 1 to {SUBSCRIPTION_NAME_BYTES_MAX} bytes, not {}", name.len())]
    Name {
        /// The name.
        name: String,
    },
    /// No subscription bears this name.
    #[error("there is no subscription {name}")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// No subscription of this number stands in the partition: it was removed, or never registered there.
    #[error("subscription {number} does not stand in this partition; register it")]
    UnknownSubscription {
        /// Its number.
        number: u32,
    },
    /// Its cursor would have too many runs: something near its low mark is never settled.
    #[error("the cursor would have more than {limit} runs; settle or park what it stands at")]
    TooManyRuns {
        /// As many as it may have.
        limit: usize,
    },
    /// A cursor cannot stand there.
    #[error("offset {offset} of partition {partition} is outside of its log, {first} to {next}")]
    OutsideOfLog {
        /// The partition.
        partition: u32,
        /// Where the cursor was to stand.
        offset: u64,
        /// The first offset of the log.
        first: u64,
        /// The offset behind its last.
        next: u64,
    },
    /// The name of a schedule is empty or too long.
    #[error("a schedule's name has 1 to {SCHEDULE_NAME_BYTES_MAX} bytes, not {len}")]
    ScheduleName {
        /// Bytes of the name.
        len: usize,
    },
    /// A schedule is not what its caller took it for: somebody else has changed it. Read it again.
    #[error("schedule {name} was changed by somebody else; read it again")]
    ScheduleMoved {
        /// Its name.
        name: String,
    },
    /// There is no such dead letter: there never was, or it was handled, discarded, or has expired. The trail says which.
    #[error("there is no dead letter {letter}")]
    NoDeadLetter {
        /// The letter.
        letter: LetterKey,
    },
    /// A dead letter is on its way to its subscription already: it was redriven, or its subscription was sent back before the event.
    #[error("the event of dead letter {letter} is on its way to its subscription already")]
    AlreadyRedriven {
        /// The letter.
        letter: LetterKey,
    },
    /// What is said of an operation on dead letters is longer than the trail keeps it.
    #[error("the {what} of an operation on dead letters has {len} bytes, at most {limit}")]
    OperationText {
        /// Which text.
        what: &'static str,
        /// Its bytes.
        len: usize,
        /// As many as it may have.
        limit: usize,
    },
    /// As many events are parked of the subscription of a dead letter as may be.
    #[error(
        "dead letter {letter} cannot be given again now: as many events of its subscription are parked as may be"
    )]
    TooManyParked {
        /// The letter.
        letter: LetterKey,
    },
    /// A dead letter was edited and handled; the original is only kept.
    #[error("dead letter {letter} was edited, redriven and handled already")]
    AlreadyHandled {
        /// The letter.
        letter: LetterKey,
    },
    /// The event of a dead letter could not be read when it was given up.
    #[error(
        "dead letter {letter} has no copy of its event: it could not be read; the letter can only be discarded"
    )]
    NoCopy {
        /// The letter.
        letter: LetterKey,
    },
    /// The name of a request is empty or too long.
    #[error("the name of a request has 1 to {REQUEST_BYTES_MAX} bytes, not {len}")]
    OperationName {
        /// Bytes of the name.
        len: usize,
    },
    /// An operation is not what its caller took it for: somebody else makes the same request. Read it again.
    #[error("request {request} is being made by somebody else; read it again")]
    OperationMoved {
        /// The request.
        request: String,
    },
    /// It was refused like an append.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The storage failed during the commit.
    #[error(transparent)]
    Unknown(#[from] Fault),
    /// A stored row cannot be trusted.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}
