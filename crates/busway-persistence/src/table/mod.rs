//! The user's own tables: named maps in the same environment as the log.
//!
//! All tables lie in one database, each under its number: a program may have as many as it likes, and none has to be known
//! before the file is mapped. A number is given when a table is first declared, and kept. [`Table`] gives one its types;
//! underneath all are bytes to bytes, in the order of the keys' bytes.
//!
//! A value lies in the dress of a [row](crate::row), with a checksum of it and of its key. Tables that were made before there was that hold their values as they are:
//! their numbers are below [`DRESSED`].

mod key;
#[cfg(test)]
mod tests;
mod typed;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Bound;

use heed::RoTxn;

use crate::corrupt::Corrupt;
use crate::layout::Databases;
use crate::row;
use crate::transact::{TX_BYTES_MAX, TxError};

pub use self::key::{AsTableKey, KeyPart, TableKey};
pub use self::typed::{ReadTables, Table, WriteTables};

/// A table of a store that is open. Made by [`Store::table`](crate::Store::table).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub(crate) u32);

/// Entries of a table, in the order of their keys: key and value.
pub type TableEntries = Vec<(Vec<u8>, Vec<u8>)>;

/// A range of keys in the database that all tables share. Never backwards.
pub(crate) type FullRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The key of an entry in the database that all tables share; `None` when it is too long.
pub(crate) fn full_key(table: TableId, key: &[u8]) -> Option<Vec<u8>> {
    (key.len() <= TABLE_KEY_BYTES_MAX).then(|| [&table.0.to_be_bytes(), key].concat())
}

/// The same for an entry that is to be written.
pub(crate) fn checked(table: TableId, key: &[u8], value: &[u8]) -> Result<Vec<u8>, TxError> {
    let full_key = full_key(table, key).ok_or(TxError::KeyTooLong { len: key.len() })?;
    match value.len() > TABLE_VALUE_BYTES_MAX {
        true => Err(TxError::ValueTooLong { len: value.len() }),
        false => Ok(full_key),
    }
}

/// The table and the key that a full key is made of.
pub(crate) fn split(full_key: &[u8]) -> Option<(TableId, &[u8])> {
    let (table, key) = full_key.split_first_chunk()?;
    Some((TableId(u32::from_be_bytes(*table)), key))
}

/// A range of a table's keys; an empty one when it ends before it begins.
pub(crate) fn full_range(table: TableId, (from, to): (Bound<&[u8]>, Bound<&[u8]>)) -> FullRange {
    let number = table.0.to_be_bytes();
    let full = |key: &[u8]| [&number[..], key].concat();
    let start = match from.map(full) {
        Bound::Unbounded => Bound::Included(number.to_vec()),
        start => start,
    };
    let end = match to.map(full) {
        Bound::Unbounded => Bound::Excluded(table.0.saturating_add(1).to_be_bytes().to_vec()),
        end => end,
    };
    match is_backwards(&start, &end) {
        // Heed and the standard library would both panic.
        true => (Bound::Included(number.to_vec()), Bound::Excluded(number.to_vec())),
        false => (start, end),
    }
}

fn is_backwards(start: &Bound<Vec<u8>>, end: &Bound<Vec<u8>>) -> bool {
    match (start, end) {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start >= end
        }
        _ => false,
    }
}

/// What is stored for a value.
pub(crate) fn dressed<'a>(full_key: &[u8], value: &'a [u8]) -> Cow<'a, [u8]> {
    match is_dressed(full_key) {
        true => Cow::Owned(row::written(full_key, VALUE_VERSION, value.len(), |row| row.extend(value))),
        false => Cow::Borrowed(value),
    }
}

/// The value of what is stored for it.
pub(crate) fn undressed<'a>(full_key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], Corrupt> {
    match is_dressed(full_key) {
        true => row::opened(TABLE_VALUE, full_key, stored, VALUE_VERSION).map(|(_, value)| value),
        false => Ok(stored),
    }
}

/// Whether a value is as it was written, as far as that can be told. Whether it has a checksum is told by the number of its table, which is part of its key: one that says
/// no, and that none of the `tables` has, says what a damaged key says.
pub(crate) fn check(
    tables: &HashMap<String, TableId>,
    full_key: &[u8],
    stored: &[u8],
) -> Result<(), Corrupt> {
    let table = split(full_key).map(|(table, _)| table);
    if !is_dressed(full_key) && !tables.values().any(|known| Some(*known) == table) {
        let number = table.map_or_else(String::new, |table| format!(" {}", table.0));
        return Err(row::corrupt(TABLE_VALUE, full_key, format!("no table has its number{number}")));
    }
    undressed(full_key, stored).map(drop)
}

fn is_dressed(full_key: &[u8]) -> bool {
    split(full_key).is_some_and(|(table, _)| table.0 >= DRESSED)
}

/// The row that gives another table its number, where there are so many.
pub(crate) fn number_row(key: &[u8], tables: usize) -> Vec<u8> {
    let number = u32::try_from(tables).unwrap_or(u32::MAX) | DRESSED;
    row::written(key, NUMBER_VERSION, 4, |row| row.extend(number.to_le_bytes()))
}

/// The number in such a row, or in one that was written before values had checksums.
pub(crate) fn number_of(kind: &str, key: &[u8], row: &[u8]) -> Result<TableId, Corrupt> {
    let (version, body) = row::opened(kind, key, row, NUMBER_VERSION)?;
    let number = <[u8; 4]>::try_from(body).ok().map(u32::from_le_bytes);
    let number = number.filter(|number| (version == NUMBER_VERSION) == (*number >= DRESSED));
    number
        .map(TableId)
        .ok_or_else(|| row::corrupt(kind, key, "it holds no number of a table of its version".to_owned()))
}

/// The value of a key.
pub(crate) fn get(
    databases: &Databases<'_>,
    txn: &RoTxn<'_>,
    full_key: &[u8],
) -> heed::Result<Result<Option<Vec<u8>>, Corrupt>> {
    let stored = databases.tables.get(txn, full_key)?;
    Ok(stored.map(|stored| undressed(full_key, stored).map(<[u8]>::to_vec)).transpose())
}

/// Up to `limit` entries of a range, with their full keys; no more when they have more bytes than a transaction may read.
pub(crate) fn range(
    databases: &Databases<'_>,
    txn: &RoTxn<'_>,
    range: &FullRange,
    limit: usize,
) -> heed::Result<Result<TableEntries, Corrupt>> {
    let bounds = (range.0.as_ref().map(Vec::as_slice), range.1.as_ref().map(Vec::as_slice));
    if is_backwards(&range.0, &range.1) {
        return Ok(Ok(Vec::new()));
    }
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for entry in databases.tables.range(txn, &bounds)?.take(limit) {
        let (key, stored) = entry?;
        let value = match undressed(key, stored) {
            Ok(value) => value,
            Err(corrupt) => return Ok(Err(corrupt)),
        };
        bytes += key.len() + value.len();
        entries.push((key.to_vec(), value.to_vec()));
        if bytes > TX_BYTES_MAX {
            break;
        }
    }
    Ok(Ok(entries))
}

/// Whether a key has a value, one that cannot be trusted too: that can be removed.
pub(crate) fn is_there(found: Result<Option<Vec<u8>>, TxError>) -> Result<bool, TxError> {
    match found {
        Err(TxError::Damaged(_)) => Ok(true),
        found => Ok(found?.is_some()),
    }
}

/// The same entries, unless there are more bytes of them than a transaction may read.
pub(crate) fn bounded(entries: TableEntries) -> Result<TableEntries, TxError> {
    let bytes = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
    match bytes > TX_BYTES_MAX {
        true => Err(TxError::TooLarge { bytes }),
        false => Ok(entries),
    }
}

/// The same entries under the keys that the table's user knows.
pub(crate) fn without_table(mut entries: TableEntries) -> TableEntries {
    entries.iter_mut().for_each(|(key, _)| _ = key.drain(..TABLE_BYTES.min(key.len())));
    entries
}

/// Tables with this number, or a higher one, hold values with checksums: the others were made by releases that had none.
pub(crate) const DRESSED: u32 = 1 << 31;
/// Of a table's row in `meta`: a release that does not know of checksums refuses to open the store, instead of taking them for values.
const NUMBER_VERSION: u8 = 2;
const VALUE_VERSION: u8 = 1;
/// What a value is called in an error.
const TABLE_VALUE: &str = "table value";
/// Bytes of a table's number in front of a key.
const TABLE_BYTES: usize = 4;
/// Bytes of a key in a table: LMDB's 511, without the table's number.
pub const TABLE_KEY_BYTES_MAX: usize = 507;
/// Bytes of a value in a table: more belongs into files, with their names here.
pub const TABLE_VALUE_BYTES_MAX: usize = 1 << 20;
