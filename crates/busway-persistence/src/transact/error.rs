//! Why a transaction comes to nothing.

use crate::corrupt::Corrupt;
use crate::error::{EntryError, Refusal, RequestError};
use crate::table::{TABLE_KEY_BYTES_MAX, TABLE_VALUE_BYTES_MAX};

/// Why a step of a transaction fails, or the whole gives up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// No such table.
    #[error("the store has no table \"{table}\"; declare it when the store is opened")]
    UnknownTable {
        /// The name that was asked for.
        table: String,
    },
    /// A key has too many bytes.
    #[error("a key of {len} bytes; a table takes keys of {TABLE_KEY_BYTES_MAX}")]
    KeyTooLong {
        /// As many.
        len: usize,
    },
    /// A value has too many bytes.
    #[error("a value of {len} bytes; a table takes values of {TABLE_VALUE_BYTES_MAX}")]
    ValueTooLong {
        /// As many.
        len: usize,
    },
    /// A value cannot be written as JSON.
    #[error("a value for table \"{table}\" cannot be encoded")]
    Encode {
        /// The table.
        table: String,
        /// What the encoder said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is stored is no key or value of the table's types: another type wrote it.
    #[error("table \"{table}\" holds something else under key {key}; read it with the type that wrote it")]
    Decode {
        /// The table.
        table: String,
        /// The key, in hexadecimal.
        key: String,
        /// What the decoder said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is stored under a key cannot be trusted: set it anew or delete it, in a transaction that reads no range with it; its neighbours are read as before.
    #[error(transparent)]
    Damaged(#[from] Corrupt),
    /// The transaction writes more than it may, or read more than is remembered of it.
    #[error("a transaction of {bytes} bytes; at most {TX_BYTES_MAX} are written or read in one")]
    TooLarge {
        /// As many.
        bytes: usize,
    },
    /// The transaction takes too long: nothing else is stored while it runs.
    #[error(
        "the transaction has worked for more than {TX_MILLIS_MAX} ms on the store's own thread, or waited there for {TX_MILLIS_WAITED_MAX} ms; nothing of it is stored: do the slow part before"
    )]
    TooSlow,
    /// What the transaction read has changed since: run it again.
    #[error("what the transaction read has changed meanwhile")]
    Conflict,
    /// The event is finished for the subscription already, so its effects are stored: nothing is stored twice.
    #[error("the event at offset {offset} of partition {partition} is settled already")]
    AlreadySettled {
        /// The partition.
        partition: u32,
        /// The position in it.
        offset: u64,
    },
    /// The transaction has ended: what was handed out for it is of no use any more.
    #[error("the transaction has ended")]
    Ended,
    /// An event cannot be stored.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The storage failed: whatever the closure says, nothing of it is stored in this run.
    #[error("the storage failed: {reason}")]
    Storage {
        /// What the system said.
        reason: String,
    },
    /// A reason of the closure's own.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl TxError {
    /// A reason of the closure's own.
    pub fn other(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other(reason.into())
    }
}

/// A transaction came to nothing, or nobody can say what it came to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactError {
    /// The closure gave up, or was too slow: nothing of it is stored.
    #[error("the transaction was aborted")]
    Aborted(#[source] TxError),
    /// The closure panicked: nothing of it is stored.
    #[error("the transaction panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// It was refused, or the storage failed.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl From<Refusal> for TransactError {
    fn from(refusal: Refusal) -> Self {
        Self::Request(refusal.into())
    }
}

/// Bytes that a transaction writes, keys and values together; and that one which reads before it is stored reads.
pub const TX_BYTES_MAX: usize = 16 << 20;
/// For so long a transaction may work on the writer's thread. Time in which the system lets the thread have no processor does not count.
pub const TX_MILLIS_MAX: u64 = 100;
/// So long a transaction may be on the writer's thread, whatever it does there. A thread that is one of a dozen for two processors, with the lowest claim,
/// takes a second for twenty milliseconds of work.
pub const TX_MILLIS_WAITED_MAX: u64 = 5_000;
