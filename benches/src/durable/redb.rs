//! redb: its default durability, one commit in one phase.

use anyhow::Result;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::event::event;
use super::folder::Folder;
use super::lap::{Holding, SyncedLap, appending};
use crate::terms::Terms;

/// Appends for one lap, so many events a commit.
///
/// # Errors
/// redb fails, or holds something else than it was given.
pub fn lap(terms: &Terms, per_sync: usize) -> Result<SyncedLap> {
    let folder = Folder::fresh("redb")?;
    let database = Database::create(folder.path().join("data.redb"))?;
    let lap = appending(terms, per_sync, |numbers| {
        let transaction = database.begin_write()?;
        {
            let mut events = transaction.open_table(EVENTS)?;
            for number in numbers {
                events.insert(number, event(number).as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    })?;
    let events = database.begin_read()?.open_table(EVENTS)?;
    let last = events.last()?.map(|(number, event)| (number.value(), event.value().to_vec()));
    lap.verified(&Holding { count: events.len()?, last })
}

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
