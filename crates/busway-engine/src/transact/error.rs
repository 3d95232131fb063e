//! Why a producer's transaction came to nothing.

use busway_middleware::BoxError;
use busway_persistence::{ReadError, TxError};

use crate::bus::{Refused, UnknownCause};
use crate::log::NotTransacted;

/// A transaction came to nothing, or nobody can say what it came to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The bus has no store.
    #[error("this bus lives in memory and has no tables; open one with Bus::open(path)")]
    NoStore,
    /// The closure gave up, with its own reason: nothing of it is stored.
    #[error("the transaction gave up")]
    Aborted(#[source] BoxError),
    /// The closure panicked: nothing of it is stored.
    #[error("the transaction panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// The bus or its store refuses it: nothing of it is stored.
    #[error("the transaction was refused")]
    Refused(#[source] Refused),
    /// The storage failed during the commit, or took too long: it may be stored or not. Read what it would have written, when
    /// that is decided.
    #[error("nobody can say whether the transaction was stored")]
    Unknown(#[source] UnknownCause),
    /// The tables cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A step of the reading failed.
    #[error(transparent)]
    Step(#[from] TxError),
}

impl TransactionError {
    /// Whether the same transaction may succeed later without a change. Never when it may have succeeded already.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Refused(reason) => reason.is_transient(),
            _ => false,
        }
    }
}

impl From<NotTransacted> for TransactionError {
    fn from(error: NotTransacted) -> Self {
        match error {
            NotTransacted::Aborted(TxError::Other(reason)) => Self::Aborted(reason),
            NotTransacted::Aborted(error) => Self::Aborted(error.into()),
            NotTransacted::Panicked(message) => Self::Panicked { message },
            NotTransacted::Refused(reason) => Self::Refused(reason),
            NotTransacted::Settlement(error) => Self::Aborted(error.into()),
            NotTransacted::Unknown(cause) => Self::Unknown(cause),
        }
    }
}
