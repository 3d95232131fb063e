//! Tables with types, and reading and writing them by these.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::key::{AsTableKey, KeyPart, TableKey};
use super::{TableEntries, TableId};
use crate::row::hex;
use crate::transact::TxError;

/// A table of a program's own: a named, ordered map from `K` to `V` in the store, beside the log and in the same commits.
///
/// Declared when the store is opened, and made then if it is not there. Keys are bytes in the order of `K`; values are JSON, so that a field
/// may be added with `#[serde(default)]` and other programs can read them.
///
/// ```
/// use busway_persistence::Table;
///
/// const TOTALS: Table<String, u64> = Table::new("totals");
/// assert_eq!(TOTALS.name(), "totals");
/// ```
pub struct Table<K, V> {
    name: &'static str,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> Table<K, V> {
    /// The table of this name: 1 to 255 bytes.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.name)
    }
}

/// Reading tables: within a transaction, or of a moment.
pub trait ReadTables {
    /// The table of this name; `None` when the store was opened without it.
    fn table_id(&self, name: &str) -> Option<TableId>;

    /// The value of a key, as bytes. A key that is too long has none.
    ///
    /// # Errors
    /// [`TxError::Storage`]: hand it on. [`TxError::Damaged`], [`TxError::TooSlow`], [`TxError::TooLarge`], [`TxError::Ended`], where they apply.
    fn get_bytes(&mut self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, TxError>;

    /// Up to `limit` entries of a range of keys, in their order, as bytes.
    ///
    /// # Errors
    /// As [`get_bytes`](Self::get_bytes).
    fn range_bytes(
        &mut self,
        table: TableId,
        keys: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
    ) -> Result<TableEntries, TxError>;

    /// The value of a key.
    ///
    /// # Errors
    /// As [`get_bytes`](Self::get_bytes), and [`TxError::UnknownTable`], [`TxError::Decode`].
    fn get<K, V, Q>(&mut self, table: &Table<K, V>, key: &Q) -> Result<Option<V>, TxError>
    where
        K: TableKey + Borrow<Q>,
        V: DeserializeOwned,
        Q: AsTableKey + ?Sized,
        Self: Sized,
    {
        let (id, key) = (id_of(self, table)?, bytes_of(key));
        let value = self.get_bytes(id, &key)?;
        value.map(|value| value_of(table, &key, &value)).transpose()
    }

    /// Up to `limit` entries of a range of keys, in their order.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn range<K, V>(
        &mut self,
        table: &Table<K, V>,
        keys: impl RangeBounds<K>,
        limit: usize,
    ) -> Result<Vec<(K, V)>, TxError>
    where
        K: TableKey,
        V: DeserializeOwned,
        Self: Sized,
    {
        let id = id_of(self, table)?;
        let (from, to) = (keys.start_bound().map(bytes_of), keys.end_bound().map(bytes_of));
        let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        let entries = self.range_bytes(id, bounds, limit)?;
        entries.iter().map(|(key, value)| Ok((key_of(table, key)?, value_of(table, key, value)?))).collect()
    }
}

/// Writing tables, within a transaction.
pub trait WriteTables: ReadTables {
    /// Sets the value of a key, as bytes.
    ///
    /// # Errors
    /// [`TxError::KeyTooLong`], [`TxError::ValueTooLong`], [`TxError::TooLarge`], [`TxError::TooSlow`], [`TxError::Ended`].
    fn put_bytes(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<(), TxError>;

    /// Removes a key; `false` when it has no value.
    ///
    /// # Errors
    /// As [`get_bytes`](ReadTables::get_bytes).
    fn delete_bytes(&mut self, table: TableId, key: &[u8]) -> Result<bool, TxError>;

    /// Sets the value of a key.
    ///
    /// # Errors
    /// As [`put_bytes`](Self::put_bytes), and [`TxError::UnknownTable`], [`TxError::Encode`].
    fn put<K, V, Q>(&mut self, table: &Table<K, V>, key: &Q, value: &V) -> Result<(), TxError>
    where
        K: TableKey + Borrow<Q>,
        V: Serialize,
        Q: AsTableKey + ?Sized,
        Self: Sized,
    {
        let id = id_of(self, table)?;
        let value = serde_json::to_vec(value)
            .map_err(|source| TxError::Encode { table: table.name.to_owned(), source: source.into() })?;
        self.put_bytes(id, &bytes_of(key), &value)
    }

    /// Removes a key; `false` when it has no value.
    ///
    /// # Errors
    /// As [`delete_bytes`](Self::delete_bytes), and [`TxError::UnknownTable`].
    fn delete<K, V, Q>(&mut self, table: &Table<K, V>, key: &Q) -> Result<bool, TxError>
    where
        K: TableKey + Borrow<Q>,
        Q: AsTableKey + ?Sized,
        Self: Sized,
    {
        let id = id_of(self, table)?;
        self.delete_bytes(id, &bytes_of(key))
    }
}

fn id_of<K, V>(tables: &impl ReadTables, table: &Table<K, V>) -> Result<TableId, TxError> {
    tables.table_id(table.name).ok_or_else(|| TxError::UnknownTable { table: table.name.to_owned() })
}

fn bytes_of<Q: AsTableKey + ?Sized>(key: &Q) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.write(&mut bytes, KeyPart::Last);
    bytes
}

fn key_of<K: TableKey, V>(table: &Table<K, V>, bytes: &[u8]) -> Result<K, TxError> {
    let mut rest = bytes;
    let key = K::read(&mut rest, KeyPart::Last).filter(|_| rest.is_empty());
    key.ok_or_else(|| undecodable(table, bytes, "it is no key of the table's type".into()))
}

fn value_of<K, V: DeserializeOwned>(table: &Table<K, V>, key: &[u8], value: &[u8]) -> Result<V, TxError> {
    serde_json::from_slice(value).map_err(|error| undecodable(table, key, error.into()))
}

fn undecodable<K, V>(
    table: &Table<K, V>,
    key: &[u8],
    source: Box<dyn std::error::Error + Send + Sync>,
) -> TxError {
    TxError::Decode { table: table.name.to_owned(), key: hex(key), source }
}
