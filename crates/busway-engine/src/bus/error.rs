//! Errors of publishing, and the one that all verbs' errors turn into.

use std::error::Error as StdError;
use std::fmt;

use busway_event::Invalid;
use busway_middleware::{BoxError, PublishRefused};

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
}

impl<E> PublishError<E> {
    pub(crate) fn refused(event: E, reason: Refused) -> Self {
        Self::Refused { event: Box::new(event), reason }
    }

    /// Why the publish was refused.
    #[must_use]
    pub const fn reason(&self) -> &Refused {
        match self {
            Self::Refused { reason, .. } => reason,
        }
    }

    /// What was published.
    #[must_use]
    pub fn into_event(self) -> E {
        match self {
            Self::Refused { event, .. } => *event,
        }
    }

    /// Whether the same publish may succeed later without a change.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.reason(), Refused::NeedsAwait { .. })
    }
}

impl<E> fmt::Debug for PublishError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishError").field("reason", self.reason()).finish_non_exhaustive()
    }
}

impl<E> fmt::Display for PublishError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event was refused")
    }
}

impl<E> StdError for PublishError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.reason())
    }
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
    /// An event of the batch was refused, so none was published.
    #[error("event {index} of the batch: {reason}")]
    InBatch {
        /// Its place in the batch, from 0.
        index: usize,
        /// Why.
        reason: Box<Refused>,
    },
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
    crate::subscription::SubscribeError,
    busway_middleware::RegistryError,
    busway_event::TopicError,
    busway_event::FilterError,
    busway_event::EncodeError,
    busway_event::DecodeError
);
