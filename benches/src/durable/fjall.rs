//! fjall: a write batch, and its journal synced with `fdatasync`.

use anyhow::Result;
use fjall::{Database, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::event::event;
use super::folder::Folder;
use super::lap::{Holding, SyncedLap, appending};
use crate::terms::Terms;

/// Appends for one lap, so many events a batch.
///
/// # Errors
/// fjall fails, or holds something else than it was given.
pub fn lap(terms: &Terms, per_sync: usize) -> Result<SyncedLap> {
    let folder = Folder::fresh("fjall")?;
    let database = Database::builder(folder.path().join("data")).open()?;
    let events = database.keyspace("events", KeyspaceCreateOptions::default)?;
    let lap = appending(terms, per_sync, |numbers| {
        let batch = OwnedWriteBatch::with_capacity(database.clone(), per_sync);
        let mut batch = batch.durability(Some(PersistMode::SyncData));
        for number in numbers {
            batch.insert(&events, number.to_be_bytes(), event(number));
        }
        Ok(batch.commit()?)
    })?;
    let last = events.last_key_value().map(fjall::Guard::into_inner).transpose()?;
    let last = last.map(|(number, event)| {
        let number = <[u8; 8]>::try_from(&*number).map(u64::from_be_bytes);
        number.map(|number| (number, event.to_vec()))
    });
    lap.verified(&Holding { count: u64::try_from(events.len()?)?, last: last.transpose()? })
}
