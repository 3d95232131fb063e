//! LMDB through heed: its default sync, one named database, keys that only grow.

use std::path::Path;

use anyhow::{Context, Result};
use heed::byteorder::BigEndian;
use heed::types::{Bytes, U64};
use heed::{CommitOrAbort, Env, EnvOpenOptions, PutFlags};

use super::event::event;
use super::folder::Folder;
use super::lap::{Holding, SyncedLap, appending};
use crate::terms::Terms;

/// Appends for one lap, so many events a commit.
///
/// # Errors
/// LMDB fails, or holds something else than it was given.
pub fn lap(terms: &Terms, per_sync: usize) -> Result<SyncedLap> {
    let folder = Folder::fresh("lmdb")?;
    let env = open(folder.path(), MAP_BYTES, 1)?;
    let created = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
        opener
            .create_database::<U64<BigEndian>, Bytes>(transaction, Some("events"))
            .map(CommitOrAbort::<_, ()>::Commit)
    })?;
    let events = created.commit().context("the database was not created")?;
    let lap = appending(terms, per_sync, |numbers| {
        let mut transaction = env.write_txn()?;
        for number in numbers {
            events.put_with_flags(&mut transaction, PutFlags::APPEND, &number, &event(number))?;
        }
        Ok(transaction.commit()?)
    })?;
    let transaction = env.read_txn()?;
    let last = events.last(&transaction)?.map(|(number, event)| (number, event.to_vec()));
    lap.verified(&Holding { count: events.len(&transaction)?, last })
}

/// Opens LMDB in a folder of the harness's own that is in nobody's hands, or makes it there.
pub(crate) fn open(folder: &Path, map_bytes: usize, max_dbs: u32) -> Result<Env> {
    let mut options = EnvOpenOptions::new();
    options.map_size(map_bytes).max_dbs(max_dbs);
    // SAFETY: the map is undefined once somebody else changes the file below it, or locks are off. Each folder was made for a
    // lap or suite, under a name that no other process, lap or suite has, on a local disk; no flag is set; it outlives the
    // environment, and who opens one again has closed it before.
    #[expect(unsafe_code, reason = "heed opens a memory map, which is only as safe as the file below it")]
    let env = unsafe { options.open(folder) }?;
    Ok(env)
}

/// Address space only: far more than a lap writes.
const MAP_BYTES: usize = 4 << 30;
