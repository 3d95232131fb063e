//! Shelves: what a bare store is here. Bytes under a number, and one more number, how far they were read.

mod fjall;
mod lmdb;
mod redb;
mod sqlite;

use anyhow::Result;

pub use self::fjall::FjallShelf;
pub use self::lmdb::LmdbShelf;
pub use self::redb::RedbShelf;
pub use self::sqlite::SqliteShelf;
use super::backlog::BATCH;
use crate::durable::event::event;
use crate::durable::folder::Folder;
use crate::lockfile::version_of;

/// A store with the same events as a busway log, numbered from 0.
pub trait Shelf {
    /// Adds events from `first` to `past`, the last one excluded, in one commit.
    ///
    /// # Errors
    /// Those of the store.
    fn add(&mut self, first: u64, past: u64) -> Result<()>;

    /// Shows up to `count` events from `from` on, in one transaction, as they lie in the store where it can.
    ///
    /// # Errors
    /// Those of the store.
    fn show(&mut self, from: u64, count: u64, see: &mut dyn FnMut(u64, &[u8])) -> Result<()>;

    /// Stores, synced, that everything before `next` was read.
    ///
    /// # Errors
    /// Those of the store.
    fn settle(&mut self, next: u64) -> Result<()>;
}

/// A bare store by its name and version.
pub type Named = (&'static str, String, Box<dyn Shelf>);

/// All of them, each in a fresh folder, which goes when it is let go.
///
/// # Errors
/// Those of the stores.
pub fn all() -> Result<(Vec<Folder>, [Named; 4])> {
    let folders: Vec<Folder> =
        ["lmdb", "redb", "fjall", "sqlite"].into_iter().map(Folder::fresh).collect::<Result<_>>()?;
    let [lmdb, redb, fjall, sqlite] = folders.as_slice() else { unreachable!("four were made") };
    let shelves: [Named; 4] = [
        ("lmdb", version_of("heed"), Box::new(LmdbShelf::open(lmdb.path())?)),
        ("redb", version_of("redb"), Box::new(RedbShelf::open(redb.path())?)),
        ("fjall", version_of("fjall"), Box::new(FjallShelf::open(fjall.path())?)),
        ("sqlite", version_of("rusqlite"), Box::new(SqliteShelf::open(sqlite.path())?)),
    ];
    Ok((folders, shelves))
}

/// Fills a shelf, in batches.
///
/// # Errors
/// Those of the store.
pub fn fill(shelf: &mut dyn Shelf, events: u64) -> Result<()> {
    let mut next = 0;
    while next < events {
        let past = events.min(next + BATCH);
        shelf.add(next, past)?;
        next = past;
    }
    Ok(())
}

/// Whether bytes are those of an event, as far as its number tells.
#[must_use]
pub fn is_event(number: u64, bytes: &[u8]) -> bool {
    bytes.first_chunk() == Some(&number.to_be_bytes()) && bytes.len() == event(0).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shelf_shows_what_was_added_from_any_number_on() {
        let folder = Folder::fresh("shelves").unwrap();
        let at = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let shelves: [Box<dyn Shelf>; 4] = [
            Box::new(LmdbShelf::open(&at("lmdb")).unwrap()),
            Box::new(RedbShelf::open(&at("redb")).unwrap()),
            Box::new(FjallShelf::open(&at("fjall")).unwrap()),
            Box::new(SqliteShelf::open(&at("sqlite")).unwrap()),
        ];
        for mut shelf in shelves {
            fill(&mut *shelf, BATCH + 3).unwrap();
            shelf.settle(7).unwrap();
            for (from, count, shown) in [(0, 5, 0..5), (BATCH, 10, BATCH..BATCH + 3), (BATCH + 3, 1, 0..0)] {
                let mut numbers = Vec::new();
                shelf
                    .show(from, count, &mut |number, bytes| {
                        assert_eq!(bytes, event(number));
                        numbers.push(number);
                    })
                    .unwrap();
                assert_eq!(numbers, shown.collect::<Vec<_>>());
            }
        }
    }
}
