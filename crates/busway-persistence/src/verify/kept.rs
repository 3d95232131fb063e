//! What is kept beside the log: each value is held against its checksum, whatever it is read for and however seldom.

use std::ops::Bound;

use heed::types::Bytes as Blob;

use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::layout::Databases;
use crate::lmdb::{Db, Reading};
use crate::row;
use crate::shared::Shared;
use crate::stored;
use crate::table;

/// A database beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Names,
    Segments,
    Subscriptions,
    Cursors,
    Parked,
    Dead,
    Ids,
    Done,
    Schedule,
    Tables,
}

impl Kept {
    pub(super) const ALL: [Self; 10] = [
        Self::Names,
        Self::Segments,
        Self::Subscriptions,
        Self::Cursors,
        Self::Parked,
        Self::Dead,
        Self::Ids,
        Self::Done,
        Self::Schedule,
        Self::Tables,
    ];

    const fn database(self, databases: &Databases<'static>) -> Db<'static> {
        match self {
            Self::Names => databases.names,
            Self::Segments => databases.segments,
            Self::Subscriptions => databases.subscriptions,
            Self::Cursors => databases.cursors,
            Self::Parked => databases.parked,
            Self::Dead => databases.dead,
            Self::Ids => databases.ids,
            Self::Done => databases.done,
            Self::Schedule => databases.schedule,
            Self::Tables => databases.tables,
        }
    }

    fn check(
        self,
        shared: &Shared,
        txn: &Reading<'_>,
        key: &[u8],
        value: &[u8],
    ) -> Result<Result<(), Corrupt>, ReadError> {
        let row = |kind| Ok(row::opened(kind, key, value, row::NEWEST).map(drop));
        match self {
            Self::Names => row("name"),
            Self::Segments => Ok(stored::segment(key, value).map(drop)),
            Self::Subscriptions => row("subscription"),
            Self::Cursors => row("cursor"),
            Self::Parked => row("parked event"),
            Self::Ids => row("id"),
            Self::Done => row("keys that are done"),
            Self::Dead => shared.check_dead(txn, key, value),
            Self::Schedule => shared.check_scheduled(txn, key, value).map_err(|error| shared.storage(&error)),
            Self::Tables => Ok(table::check(&shared.tables, key, value)),
        }
    }
}

/// A database that is gone through.
#[derive(Debug)]
pub(super) struct Walk {
    kept: Kept,
    /// Up to where it is gone through: a key that was found as it should be, and above the one before, so that it goes on in any case. A damaged one
    /// may say that it lies anywhere.
    place: Option<Vec<u8>>,
}

impl Walk {
    pub(super) const fn begin(kept: Kept) -> Self {
        Self { kept, place: None }
    }

    /// Checks some more. `false` when all is checked.
    pub(super) fn step(
        &mut self,
        shared: &Shared,
        note: &mut impl FnMut(Corrupt),
    ) -> Result<bool, ReadError> {
        let txn = shared.gate.read().map_err(|error| shared.storage(&error))?;
        let (mut count, mut bytes) = (0, 0);
        let place = self.place.clone();
        let mut last = place.as_deref();
        for entry in self.left(shared, &txn)? {
            let (key, value) = entry.map_err(|error| shared.storage(&error))?;
            count += 1;
            bytes = value.len().saturating_add(bytes);
            if let Err(corrupt) = self.kept.check(shared, &txn, key, value)? {
                note(corrupt);
                continue;
            }
            if last.replace(key).is_some_and(|last| last >= key) {
                note(row::corrupt("entry", key, "it lies behind one that it should lie before".to_owned()));
            }
            let is_further = place.as_deref().is_none_or(|place| place < key);
            if is_further && (count >= ENTRIES_AT_ONCE || bytes >= BYTES_AT_ONCE) {
                self.place = Some(key.to_vec());
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is behind its place.
    fn left<'t>(&self, shared: &Shared, txn: &'t Reading<'_>) -> Result<Entries<'t>, ReadError> {
        let database = self.kept.database(&shared.databases);
        let from = |start| {
            let entries = database.range(txn, &(start, Bound::<&[u8]>::Unbounded));
            entries.map_err(|error| shared.storage(&error))
        };
        let Some(place) = self.place.as_deref() else { return from(Bound::Unbounded) };
        let mut entries = from(Bound::Included(place))?;
        if let Some(found) = entries.next() {
            let (key, _) = found.map_err(|error| shared.storage(&error))?;
            if key == place {
                return Ok(entries);
            }
        }
        // It is gone, or a damaged key beside it has led LMDB past it.
        let passed = self.passed(shared, txn, place)?;
        let mut entries = from(Bound::Unbounded)?;
        for _ in 0..passed {
            entries.next();
        }
        Ok(entries)
    }

    /// How many entries lie up to its place, counted from the first one; up to where it would lie when it is gone.
    fn passed(&self, shared: &Shared, txn: &Reading<'_>, place: &[u8]) -> Result<usize, ReadError> {
        let entries = self.kept.database(&shared.databases).iter(txn);
        let (mut passed, mut is_behind) = (0, false);
        for (at, entry) in entries.map_err(|error| shared.storage(&error))?.enumerate() {
            let (key, value) = entry.map_err(|error| shared.storage(&error))?;
            if key == place {
                return Ok(at + 1);
            }
            if is_behind {
                continue;
            }
            if key < place {
                passed = at + 1;
            } else {
                is_behind = self.kept.check(shared, txn, key, value)?.is_ok();
            }
        }
        Ok(passed)
    }
}

type Entries<'t> = heed::RoRange<'t, Blob, Blob>;
/// A read of so many is short: no page that it sees is used again meanwhile.
const ENTRIES_AT_ONCE: usize = 1_000;
const BYTES_AT_ONCE: usize = 4 << 20;
