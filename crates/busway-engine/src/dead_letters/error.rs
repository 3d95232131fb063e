//! Why something that was asked of dead letters came to nothing.

use busway_event::EncodeError;
use busway_persistence::{EntryError, ReadError, Refusal, RequestError};
use thiserror::Error;

use super::id::DeadLetterId;

/// Why something that was asked of dead letters came to nothing. Nothing was done then, but for an operation with many letters: what the trail says of
/// it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// The bus has no store.
    #[error("the bus lives in memory and keeps no dead letters; open one with Bus::open(path)")]
    NoStore,
    /// The bus was closed before or meanwhile.
    #[error("the bus is closed; ask again when its store is opened again")]
    Closed,
    /// No subscription of this name has, or had, dead letters here.
    #[error("there is no durable subscription \"{name}\" in the store")]
    UnknownSubscription {
        /// The name.
        name: String,
    },
    /// There is no such letter: there never was, or it was handled, discarded, or has expired.
    #[error(
        "there is no dead letter {id}: it never was, or was handled, discarded, or has expired; the trail says which"
    )]
    Unknown {
        /// The letter.
        id: DeadLetterId,
    },
    /// The letter is on its way to its subscription.
    #[error("dead letter {id} was redriven already and is on its way; wait for what comes of it")]
    AlreadyRedriven {
        /// The letter.
        id: DeadLetterId,
    },
    /// The letter was edited and handled, and is only kept.
    #[error("dead letter {id} was edited and handled already; discard it when it is needed no longer")]
    AlreadyHandled {
        /// The letter.
        id: DeadLetterId,
    },
    /// The event could not be read when it was given up.
    #[error("dead letter {id} has no copy of its event, which could not be read; it can only be discarded")]
    NoCopy {
        /// The letter.
        id: DeadLetterId,
    },
    /// The subscription was removed, or never stood in this partition.
    #[error(
        "the subscription of dead letter {id} was removed; subscribe again and publish the event again, or discard it"
    )]
    SubscriptionRemoved {
        /// The letter.
        id: DeadLetterId,
    },
    /// The bus does not declare the stream.
    #[error("the bus does not declare the stream of dead letter {id}; declare it with .stream(…)")]
    StreamUndeclared {
        /// The letter.
        id: DeadLetterId,
    },
    /// As many events of the subscription are parked as may be, and it does not run, or this is one letter: a redrive of several letters waits.
    #[error(
        "as many events of \"{subscription}\" are parked as may be; ask again when some have come to their end"
    )]
    ParkedFull {
        /// The subscription.
        subscription: String,
    },
    /// What is said of the operation is longer than the trail keeps it.
    #[error("the {what} of an operation on dead letters has {len} bytes, at most {limit}")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Its bytes.
        len: usize,
        /// As many as it may have.
        limit: usize,
    },
    /// The request was made before, for something else.
    #[error("request \"{request}\" was made before, to {kind} {selection}; give this one a name of its own")]
    RequestTaken {
        /// The request.
        request: String,
        /// What it was for.
        kind: &'static str,
        /// With which letters.
        selection: String,
    },
    /// The same request is being made by somebody else.
    #[error("request \"{request}\" is being made by somebody else; make it again when that has ended")]
    RequestBusy {
        /// The request.
        request: String,
    },
    /// What was made of an event breaks a rule.
    #[error("the edited payload cannot be taken")]
    Edited(#[source] EncodeError),
    /// What was made of an event cannot be stored.
    #[error(transparent)]
    Entry(EntryError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// The store refuses.
    #[error(transparent)]
    Store(RequestError),
}

impl DeadLetterError {
    /// Whether the same may succeed later without a change.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        use Refusal::{StorageFull, StoreFull};
        matches!(
            self,
            Self::RequestBusy { .. }
                | Self::AlreadyRedriven { .. }
                | Self::ParkedFull { .. }
                | Self::Store(RequestError::Refused(StorageFull { .. } | StoreFull { .. }))
        )
    }

    /// Of a request for one letter.
    pub(super) fn of_one(error: RequestError, id: &DeadLetterId) -> Self {
        let id = id.clone();
        match error {
            RequestError::NoDeadLetter { .. } => Self::Unknown { id },
            RequestError::AlreadyRedriven { .. } => Self::AlreadyRedriven { id },
            RequestError::AlreadyHandled { .. } => Self::AlreadyHandled { id },
            RequestError::TooManyParked { .. } => {
                Self::ParkedFull { subscription: id.subscription.to_string() }
            }
            RequestError::NoCopy { .. } => Self::NoCopy { id },
            RequestError::UnknownSubscription { .. } => Self::SubscriptionRemoved { id },
            error => Self::from(error),
        }
    }
}

impl From<RequestError> for DeadLetterError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::OperationMoved { request } => Self::RequestBusy { request },
            RequestError::Refused(Refusal::Closed) => Self::Closed,
            error => Self::Store(error),
        }
    }
}

impl From<ReadError> for DeadLetterError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}
