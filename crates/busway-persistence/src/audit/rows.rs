//! What an audit stream keeps beside its records. Keys and values byte by byte: `docs/design/format.md`.

use std::time::Duration;

use heed::{RoTxn, RwTxn};
use serde::{Deserialize, Serialize};

use super::chain::Hash;
use crate::corrupt::Corrupt;
use crate::lmdb::Db;
use crate::row;
use crate::stored::Unreadable;

/// In `meta`, under `audit/` and the stream's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditRow {
    /// Where the chain of each partition begins.
    pub(crate) starts: Vec<u64>,
    /// Nanoseconds; the largest number: for ever.
    pub(crate) term: u64,
    /// Proof of the key, when there is one.
    pub(crate) key: Option<Hash>,
}

impl AuditRow {
    pub(crate) fn term(&self) -> Option<Duration> {
        (self.term < u64::MAX).then(|| Duration::from_nanos(self.term))
    }
}

/// In `links`, under partition and offset of the run's last record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkRow {
    /// The chain behind that record.
    pub(crate) chain: Hash,
    /// Of each record of the run.
    pub(crate) marks: Vec<u64>,
}

/// In `heads`, under partition and offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeadRow {
    pub(crate) chain: Hash,
    pub(crate) time: i64,
    pub(crate) proof: Hash,
}

/// In `heads`, under the partition alone: retention has removed everything before `first`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FloorRow {
    pub(crate) first: u64,
    pub(crate) proof: Hash,
}

/// Partition and offset.
pub(crate) fn key(partition: u32, offset: u64) -> [u8; 12] {
    let mut key = [0; 12];
    let (start, end) = key.split_at_mut(4);
    start.copy_from_slice(&partition.to_be_bytes());
    end.copy_from_slice(&offset.to_be_bytes());
    key
}

/// The offset of a key of `links` or `heads`; `None` for a floor.
pub(crate) fn offset_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(4..)?.try_into().ok()?))
}

/// The row under a key, if there is one.
pub(crate) fn find<T: serde::de::DeserializeOwned>(
    txn: &RoTxn<'_>,
    database: Db<'_>,
    kind: &str,
    key: &[u8],
) -> Result<Option<T>, Unreadable> {
    let Some(found) = database.get(txn, key)? else { return Ok(None) };
    Ok(Some(row::decode(kind, key, found)?))
}

/// The last row of a partition.
pub(crate) fn last<T: serde::de::DeserializeOwned>(
    txn: &RoTxn<'_>,
    database: Db<'_>,
    kind: &str,
    partition: u32,
) -> Result<Option<(u64, T)>, Unreadable> {
    for entry in database.rev_prefix_iter(txn, &partition.to_be_bytes())? {
        let (key, value) = entry?;
        if let Some(offset) = offset_of(key) {
            return Ok(Some((offset, row::decode(kind, key, value)?)));
        }
    }
    Ok(None)
}

/// Removes all rows of a partition before an offset.
pub(crate) fn remove_before(
    txn: &mut RwTxn<'_>,
    database: Db<'_>,
    partition: u32,
    offset: u64,
) -> heed::Result<()> {
    let (from, to) = (key(partition, 0), key(partition, offset));
    let range = (std::ops::Bound::Included(&from[..]), std::ops::Bound::Excluded(&to[..]));
    database.delete_range(txn, &range).map(drop)
}

pub(crate) fn corrupt(place: String, reason: impl Into<String>) -> Corrupt {
    Corrupt { place, reason: reason.into() }
}
