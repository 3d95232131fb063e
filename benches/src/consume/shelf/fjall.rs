//! fjall: write batches with a journal synced by `fdatasync`.

use std::path::Path;

use anyhow::{Context, Result};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::Shelf;
use crate::durable::event::event;

/// See the module.
pub struct FjallShelf {
    database: Database,
    events: Keyspace,
    read: Keyspace,
}

impl FjallShelf {
    /// Makes a store in a folder.
    ///
    /// # Errors
    /// Those of fjall.
    pub fn open(folder: &Path) -> Result<Self> {
        let database = Database::builder(folder.join("data")).open()?;
        let events = database.keyspace("events", KeyspaceCreateOptions::default)?;
        let read = database.keyspace("read", KeyspaceCreateOptions::default)?;
        Ok(Self { database, events, read })
    }

    fn batch(&self) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.database.clone(), 1).durability(Some(PersistMode::SyncData))
    }
}

impl std::fmt::Debug for FjallShelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FjallShelf")
    }
}

impl Shelf for FjallShelf {
    fn add(&mut self, first: u64, past: u64) -> Result<()> {
        let mut batch = self.batch();
        for number in first..past {
            batch.insert(&self.events, number.to_be_bytes(), event(number));
        }
        Ok(batch.commit()?)
    }

    fn show(&mut self, from: u64, count: u64, see: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        for entry in self.events.range(from.to_be_bytes()..).take(usize::try_from(count)?) {
            let (number, bytes) = entry.into_inner()?;
            let number = number.first_chunk().context("a number has eight bytes")?;
            see(u64::from_be_bytes(*number), &bytes);
        }
        Ok(())
    }

    fn settle(&mut self, next: u64) -> Result<()> {
        let mut batch = self.batch();
        batch.insert(&self.read, [0; 8], next.to_be_bytes());
        Ok(batch.commit()?)
    }
}
