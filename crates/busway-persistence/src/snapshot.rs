//! A snapshot: all tables as they were at one moment.

use std::fmt;
use std::ops::Bound;

use crate::lmdb::Reading;
use crate::shared::Shared;
use crate::table::{self, ReadTables, TableEntries, TableId};
use crate::transact::TxError;

/// The tables as the last commit before it had left them. Made by [`Store::snapshot`](crate::Store::snapshot).
///
/// While it is held no space that it sees is used again, so that the file grows with every commit, and the map cannot grow,
/// which holds up the writer when it has to: short, please.
pub struct Snapshot<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) txn: Reading<'a>,
}

impl ReadTables for Snapshot<'_> {
    fn table_id(&self, name: &str) -> Option<TableId> {
        self.shared.tables.get(name).copied()
    }

    fn get_bytes(&mut self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, TxError> {
        let Some(full_key) = table::full_key(table, key) else { return Ok(None) };
        Ok(table::get(&self.shared.databases, &self.txn, &full_key).map_err(|error| storage(&error))??)
    }

    fn range_bytes(
        &mut self,
        table: TableId,
        keys: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> Result<TableEntries, TxError> {
        let range = table::full_range(table, keys);
        let found = table::range(&self.shared.databases, &self.txn, &range, limit);
        Ok(table::without_table(table::bounded(found.map_err(|error| storage(&error))??)?))
    }
}

impl fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

fn storage(error: &heed::Error) -> TxError {
    TxError::Storage { reason: error.to_string() }
}
