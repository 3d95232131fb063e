//! What is kept beside the log: each value is held against its checksum, whatever it is read for and however seldom.

use std::ops::Bound;

use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::layout::Databases;
use crate::lmdb::{Db, Reading};
use crate::row;
use crate::shared::Shared;
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
            Self::Segments => row("segment"),
            Self::Subscriptions => row("subscription"),
            Self::Cursors => row("cursor"),
            Self::Parked => row("parked event"),
            Self::Ids => row("id"),
            Self::Done => row("keys that are done"),
            Self::Dead => shared.check_dead(txn, key, value),
            Self::Schedule => shared.check_scheduled(txn, key, value).map_err(|error| shared.storage(&error)),
            Self::Tables => Ok(table::undressed(key, value).map(drop)),
        }
    }
}

/// A database that is gone through.
#[derive(Debug)]
pub(super) struct Walk {
    kept: Kept,
    from: Bound<Vec<u8>>,
}

impl Walk {
    pub(super) const fn begin(kept: Kept) -> Self {
        Self { kept, from: Bound::Unbounded }
    }

    /// Checks some more. `false` when all is checked.
    pub(super) fn step(
        &mut self,
        shared: &Shared,
        note: &mut impl FnMut(Corrupt),
    ) -> Result<bool, ReadError> {
        let txn = shared.gate.read().map_err(|error| shared.storage(&error))?;
        let range = (self.from.as_ref().map(Vec::as_slice), Bound::Unbounded);
        let entries = self.kept.database(&shared.databases).range(&txn, &range);
        let (mut count, mut bytes) = (0, 0);
        for entry in entries.map_err(|error| shared.storage(&error))? {
            let (key, value) = entry.map_err(|error| shared.storage(&error))?;
            if let Err(corrupt) = self.kept.check(shared, &txn, key, value)? {
                note(corrupt);
            }
            count += 1;
            bytes += value.len();
            if count >= ENTRIES_AT_ONCE || bytes >= BYTES_AT_ONCE {
                self.from = Bound::Excluded(key.to_vec());
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A read of so many is short: no page that it sees is used again meanwhile.
const ENTRIES_AT_ONCE: usize = 1_000;
const BYTES_AT_ONCE: usize = 4 << 20;
