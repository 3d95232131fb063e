//! The trail: a row of each operation on dead letters, by number and by request.
//!
//! An operation is made under a request, which its caller may name: the same request is carried out once, however often and by whichever
//! process it is made. One that was cut short goes on behind the last letter that it moved.

use busway_event::Timestamp;
use heed::{RoTxn, RwTxn};
use serde::{Deserialize, Serialize};

use super::keys::{LetterKey, OPERATION, REQUEST, own_key};
use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::row;
use crate::shared::Shared;
use crate::store::Store;

/// What somebody did with dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its number, from 1, rising.
    pub number: u64,
    /// The request that it was made under.
    pub request: String,
    /// What was done.
    pub kind: OperationKind,
    /// Who did it.
    pub by: String,
    /// Which letters it was for.
    pub selection: String,
    /// When it was begun, wall clock.
    pub begun: Timestamp,
    /// When it was ended; `None`: it was not, and goes on when the request is made again.
    pub ended: Option<Timestamp>,
    /// Letters that it was done with.
    pub letters: u64,
    /// Where it goes on.
    pub next: Option<LetterKey>,
    /// Why it was stopped before it had come to the end, when it was.
    pub stopped: Option<String>,
}

/// What is done with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OperationKind {
    /// They are given to their subscription again.
    Redrive,
    /// One was edited, and is given to its subscription again.
    Edit,
    /// They are let go.
    Discard,
    /// They were older than their subscription keeps them, and let go.
    Expire,
}

impl OperationKind {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Edit => "edit",
            Self::Discard => "discard",
            Self::Expire => "expire",
        }
    }
}

impl Store {
    /// The operation that was made under a request.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn operation(&self, request: &str) -> Result<Option<Operation>, ReadError> {
        let txn = self.shared.gate.read().map_err(|error| self.shared.storage(&error))?;
        let found = of_request(&self.shared, &txn, request).map_err(|error| self.shared.storage(&error))?;
        Ok(found?)
    }

    /// Up to `limit` operations before a number, the newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn operations(&self, before: u64, limit: usize) -> Result<Vec<Operation>, ReadError> {
        let storage = |error: heed::Error| self.shared.storage(&error);
        let txn = self.shared.gate.read().map_err(storage)?;
        let (first, end) = (own_key(OPERATION, &[]), own_key(OPERATION, &before.to_be_bytes()));
        let range = (std::ops::Bound::Included(&first[..]), std::ops::Bound::Excluded(&end[..]));
        let mut operations = Vec::new();
        for entry in self.shared.databases.dead.rev_range(&txn, &range).map_err(storage)?.take(limit) {
            let (key, value) = entry.map_err(storage)?;
            operations.push(row::decode("operation", key, value)?);
        }
        Ok(operations)
    }
}

/// The operation of a request.
pub(super) fn of_request(
    shared: &Shared,
    txn: &RoTxn<'_>,
    request: &str,
) -> heed::Result<Result<Option<Operation>, Corrupt>> {
    let (dead, key) = (shared.databases.dead, own_key(REQUEST, request.as_bytes()));
    let Some(value) = dead.get(txn, &key)? else { return Ok(Ok(None)) };
    let number = match row::decode::<u64>("request", &key, value) {
        Ok(number) => number,
        Err(corrupt) => return Ok(Err(corrupt)),
    };
    let key = own_key(OPERATION, &number.to_be_bytes());
    Ok(dead.get(txn, &key)?.map(|value| row::decode("operation", &key, value)).transpose())
}

/// A number that no operation has.
pub(super) fn next_number(shared: &Shared, txn: &RoTxn<'_>) -> heed::Result<u64> {
    let (first, end) = (own_key(OPERATION, &[]), own_key(OPERATION + 1, &[]));
    let range = (std::ops::Bound::Included(&first[..]), std::ops::Bound::Excluded(&end[..]));
    let last = shared.databases.dead.rev_range(txn, &range)?.next().transpose()?;
    let number = last.and_then(|(key, _)| key.get(5..)?.try_into().ok().map(u64::from_be_bytes));
    Ok(number.unwrap_or(0).saturating_add(1))
}

/// Writes an operation. Of the oldest only so many are kept, and those that have not ended for twice as long: they may be under way.
pub(super) fn put(shared: &Shared, txn: &mut RwTxn<'_>, operation: &Operation) -> heed::Result<()> {
    let (dead, number) = (shared.databases.dead, operation.number);
    let key = own_key(OPERATION, &number.to_be_bytes());
    dead.put(txn, &key, &row::encode(&key, operation)?)?;
    let key = own_key(REQUEST, operation.request.as_bytes());
    dead.put(txn, &key, &row::encode(&key, &number)?)?;
    let Some(first) = number.checked_sub(OPERATIONS_KEPT) else { return Ok(()) };
    let (begin, end) = (own_key(OPERATION, &[]), own_key(OPERATION, &first.to_be_bytes()));
    let old = (std::ops::Bound::Included(&begin[..]), std::ops::Bound::Included(&end[..]));
    let mut removed = Vec::new();
    for entry in dead.range(txn, &old)?.take(LOOKED_AT_MAX) {
        let (key, value) = entry?;
        let old = row::decode::<Operation>("operation", key, value).ok();
        let is_kept =
            |old: &Operation| old.ended.is_none() && first.saturating_sub(old.number) < OPERATIONS_KEPT;
        if !old.as_ref().is_some_and(is_kept) {
            removed.push((key.to_vec(), old.map(|operation| operation.request)));
        }
        if removed.len() == REMOVED_MAX {
            break;
        }
    }
    for (key, request) in removed {
        dead.delete(txn, &key)?;
        if let Some(request) = request {
            dead.delete(txn, &own_key(REQUEST, request.as_bytes()))?;
        }
    }
    Ok(())
}

/// Bytes of a request's name.
pub const REQUEST_BYTES_MAX: usize = 128;
/// Bytes of the name of who makes one.
pub const BY_BYTES_MAX: usize = 128;
/// Bytes of what is said of the letters that it is for.
pub const SELECTION_BYTES_MAX: usize = 1_024;
/// Bytes of why it was stopped; what is longer is cut.
pub(super) const STOPPED_BYTES_MAX: usize = 1_024;
/// Operations that are remembered, and as many of those that have not ended beside them: 48 MiB of them at most, by the bounds above.
const OPERATIONS_KEPT: u64 = 10_000;
/// Of a trail that is longer, because it was made when more were kept, so many rows are removed with each operation.
const REMOVED_MAX: usize = 64;
/// Rows that are looked at for that: those of operations that have not ended lie among them.
const LOOKED_AT_MAX: usize = 256;
