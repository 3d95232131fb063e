//! The transaction of an asynchronous handler.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use busway_event::AnyDraft;
use busway_middleware::{Delivery, Durable, ExtractError, FromDelivery, Requirements};
use busway_persistence::{ReadTables, Recorded, Store, TableEntries, TableId, TxError, WriteTables};
use parking_lot::Mutex;

use super::TxDesk;
use crate::log::Log;

/// The transaction of an asynchronous handler, as an extractor: [`ReadTables`] and [`WriteTables`] say what it can do with tables.
///
/// Its reads see the last commit and what was written through it before; its writes, and the events that it or the handler's return
/// value emits, are stored in one commit with the settlement of the event, when the handler was successful: exactly once, inside
/// this store. When something that it read has changed until then, nothing is stored and the handler runs again, from the fourth time on behind a
/// pause of up to 50 ms; that counts as no attempt. So may what the handler does elsewhere: that has to bear repetition, as in any handler.
///
/// Beside a batch it is one transaction for all events of the call, see [`batch`](busway_middleware::batch).
///
/// A handler that fails stores nothing. Used behind its end, the transaction says [`TxError::Ended`].
///
/// For durable subscriptions only: on an ephemeral one it does not compile.
pub struct Tx {
    log: Arc<Log>,
    record: Arc<Mutex<Option<Record>>>,
}

/// What a handler has done through its transaction.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(super) recorded: Recorded,
    pub(super) drafts: Vec<AnyDraft>,
}

impl Tx {
    pub(super) fn new(log: Arc<Log>) -> (Self, Arc<Mutex<Option<Record>>>) {
        let record = Arc::new(Mutex::new(Some(Record::default())));
        (Self { log, record: Arc::clone(&record) }, record)
    }

    /// Publishes an event when the rest is stored, as an event that the handler returns would be.
    ///
    /// # Errors
    /// [`TxError::Ended`]. An event that turns out to be refused makes the attempt fail, and nothing is stored.
    pub fn publish(&mut self, draft: impl Into<AnyDraft>) -> Result<(), TxError> {
        let mut record = self.record.lock();
        record.as_mut().ok_or(TxError::Ended)?.drafts.push(draft.into());
        Ok(())
    }

    fn with<R>(&self, with: impl FnOnce(&mut Recorded, &Store) -> Result<R, TxError>) -> Result<R, TxError> {
        let mut record = self.record.lock();
        let Record { recorded, .. } = record.as_mut().ok_or(TxError::Ended)?;
        self.log.with(|store| with(recorded, store)).ok_or(TxError::Ended)?
    }
}

impl ReadTables for Tx {
    fn table_id(&self, name: &str) -> Option<TableId> {
        self.log.with(|store| store.table(name)).flatten()
    }

    fn get_bytes(&mut self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, TxError> {
        self.with(|recorded, store| recorded.get(store, table, key))
    }

    fn range_bytes(
        &mut self,
        table: TableId,
        keys: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> Result<TableEntries, TxError> {
        self.with(|recorded, store| recorded.range(store, table, keys, limit))
    }
}

impl WriteTables for Tx {
    fn put_bytes(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<(), TxError> {
        self.with(|recorded, _| recorded.put(table, key, value))
    }

    fn delete_bytes(&mut self, table: TableId, key: &[u8]) -> Result<bool, TxError> {
        self.with(|recorded, store| recorded.delete(store, table, key))
    }
}

impl FromDelivery<Durable> for Tx {
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        Ok(TxDesk::of(delivery)?.begin())
    }

    fn require(requirements: &mut Requirements) {
        requirements.transaction();
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("record", &self.record.lock()).finish_non_exhaustive()
    }
}
