//! A transaction that is recorded: it runs anywhere, for as long as it likes, and is stored only if what it read still holds.
//!
//! Reads go to the last commit, each to the one of its moment; what they found is remembered, what is written is kept. To be
//! stored, it is played back on the writer's thread: each read is made again, and one that finds anything else is a
//! [`TxError::Conflict`]. So what is stored is what would have been stored had the whole run in the moment of its commit (optimistic
//! concurrency control by validation: Kung and Robinson, *On Optimistic Methods for Concurrency Control*, 1981), and whoever is in
//! conflict is so because somebody else came through.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::writes::Writes;
use super::{TX_BYTES_MAX, Tx, TxError};
use crate::error::ReadError;
use crate::store::Store;
use crate::table::{self, FullRange, TableEntries, TableId, WriteTables as _};

/// See the module.
#[derive(Debug, Default)]
pub struct Recorded {
    seen: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    seen_ranges: Vec<SeenRange>,
    /// Bytes of what was seen.
    bytes: usize,
    writes: Writes,
}

#[derive(Debug)]
struct SeenRange {
    range: FullRange,
    limit: usize,
    entries: TableEntries,
}

impl Recorded {
    /// Nothing was read or written yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing was written: then there is nothing to be stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// What was written so far, by table and key: a value, or `None` where the key is removed.
    pub fn written(&self) -> impl Iterator<Item = (TableId, &[u8], Option<&[u8]>)> {
        self.writes.by_table()
    }

    /// The value of a key: the one that was written here, else the one that was seen first, else the store's.
    ///
    /// # Errors
    /// [`TxError::Storage`], [`TxError::Damaged`], [`TxError::TooLarge`].
    pub fn get(&mut self, store: &Store, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, TxError> {
        let Some(full_key) = table::full_key(table, key) else { return Ok(None) };
        if let Some(written) = self.writes.get(&full_key) {
            return Ok(written.clone());
        }
        if let Some(seen) = self.seen.get(&full_key) {
            return Ok(seen.clone());
        }
        let found = store.get(table, key).map_err(unread)?;
        self.remember(full_key.len() + found.as_ref().map_or(0, Vec::len))?;
        self.seen.insert(full_key, found.clone());
        Ok(found)
    }

    /// Up to `limit` entries of a range of keys, in their order, with what was written here.
    ///
    /// # Errors
    /// [`TxError::Storage`], [`TxError::Damaged`], [`TxError::TooLarge`].
    pub fn range(
        &mut self,
        store: &Store,
        table: TableId,
        keys: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> Result<TableEntries, TxError> {
        let range = table::full_range(table, keys);
        let reach = limit.saturating_add(self.writes.removed(&range));
        let entries = store.full_range(&range, reach);
        let entries = entries.map_err(unread)?;
        self.remember(entries.iter().map(|(key, value)| key.len() + value.len()).sum())?;
        let laid_over = self.writes.laid_over(entries.clone(), &range, limit);
        self.seen_ranges.push(SeenRange { range, limit: reach, entries });
        Ok(table::without_table(laid_over))
    }

    /// Sets the value of a key, when it is stored.
    ///
    /// # Errors
    /// [`TxError::KeyTooLong`], [`TxError::ValueTooLong`], [`TxError::TooLarge`].
    pub fn put(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<(), TxError> {
        self.writes.set(table::checked(table, key, value)?, Some(value.to_vec()))
    }

    /// Removes a key, when it is stored; `false` when it has no value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn delete(&mut self, store: &Store, table: TableId, key: &[u8]) -> Result<bool, TxError> {
        let Some(full_key) = table::full_key(table, key) else { return Ok(false) };
        let was_there = table::is_there(self.get(store, table, key))?;
        if was_there {
            self.writes.set(full_key, None)?;
        }
        Ok(was_there)
    }

    /// Plays it back within a transaction of the writer's. May be called again.
    ///
    /// # Errors
    /// [`TxError::Conflict`] when something that was read is another now; [`TxError::Storage`]: hand it on.
    pub fn play(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        for (full_key, seen) in &self.seen {
            if tx.get_full(full_key)? != *seen {
                return Err(TxError::Conflict);
            }
        }
        for SeenRange { range, limit, entries } in &self.seen_ranges {
            if tx.full_range(range, *limit)? != *entries {
                return Err(TxError::Conflict);
            }
        }
        for (full_key, value) in self.writes.iter() {
            let Some((table, key)) = table::split(full_key) else { continue };
            match value {
                Some(value) => tx.put_bytes(table, key, value)?,
                None => _ = tx.delete_bytes(table, key)?,
            }
        }
        Ok(())
    }

    fn remember(&mut self, bytes: usize) -> Result<(), TxError> {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes > TX_BYTES_MAX {
            true => Err(TxError::TooLarge { bytes: self.bytes }),
            false => Ok(()),
        }
    }
}

fn unread(error: ReadError) -> TxError {
    match error {
        ReadError::Corrupt(corrupt) => TxError::Damaged(corrupt),
        error => TxError::Storage { reason: error.to_string() },
    }
}
