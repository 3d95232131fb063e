//! LMDB through heed: its default sync, one named database, keys that only grow.

use std::path::Path;

use anyhow::{Context, Result};
use heed::byteorder::BigEndian;
use heed::types::{Bytes, U64};
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, PutFlags};

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
    let events = Events::make(folder.path())?;
    let lap = appending(terms, per_sync, |numbers| events.append(numbers.clone().zip(numbers)))?;
    lap.verified(&events.holding(1)?)
}

/// Events under numbers that only grow.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    env: Env,
    database: Database<'static, U64<BigEndian>, Bytes>,
}

impl Events {
    /// None yet, in a fresh folder.
    ///
    /// # Errors
    /// LMDB fails.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let env = open(folder, MAP_BYTES, 1)?;
        let created = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
            opener
                .create_database::<U64<BigEndian>, Bytes>(transaction, Some("events"))
                .map(CommitOrAbort::<_, ()>::Commit)
        })?;
        let database = created.commit().context("the database was not created")?;
        Ok(Self { env, database })
    }

    /// Appends events, each a place and its number, in one commit.
    ///
    /// # Errors
    /// LMDB fails.
    pub(crate) fn append(&self, events: impl Iterator<Item = (u64, u64)>) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for (place, number) in events {
            self.database.put_with_flags(&mut transaction, PutFlags::APPEND, &place, &event(number))?;
        }
        Ok(transaction.commit()?)
    }

    /// How many there are, and the newest of the last ones, so many at most.
    ///
    /// # Errors
    /// LMDB fails.
    pub(crate) fn holding(&self, among: usize) -> Result<Holding> {
        let transaction = self.env.read_txn()?;
        let mut last = None;
        for event in self.database.rev_iter(&transaction)?.take(among) {
            let (_, bytes) = event?;
            let number = bytes.first_chunk().map(|number| u64::from_be_bytes(*number));
            last = last.max(number.map(|number| (number, bytes.to_vec())));
        }
        Ok(Holding { count: self.database.len(&transaction)?, last })
    }
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
