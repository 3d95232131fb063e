//! Errors of publishing, and the one that all verbs' errors turn into.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use busway_event::{EventId, Invalid};
use busway_middleware::{BoxError, PublishRefused};
use busway_persistence::{EntryError, Fault, Refusal};

/// Why a publish did not succeed. `E` is what was published.
#[non_exhaustive]
pub enum PublishError<E> {
    /// Nothing was stored or offered, and nothing will be. Safe to try again.
    #[non_exhaustive]
    Refused {
        /// What was published, given back.
        event: Box<E>,
        /// Why.
        reason: Refused,
    },
    /// Nobody can say whether the event was stored: the storage failed while it was committed, or took too long. An event whose
    /// id you gave is published again with the same id, and stored once. Of another one [`Bus::lookup`](crate::Bus::lookup) says,
    /// when what was under way is decided, whether it is there.
    #[non_exhaustive]
    Unknown {
        /// The event, or all of the batch.
        ids: Vec<EventId>,
        /// Why nobody can say.
        cause: UnknownCause,
    },
}

impl<E> PublishError<E> {
    pub(crate) fn refused(event: E, reason: Refused) -> Self {
        Self::Refused { event: Box::new(event), reason }
    }

    pub(crate) const fn unknown(ids: Vec<EventId>, cause: UnknownCause) -> Self {
        Self::Unknown { ids, cause }
    }

    /// Why the publish was refused; `None` when it was not: then nobody can say what became of it.
    #[must_use]
    pub const fn reason(&self) -> Option<&Refused> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            Self::Unknown { .. } => None,
        }
    }

    /// What was published, given back; `None` when it may be stored.
    #[must_use]
    pub fn into_event(self) -> Option<E> {
        match self {
            Self::Refused { event, .. } => Some(*event),
            Self::Unknown { .. } => None,
        }
    }

    /// Whether the same publish may succeed later without a change. Never when it may have succeeded already.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Refused { reason, .. } => reason.is_transient(),
            Self::Unknown { .. } => false,
        }
    }
}

impl<E> fmt::Debug for PublishError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { reason, .. } => {
                f.debug_struct("Refused").field("reason", reason).finish_non_exhaustive()
            }
            Self::Unknown { ids, cause } => {
                f.debug_struct("Unknown").field("ids", ids).field("cause", cause).finish()
            }
        }
    }
}

impl<E> fmt::Display for PublishError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { .. } => f.write_str("the event was refused"),
            Self::Unknown { ids, .. } => {
                f.write_str(
                    "nobody can say whether the event was stored; repeat it with the id you gave, or look it up:",
                )?;
                ids.iter().try_for_each(|id| write!(f, " {id}"))
            }
        }
    }
}

impl<E> StdError for PublishError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            Self::Unknown { cause, .. } => Some(cause),
        }
    }
}

/// Why an event could not be looked up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The bus has no store.
    #[error("the bus lives in memory and keeps no events; open one with Bus::open(path)")]
    NoStore,
    /// The store is closed.
    #[error("the bus is closed; look it up after the store is opened again")]
    Closed,
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] busway_persistence::ReadError),
}

/// Why an event was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The event breaks a rule.
    #[error("it is not valid")]
    Invalid(#[from] Invalid),
    /// A publish middleware said no.
    #[error("a publish middleware said no")]
    Middleware(#[from] PublishRefused),
    /// The bus is shutting down, or has been dropped.
    #[error("the bus is shutting down: it takes no events from outside any more")]
    Closed,
    /// An inline handler stands behind async middleware, which cannot run here.
    #[error(
        "the inline subscription \"{subscription}\" stands behind async middleware: publish with .publish(…).await"
    )]
    NeedsAwait {
        /// The subscription.
        subscription: String,
    },
    /// A stream captures the topic: its publish waits for the disk.
    #[error(
        "the stream \"{stream}\" captures its topic, and storing it waits for the disk: publish with .publish(…).await"
    )]
    NeedsCommit {
        /// The stream.
        stream: String,
    },
    /// It is to be published later, and this bus has no store.
    #[error(
        "a delayed event has to be stored, and this bus lives in memory: begin with Bus::open(path) and declare a stream that captures \"{topic}\""
    )]
    DelayNeedsStore {
        /// Its topic.
        topic: String,
    },
    /// It is to be published later, and no stream captures its topic.
    #[error(
        "a delayed event has to be stored, and no stream captures \"{topic}\": declare one with .stream(Stream::new(…).capture(…)), or publish it without a delay"
    )]
    DelayNeedsStream {
        /// Its topic.
        topic: String,
    },
    /// It is to survive this process, and no stream captures its topic.
    #[error(
        "it is to be in {durability}, and no stream captures \"{topic}\": begin with Bus::open(path), declare one with .stream(Stream::new(…).capture(…)), or publish it without .durability(…)"
    )]
    NotDurable {
        /// Its topic.
        topic: String,
        /// What it was to survive.
        durability: busway_event::Durability,
    },
    /// The store had no room for one more request in this time.
    #[error("the store had no room for it within {waited:?}: publish it again, or fewer at once")]
    Busy {
        /// How long it was waited for.
        waited: Duration,
    },
    /// It cannot be a record of the log.
    #[error("it cannot be stored")]
    Unstorable(#[from] EntryError),
    /// The store refuses it.
    #[error("the store refuses it")]
    Store(#[from] Refusal),
    /// A batch goes into the log or stays in memory, so that all of it is published or nothing.
    #[error(
        "event {index} goes to a topic that is captured by a stream, unlike others of its batch, or the other way round: publish them in two batches"
    )]
    MixedBatch {
        /// The first event that differs from the one before, from 0.
        index: usize,
    },
    /// An event of the batch was refused, so none was published.
    #[error("event {index} of the batch: {reason}")]
    InBatch {
        /// Its place in the batch, from 0.
        index: usize,
        /// Why.
        reason: Box<Refused>,
    },
}

impl Refused {
    /// Whether the same publish may succeed later without a change.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::NeedsAwait { .. } | Self::Busy { .. } => true,
            Self::Store(refusal) => matches!(
                refusal,
                Refusal::StorageFull { .. } | Refusal::Capped { .. } | Refusal::ScheduleFull { .. }
            ),
            _ => false,
        }
    }
}

/// Why nobody can say whether an event was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownCause {
    /// The storage failed during the commit. It acknowledges nothing more until the bus is started again.
    #[error("the storage failed during the commit")]
    Storage(#[from] Fault),
    /// The commit was not over in time. It may come to an end yet.
    #[error("the commit was not over within {waited:?}")]
    TimedOut {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The store's writer has ended.
    #[error("the writer of the store has ended")]
    WriterEnded,
}

/// Any error of busway, for functions that use several verbs: each verb's own error turns into it by `?`.
#[derive(Debug)]
pub struct Error(BoxError);

impl Error {
    /// The verb's own error.
    #[must_use]
    pub fn into_inner(self) -> BoxError {
        self.0
    }

    pub(crate) fn of(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// The reason stays; the event is dropped with the error.
impl<E> From<PublishError<E>> for Error {
    fn from(error: PublishError<E>) -> Self {
        match error {
            PublishError::Refused { reason, .. } => Self::of(reason),
            PublishError::Unknown { ids, cause } => Self::of(PublishError::<()>::Unknown { ids, cause }),
        }
    }
}

macro_rules! error_from {
    ($($error:ty),+) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::of(error)
            }
        })+
    };
}

error_from!(
    super::BuildError,
    crate::transact::TransactionError,
    crate::history::HistoryError,
    crate::durable::CursorError,
    crate::dead_letters::DeadLetterError,
    crate::dead_letters::DeadLetterIdError,
    busway_persistence::Corrupt,
    busway_persistence::TxError,
    crate::subscription::SubscribeError,
    crate::schedule::ScheduleError,
    busway_middleware::RegistryError,
    busway_event::TopicError,
    busway_event::FilterError,
    busway_event::EncodeError,
    busway_event::DecodeError
);
