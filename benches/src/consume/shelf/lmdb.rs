//! LMDB through heed: its default sync, a cursor over a map.

use std::path::Path;

use anyhow::{Context, Result};
use heed::byteorder::BigEndian;
use heed::types::{Bytes, U64};
use heed::{CommitOrAbort, Database, Env, PutFlags};

use super::Shelf;
use crate::durable::event::event;
use crate::durable::lmdb;

type Events = Database<'static, U64<BigEndian>, Bytes>;

/// See the module.
#[derive(Debug)]
pub struct LmdbShelf {
    env: Env,
    events: Events,
    read: Events,
}

impl LmdbShelf {
    /// Opens the store in a folder that nobody else uses, or makes it.
    ///
    /// # Errors
    /// Those of LMDB.
    pub fn open(folder: &Path) -> Result<Self> {
        let env = lmdb::open(folder, MAP_BYTES, 2)?;
        let created = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
            let events = opener.create_database::<U64<BigEndian>, Bytes>(transaction, Some("events"))?;
            let read = opener.create_database::<U64<BigEndian>, Bytes>(transaction, Some("read"))?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((events, read)))
        })?;
        let (events, read) = created.commit().context("the databases were not created")?;
        Ok(Self { env, events, read })
    }

    /// Closes it, so that it can be opened again.
    pub fn close(self) {
        self.env.prepare_for_closing().wait();
    }

    /// Removes events from `first` to `past`, the last one excluded, and adds as many at the end, in one commit.
    ///
    /// # Errors
    /// Those of LMDB.
    pub fn replace(&mut self, (first, past): (u64, u64), next: u64) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        self.events.delete_range(&mut transaction, &(first..past))?;
        for number in next..next + (past - first) {
            self.events.put_with_flags(&mut transaction, PutFlags::APPEND, &number, &event(number))?;
        }
        Ok(transaction.commit()?)
    }
}

impl Shelf for LmdbShelf {
    fn add(&mut self, first: u64, past: u64) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for number in first..past {
            self.events.put_with_flags(&mut transaction, PutFlags::APPEND, &number, &event(number))?;
        }
        Ok(transaction.commit()?)
    }

    fn show(&mut self, from: u64, count: u64, see: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let transaction = self.env.read_txn()?;
        for entry in self.events.range(&transaction, &(from..))?.take(usize::try_from(count)?) {
            let (number, bytes) = entry?;
            see(number, bytes);
        }
        Ok(())
    }

    fn settle(&mut self, next: u64) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        self.read.put(&mut transaction, &0, &next.to_be_bytes())?;
        Ok(transaction.commit()?)
    }
}

/// Address space only: more than ten million events take.
const MAP_BYTES: usize = 16 << 30;
