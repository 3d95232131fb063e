//! Keys of idempotency that are done: what durable subscriptions must not do again.
//!
//! They are stored with the settlement of their events, in the same transaction: a key is done if, and only if, its event is settled. A row
//! holds all keys of one settlement, so that remembering costs a commit some bytes a key and no search of a tree for each; who has to look one
//! up has all of them in memory, because one process at a time has the store open.
//!
//! # What is kept
//! Rows of a subscription are numbered. Behind each one that is written, rows at the front go: those of which every key has run out, and as many
//! as it takes to have no more keys than the subscription wants. A row goes as a whole, so that there may be fewer keys than that by a
//! row, or more by those of the last one. With one settlement go a few rows more than came: many that run out at the same time go with
//! as many settlements as it takes, so that none of them waits for all.
//!
//! # A crash
//! As with the settlement: the row and what goes for it are there, or neither is.

mod rows;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use busway_event::Timestamp;
use heed::{RoTxn, RwTxn};

use self::rows::{from_row, kept_until, keys_of, to_row};
use crate::error::ReadError;
use crate::shared::Shared;
use crate::store::Store;

/// A key that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoneKey {
    /// The key.
    pub key: [u8; 16],
    /// Until when it is remembered, wall clock.
    pub until: Timestamp,
}

/// Keys that are done with a settlement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoneKeys {
    /// In the order in which they were done.
    pub keys: Vec<DoneKey>,
    /// Keys of the subscription that are kept, about: the oldest go first.
    pub keys_max: usize,
}

impl DoneKeys {
    /// One key.
    #[must_use]
    pub fn one(key: DoneKey, keys_max: usize) -> Self {
        Self { keys: vec![key], keys_max }
    }

    /// Adds those that were done later.
    pub fn extend(&mut self, later: Self) {
        self.keys_max = self.keys_max.max(later.keys_max);
        self.keys.extend(later.keys);
    }
}

/// The rows of a subscription.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DoneLog {
    first: u64,
    next: u64,
    keys: u64,
    /// Until when the first row is kept, once that was looked for: a row of thousands of keys is not decoded again for each settlement.
    first_until: Option<Timestamp>,
}

/// The rows of all subscriptions that have written some in this opening, and what a batch has changed of them.
#[derive(Debug, Default)]
pub(crate) struct DoneLogs {
    logs: HashMap<u32, DoneLog>,
    staged: BTreeMap<u32, Option<DoneLog>>,
}

impl DoneLogs {
    /// A batch begins, begins again, or is given up.
    pub(crate) fn begin(&mut self) {
        self.staged.clear();
    }

    /// The batch is stored.
    pub(crate) fn keep(&mut self) {
        for (number, log) in std::mem::take(&mut self.staged) {
            match log {
                Some(log) => _ = self.logs.insert(number, log),
                None => _ = self.logs.remove(&number),
            }
        }
    }

    fn of(&self, number: u32) -> Option<DoneLog> {
        self.staged.get(&number).copied().unwrap_or_else(|| self.logs.get(&number).copied())
    }

    /// Writes the keys of a settlement, and lets go what is not kept any longer.
    pub(crate) fn write(
        &mut self,
        shared: &Shared,
        txn: &mut RwTxn<'_>,
        number: u32,
        done: &DoneKeys,
        now: Timestamp,
    ) -> heed::Result<()> {
        if done.keys.is_empty() {
            return Ok(());
        }
        let mut log = match self.of(number) {
            Some(log) => log,
            None => DoneLog::read(shared, txn, number)?,
        };
        let database = shared.databases.done;
        for keys in done.keys.chunks(ROW_KEYS_MAX) {
            let key = done_key(number, log.next);
            database.put(txn, &key, &to_row(&key, keys))?;
            log.next += 1;
            log.keys += keys.len() as u64;
        }
        // More than were written, so that a bound that was lowered is reached in time; not all at once.
        let rows_max = done.keys.len() + ROWS_AT_ONCE;
        for _ in 0..rows_max {
            if !log.forget_first(shared, txn, number, (done.keys_max, now))? {
                break;
            }
        }
        self.staged.insert(number, Some(log));
        Ok(())
    }

    /// A subscription is removed.
    pub(crate) fn remove(&mut self, shared: &Shared, txn: &mut RwTxn<'_>, number: u32) -> heed::Result<()> {
        let (from, to) = (done_key(number, 0), done_key(number, u64::MAX));
        let range = (Bound::Included(&from[..]), Bound::Included(&to[..]));
        shared.databases.done.delete_range(txn, &range)?;
        self.staged.insert(number, None);
        Ok(())
    }
}

impl DoneLog {
    /// What lies in the store. Rows are not looked into: how many keys one has its length says.
    fn read(shared: &Shared, txn: &RoTxn<'_>, number: u32) -> heed::Result<Self> {
        let mut log = Self::default();
        let mut is_first = true;
        for entry in shared.databases.done.prefix_iter(txn, &number.to_be_bytes())? {
            let (key, value) = entry?;
            let at = key.get(4..).and_then(|at| at.try_into().ok()).map_or(0, u64::from_be_bytes);
            if std::mem::take(&mut is_first) {
                log.first = at;
            }
            log.next = at.saturating_add(1);
            log.keys += keys_of(value);
        }
        Ok(log)
    }

    /// Lets the first row go, if it is one that is not kept; `false` when it is, or there is none.
    fn forget_first(
        &mut self,
        shared: &Shared,
        txn: &mut RwTxn<'_>,
        number: u32,
        (keys_max, now): (usize, Timestamp),
    ) -> heed::Result<bool> {
        // The one that was just written stays.
        if self.first + 1 >= self.next {
            return Ok(false);
        }
        let key = done_key(number, self.first);
        let is_too_many = self.keys > keys_max as u64;
        if !is_too_many && self.first_until.is_some_and(|until| until > now) {
            return Ok(false);
        }
        let Some(value) = shared.databases.done.get(txn, &key)? else {
            (self.first, self.first_until) = (self.first + 1, None);
            return Ok(true);
        };
        let keys = keys_of(value);
        if !is_too_many {
            let until = kept_until(&key, value);
            self.first_until = Some(until);
            if until > now {
                return Ok(false);
            }
        }
        shared.databases.done.delete(txn, &key)?;
        (self.first, self.first_until) = (self.first + 1, None);
        self.keys = self.keys.saturating_sub(keys);
        Ok(true)
    }
}

impl Store {
    /// The keys that are done for a subscription, in the order in which they were, also those that have run out since.
    ///
    /// # Errors
    /// [`ReadError`]. A damaged row is one: without it an effect might be repeated.
    pub fn done_keys(&self, subscription: u32) -> Result<Vec<DoneKey>, ReadError> {
        let shared = self.shared();
        let storage = |error: heed::Error| shared.storage(&error);
        let txn = shared.gate.read().map_err(storage)?;
        let mut all = Vec::new();
        for entry in shared.databases.done.prefix_iter(&txn, &subscription.to_be_bytes()).map_err(storage)? {
            let (key, value) = entry.map_err(storage)?;
            all.extend(from_row(key, value)?);
        }
        Ok(all)
    }
}

/// Subscription (4), number of the row (8).
fn done_key(subscription: u32, row: u64) -> [u8; 12] {
    let mut key = [0; 12];
    let (start, end) = key.split_at_mut(4);
    start.copy_from_slice(&subscription.to_be_bytes());
    end.copy_from_slice(&row.to_be_bytes());
    key
}

/// A row of a hundred kilobytes at most.
const ROW_KEYS_MAX: usize = 4_096;
/// Rows that go beside those that came.
const ROWS_AT_ONCE: usize = 8;

#[cfg(test)]
mod tests;
