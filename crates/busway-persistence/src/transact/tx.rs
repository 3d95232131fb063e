//! A transaction under way, on the writer's thread.

use std::fmt;
use std::ops::Bound;
use std::time::Duration;

use busway_event::codec::PAYLOAD_BYTES_MAX;
use busway_event::{AnyEvent, Timestamp};
use heed::RoTxn;

use super::TxError;
use super::spent::Spent;
use super::writes::Writes;
use crate::append::Entry;
use crate::corrupt::Corrupt;
use crate::done::DoneKeys;
use crate::settle::Settlement;
use crate::shared::Shared;
use crate::table::{self, FullRange, ReadTables, TableEntries, TableId, WriteTables};

/// A transaction under way. It reads what the last commit left, with what earlier requests of the same commit and it itself have
/// written since; nothing of its own is stored before it has ended well.
pub struct Tx<'a> {
    tables: &'a dyn Source,
    spent: Spent,
    pub(super) done: Done,
    /// A failure of the storage itself: the whole batch is begun again, or fails.
    pub(super) failed: Option<heed::Error>,
}

/// What a transaction leaves to be stored.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) writes: Writes,
    pub(crate) entries: Vec<Entry>,
    pub(crate) settlements: Vec<(u32, u32, Settlement)>,
    /// Events that must not be finished yet: subscription, partition, offset.
    pub(crate) finished: Vec<(u32, u32, u64)>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(tables: &'a dyn Source) -> Self {
        Self { tables, spent: Spent::now(), done: Done::default(), failed: None }
    }

    /// Stores an event with the rest, see [`Store::entry`](crate::Store::entry).
    ///
    /// # Errors
    /// [`TxError::Entry`], [`TxError::TooSlow`], [`TxError::TooLarge`].
    pub fn append(&mut self, event: AnyEvent, given: bool, now: Timestamp) -> Result<(), TxError> {
        self.in_time()?;
        let entry = self.tables.entry(event, given, now)?;
        self.keep(entry)
    }

    /// Stores an event with the rest, to be published when it is due, see [`Entry::wait_until`].
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_later(
        &mut self,
        event: AnyEvent,
        given: bool,
        now: Timestamp,
        (due, delay): (Timestamp, Option<Duration>),
    ) -> Result<(), TxError> {
        self.in_time()?;
        let entry = self.tables.entry(event, given, now)?.wait_until(due, delay);
        self.keep(entry)
    }

    fn keep(&mut self, entry: Entry) -> Result<(), TxError> {
        self.done.writes.charge(entry.bytes())?;
        self.done.entries.push(entry);
        Ok(())
    }

    /// Stores what a subscription has decided with the rest.
    pub fn settle(&mut self, subscription: u32, partition: u32, settlement: Settlement) {
        self.done.settlements.push((subscription, partition, settlement));
    }

    /// Finishes an event for a subscription with the rest, whether it is parked or not. When it turns out to be finished already,
    /// nothing of the transaction is stored, and that is its error ([`TxError::AlreadySettled`]): what is stored together with a
    /// settlement is stored once.
    pub fn finish(&mut self, subscription: u32, partition: u32, offset: u64) {
        let settled = vec![(offset, offset.saturating_add(1))];
        let settlement = Settlement { settled, released: vec![offset], ..Settlement::default() };
        self.settle(subscription, partition, settlement);
        self.done.finished.push((subscription, partition, offset));
    }

    /// Keys of idempotency that are done for a subscription, with the rest.
    pub fn done(&mut self, subscription: u32, partition: u32, done: DoneKeys) {
        self.settle(subscription, partition, Settlement { done, ..Settlement::default() });
    }

    /// What was written so far, by table and key: a value, or `None` where the key is removed.
    pub fn written(&self) -> impl Iterator<Item = (TableId, &[u8], Option<&[u8]>)> {
        self.done.writes.by_table()
    }

    /// Whether it may go on.
    pub(super) fn in_time(&self) -> Result<(), TxError> {
        match self.spent.is_too_much() {
            true => Err(TxError::TooSlow),
            false => Ok(()),
        }
    }

    pub(super) fn get_full(&mut self, full_key: &[u8]) -> Result<Option<Vec<u8>>, TxError> {
        self.in_time()?;
        if let Some(written) = self.done.writes.get(full_key) {
            return Ok(written.clone());
        }
        let found = self.tables.get(full_key);
        self.seen(found)
    }

    pub(super) fn full_range(&mut self, range: &FullRange, limit: usize) -> Result<TableEntries, TxError> {
        self.in_time()?;
        let reach = limit.saturating_add(self.done.writes.removed(range));
        let found = self.tables.range(range, reach);
        let found = table::bounded(self.seen(found)?)?;
        Ok(self.done.writes.laid_over(found, range, limit))
    }

    fn seen<T>(&mut self, result: heed::Result<Result<T, Corrupt>>) -> Result<T, TxError> {
        let found = result.map_err(|error| {
            let reason = error.to_string();
            self.failed.get_or_insert(error);
            TxError::Storage { reason }
        })?;
        Ok(found?)
    }
}

impl ReadTables for Tx<'_> {
    fn table_id(&self, name: &str) -> Option<TableId> {
        self.tables.table(name)
    }

    fn get_bytes(&mut self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, TxError> {
        match table::full_key(table, key) {
            Some(full_key) => self.get_full(&full_key),
            None => Ok(None),
        }
    }

    fn range_bytes(
        &mut self,
        table: TableId,
        keys: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> Result<TableEntries, TxError> {
        Ok(table::without_table(self.full_range(&table::full_range(table, keys), limit)?))
    }
}

impl WriteTables for Tx<'_> {
    fn put_bytes(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<(), TxError> {
        self.in_time()?;
        let full_key = table::checked(table, key, value)?;
        self.done.writes.set(full_key, Some(value.to_vec()))
    }

    fn delete_bytes(&mut self, table: TableId, key: &[u8]) -> Result<bool, TxError> {
        let Some(full_key) = table::full_key(table, key) else { return Ok(false) };
        let was_there = table::is_there(self.get_bytes(table, key))?;
        if was_there {
            self.done.writes.set(full_key, None)?;
        }
        Ok(was_there)
    }
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("entries", &self.done.entries).finish_non_exhaustive()
    }
}

/// What a transaction reads from, whatever its lifetimes are.
pub(super) trait Source {
    fn table(&self, name: &str) -> Option<TableId>;
    fn get(&self, full_key: &[u8]) -> heed::Result<Result<Option<Vec<u8>>, Corrupt>>;
    fn range(&self, range: &FullRange, limit: usize) -> heed::Result<Result<TableEntries, Corrupt>>;
    fn entry(&self, event: AnyEvent, given: bool, now: Timestamp) -> Result<Entry, crate::EntryError>;
}

pub(super) struct InTxn<'a> {
    pub(super) shared: &'a Shared,
    pub(super) txn: &'a RoTxn<'a>,
}

impl Source for InTxn<'_> {
    fn table(&self, name: &str) -> Option<TableId> {
        self.shared.tables.get(name).copied()
    }

    fn get(&self, full_key: &[u8]) -> heed::Result<Result<Option<Vec<u8>>, Corrupt>> {
        table::get(&self.shared.databases, self.txn, full_key)
    }

    fn range(&self, range: &FullRange, limit: usize) -> heed::Result<Result<TableEntries, Corrupt>> {
        table::range(&self.shared.databases, self.txn, range, limit)
    }

    fn entry(&self, event: AnyEvent, given: bool, now: Timestamp) -> Result<Entry, crate::EntryError> {
        self.shared.entry(event, given, now, PAYLOAD_BYTES_MAX).map_err(|refused| refused.1)
    }
}
