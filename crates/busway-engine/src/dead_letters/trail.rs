//! The trail: who did what with dead letters, and when.

use std::fmt;

use busway_event::Timestamp;
use busway_persistence::{Operation, OperationKind};

/// An operation on dead letters, as the trail of the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterOperation {
    /// Its number, from 1, rising.
    pub number: u64,
    /// The request that it was made under.
    pub request: String,
    /// What was done: `redrive`, `edit`, `discard` or `expire`.
    pub kind: OperationKind,
    /// Who did it.
    pub by: String,
    /// With which letters.
    pub selection: String,
    /// When it was begun, wall clock.
    pub begun: Timestamp,
    /// When it was ended; `None`: it was cut short, and goes on when the request is made again. Expiry that is cut short is ended, at the
    /// latest when its subscription begins again; another operation goes on.
    pub ended: Option<Timestamp>,
    /// Letters that it was done with.
    pub letters: u64,
    /// Why it was stopped before it had come to the end: the error that kept coming back, or that the process ended.
    pub stopped: Option<String>,
    /// Whether the request had been carried out before: then nothing was done now.
    pub repeated: bool,
}

impl DeadLetterOperation {
    pub(super) fn of(operation: Operation, repeated: bool) -> Self {
        let Operation { number, request, kind, by, selection, begun, ended, letters, stopped, .. } =
            operation;
        Self { number, request, kind, by, selection, begun, ended, letters, stopped, repeated }
    }
}

/// `redrive of 3 letters by ann (subscription stock)`.
impl fmt::Display for DeadLetterOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, letters, by, selection, .. } = self;
        let plural = if *letters == 1 { "" } else { "s" };
        write!(f, "{} of {letters} letter{plural} by {by} ({selection})", kind.label())?;
        match (&self.stopped, self.ended) {
            (Some(error), _) => write!(f, ", stopped: {error}"),
            (None, None) => f.write_str(", not ended"),
            (None, Some(_)) => Ok(()),
        }
    }
}
