//! redb: its default durability.

use std::path::Path;

use anyhow::Result;
use redb::{Database, ReadableDatabase, TableDefinition};

use super::Shelf;
use crate::durable::event::event;

/// See the module.
#[derive(Debug)]
pub struct RedbShelf {
    database: Database,
}

impl RedbShelf {
    /// Makes a store in a folder.
    ///
    /// # Errors
    /// Those of redb.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self { database: Database::create(folder.join("data.redb"))? })
    }
}

impl Shelf for RedbShelf {
    fn add(&mut self, first: u64, past: u64) -> Result<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut events = transaction.open_table(EVENTS)?;
            for number in first..past {
                events.insert(number, event(number).as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn show(&mut self, from: u64, count: u64, see: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let events = self.database.begin_read()?.open_table(EVENTS)?;
        for entry in events.range(from..)?.take(usize::try_from(count)?) {
            let (number, bytes) = entry?;
            see(number.value(), bytes.value());
        }
        Ok(())
    }

    fn settle(&mut self, next: u64) -> Result<()> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(READ)?.insert(0, next)?;
        Ok(transaction.commit()?)
    }
}

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const READ: TableDefinition<'_, u64, u64> = TableDefinition::new("read");
