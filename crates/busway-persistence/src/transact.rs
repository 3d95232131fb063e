//! Transactions: table writes, events and settlements that are stored together, or not at all.
//!
//! The closure runs on the writer's thread, in a nested transaction: when it fails, panics, or one of its events is refused, what
//! it did is undone and the rest of the batch is not touched. It may be run again, when the map has to grow or the disk is full: it must do
//! nothing but what it does through its [`Tx`]. While it runs nothing else is stored, so it must be short and must not wait.

use std::any::Any;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};

use busway_event::{AnyEvent, Timestamp};
use heed::RwTxn;

use crate::append::{Entry, Position};
use crate::error::{EntryError, Refusal, RequestError};
use crate::settle::Settlement;
use crate::shared::Shared;
use crate::table::{self, TABLE_KEY_BYTES_MAX, TABLE_VALUE_BYTES_MAX, TableEntries, TableId};

/// What a transaction does. See the module for what it may do.
pub type Work = Box<dyn FnMut(&mut Tx<'_>) -> Result<(), TxError> + Send>;

/// Called by the writer's thread when a transaction is decided, with the places of its events. It must be quick, and must not wait
/// for the store.
pub type OnTransacted = Box<dyn FnOnce(Result<Vec<Position>, TransactError>) + Send>;

/// A transaction under way.
pub struct Tx<'a> {
    tables: &'a mut dyn Tables,
    entries: Vec<Entry>,
    settlements: Vec<(u32, u32, Settlement)>,
    /// A failure of the storage itself: the whole batch is begun again, or fails.
    failed: Option<heed::Error>,
}

impl Tx<'_> {
    /// The value of a key. A key that is too long has none.
    ///
    /// # Errors
    /// [`TxError::Storage`]: hand it on.
    pub fn get(&mut self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, TxError> {
        let found = self.tables.get(table, key);
        self.seen(found)
    }

    /// Up to `limit` entries of a range of keys, in their order.
    ///
    /// # Errors
    /// [`TxError::Storage`]: hand it on.
    pub fn range(
        &mut self,
        table: TableId,
        keys: impl RangeBounds<[u8]>,
        limit: usize,
    ) -> Result<TableEntries, TxError> {
        let found = self.tables.range(table, (keys.start_bound(), keys.end_bound()), limit);
        self.seen(found)
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// [`TxError::KeyTooLong`], [`TxError::ValueTooLong`]; [`TxError::Storage`]: hand it on.
    pub fn put(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<(), TxError> {
        let full = table::full_key(table, key).ok_or(TxError::KeyTooLong { len: key.len() })?;
        if value.len() > TABLE_VALUE_BYTES_MAX {
            return Err(TxError::ValueTooLong { len: value.len() });
        }
        let put = self.tables.put(&full, value);
        self.seen(put)
    }

    /// Removes a key; `false` when it has no value.
    ///
    /// # Errors
    /// [`TxError::Storage`]: hand it on.
    pub fn delete(&mut self, table: TableId, key: &[u8]) -> Result<bool, TxError> {
        let Some(full) = table::full_key(table, key) else { return Ok(false) };
        let deleted = self.tables.delete(&full);
        self.seen(deleted)
    }

    /// Stores an event with the rest, see [`Store::entry`](crate::Store::entry).
    ///
    /// # Errors
    /// [`TxError::Entry`].
    pub fn append(&mut self, event: AnyEvent, given: bool, now: Timestamp) -> Result<(), TxError> {
        self.entries.push(self.tables.entry(event, given, now)?);
        Ok(())
    }

    /// Stores what a subscription has decided with the rest.
    pub fn settle(&mut self, subscription: u32, partition: u32, settlement: Settlement) {
        self.settlements.push((subscription, partition, settlement));
    }

    fn seen<T>(&mut self, result: heed::Result<T>) -> Result<T, TxError> {
        result.map_err(|error| {
            let reason = error.to_string();
            self.failed.get_or_insert(error);
            TxError::Storage { reason }
        })
    }
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("entries", &self.entries).finish_non_exhaustive()
    }
}

/// Tables within a transaction, whatever its lifetimes are.
trait Tables {
    fn get(&self, table: TableId, key: &[u8]) -> heed::Result<Option<Vec<u8>>>;
    fn range(
        &self,
        table: TableId,
        keys: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> heed::Result<TableEntries>;
    fn put(&mut self, full_key: &[u8], value: &[u8]) -> heed::Result<()>;
    fn delete(&mut self, full_key: &[u8]) -> heed::Result<bool>;
    fn entry(&self, event: AnyEvent, given: bool, now: Timestamp) -> Result<Entry, EntryError>;
}

struct InTxn<'a, 'b> {
    shared: &'a Shared,
    txn: &'a mut RwTxn<'b>,
}

impl Tables for InTxn<'_, '_> {
    fn get(&self, table: TableId, key: &[u8]) -> heed::Result<Option<Vec<u8>>> {
        Ok(table::get(&self.shared.databases, self.txn, table, key)?.map(<[u8]>::to_vec))
    }

    fn range(
        &self,
        table: TableId,
        keys: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> heed::Result<TableEntries> {
        table::range(&self.shared.databases, self.txn, table, keys, limit)
    }

    fn put(&mut self, full_key: &[u8], value: &[u8]) -> heed::Result<()> {
        self.shared.databases.tables.put(self.txn, full_key, value)
    }

    fn delete(&mut self, full_key: &[u8]) -> heed::Result<bool> {
        self.shared.databases.tables.delete(self.txn, full_key)
    }

    fn entry(&self, event: AnyEvent, given: bool, now: Timestamp) -> Result<Entry, EntryError> {
        self.shared.entry(event, given, now)
    }
}

/// What a run of a transaction's closure came to.
pub(crate) struct Ran {
    pub(crate) entries: Vec<Entry>,
    pub(crate) settlements: Vec<(u32, u32, Settlement)>,
    pub(crate) ended: Result<(), TransactError>,
}

/// Runs a closure within a transaction of its own. An error is one of the storage.
pub(crate) fn run(shared: &Shared, txn: &mut RwTxn<'_>, work: &mut Work) -> heed::Result<Ran> {
    let mut tables = InTxn { shared, txn };
    let mut tx = Tx { tables: &mut tables, entries: Vec::new(), settlements: Vec::new(), failed: None };
    // What it did is undone when it panics, and what it holds it must expect to be called again with.
    let ended = catch_unwind(AssertUnwindSafe(|| work(&mut tx)));
    let Tx { entries, settlements, failed, .. } = tx;
    if let Some(failed) = failed {
        return Err(failed);
    }
    let ended = match ended {
        Ok(ended) => ended.map_err(TransactError::Aborted),
        Err(panic) => Err(TransactError::Panicked { message: message_of(&*panic) }),
    };
    Ok(Ran { entries, settlements, ended })
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

/// Why a transaction's closure gives up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
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
    /// The closure gave up: nothing of it is stored.
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

pub(crate) struct Transact {
    pub(crate) work: Work,
    /// What the last run left to be stored.
    pub(crate) entries: Vec<Entry>,
    pub(crate) done: Option<OnTransacted>,
}
