//! The user's own tables: named maps of bytes in the same environment as the log.
//!
//! All tables lie in one database, each under its number: a program may have as many as it likes, and none has to be known
//! before the file is mapped. A number is given when a table is first declared, and kept.

use std::ops::Bound;

use heed::RoTxn;

use crate::layout::Databases;

/// A table of a store that is open. Made by [`Store::table`](crate::Store::table).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableId(pub(crate) u32);

/// Entries of a table, in the order of their keys: key and value.
pub type TableEntries = Vec<(Vec<u8>, Vec<u8>)>;

/// The key of an entry in the database that all tables share; `None` when it is too long.
pub(crate) fn full_key(table: TableId, key: &[u8]) -> Option<Vec<u8>> {
    (key.len() <= TABLE_KEY_BYTES_MAX).then(|| [&table.0.to_be_bytes(), key].concat())
}

pub(crate) fn get<'t>(
    databases: &Databases<'_>,
    txn: &'t RoTxn<'_>,
    table: TableId,
    key: &[u8],
) -> heed::Result<Option<&'t [u8]>> {
    match full_key(table, key) {
        Some(key) => databases.tables.get(txn, &key),
        None => Ok(None),
    }
}

/// Up to `limit` entries of a range of keys.
pub(crate) fn range(
    databases: &Databases<'_>,
    txn: &RoTxn<'_>,
    table: TableId,
    (from, to): (Bound<&[u8]>, Bound<&[u8]>),
    limit: usize,
) -> heed::Result<TableEntries> {
    let number = table.0.to_be_bytes();
    let full = |key: &[u8]| [&number[..], key].concat();
    let (start, end) = (from.map(full), to.map(full));
    let start = match &start {
        Bound::Unbounded => Bound::Included(&number[..]),
        start => start.as_ref().map(Vec::as_slice),
    };
    let behind = table.0.checked_add(1).map(u32::to_be_bytes);
    let end = match (&end, &behind) {
        (Bound::Unbounded, Some(behind)) => Bound::Excluded(&behind[..]),
        (end, _) => end.as_ref().map(Vec::as_slice),
    };
    // LMDB's own answer to a range that ends before it begins would be a panic of heed's.
    if is_backwards(start, end) {
        return Ok(Vec::new());
    }
    let found = databases.tables.range(txn, &(start, end))?.take(limit);
    found
        .map(|entry| entry.map(|(key, value)| (key.get(4..).unwrap_or_default().to_vec(), value.to_vec())))
        .collect()
}

fn is_backwards(start: Bound<&[u8]>, end: Bound<&[u8]>) -> bool {
    match (start, end) {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start >= end
        }
        _ => false,
    }
}

/// Bytes of a key in a table: LMDB's 511, without the table's number.
pub const TABLE_KEY_BYTES_MAX: usize = 507;
/// Bytes of a value in a table: more belongs into files, with their names here.
pub const TABLE_VALUE_BYTES_MAX: usize = 1 << 20;
