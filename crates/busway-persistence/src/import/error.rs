//! What is wrong with a line, and why an import ended early.

use std::io;

use busway_event::{CloudEventError, EventId, Timestamp, Topic};

use super::Imported;
use crate::append::Position;
use crate::error::{EntryError, Fault, Refusal};

/// A line that was not stored.
#[derive(Debug)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// Why.
    pub reason: LineError,
}

/// Why a line was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// It is longer than any event's.
    #[error("it has more than {limit} bytes")]
    TooLong {
        /// As many as a line may have.
        limit: usize,
    },
    /// It is no event.
    #[error("it is no event")]
    NoEvent(#[from] CloudEventError),
    /// Another stream captures its topic, or none.
    #[error(
        "its topic {topic} is not captured by stream {stream}; import it into the stream that captures it"
    )]
    NotCaptured {
        /// The topic.
        topic: Topic,
        /// The stream that is imported into.
        stream: String,
    },
    /// It cannot be stored.
    #[error("its event cannot be stored")]
    Entry(#[from] EntryError),
    /// Another event bears its id.
    #[error("its id {id} is borne by another event, at {first}")]
    Conflict {
        /// The id.
        id: EventId,
        /// Where the other one lies.
        first: Position,
    },
    /// Another event that waits to be due bears its id.
    #[error("its id {id} is borne by another event, which waits until {due}")]
    ConflictScheduled {
        /// The id.
        id: EventId,
        /// When the other one is due.
        due: Timestamp,
    },
}

/// Why an import ended early. Everything before the line is stored or counted as skipped; nothing from it on is. To go on, mend
/// what is wrong and import from that line on; or import all of it again: what is there already is stored once, within the
/// store's window of ids.
#[derive(Debug, thiserror::Error)]
#[error("the import ended at line {line}")]
#[non_exhaustive]
pub struct ImportError {
    /// The first line that is not stored, from 1.
    pub line: u64,
    /// What was done before it.
    pub imported: Box<Imported>,
    /// Why.
    pub source: ImportCause,
}

/// Why an import ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportCause {
    /// The program declares no such stream.
    #[error("no stream \"{stream}\" is declared; declare it when the store is opened")]
    UnknownStream {
        /// The name that was given.
        stream: String,
    },
    /// The line is bad, and the import was to stop there.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The lines cannot be read.
    #[error("the lines cannot be read")]
    Read(#[from] io::Error),
    /// The store refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Storage failed: this line and up to 255 more may be stored or not. Open the store again and import from this line on: what was
    /// stored is stored once.
    #[error(transparent)]
    Unknown(#[from] Fault),
}
