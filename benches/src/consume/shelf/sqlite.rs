//! `SQLite`: a write-ahead log that is synced at each commit, statements prepared once.

use std::path::Path;

use anyhow::{Result, ensure};
use rusqlite::Connection;

use super::Shelf;
use crate::durable::event::event;

/// See the module.
#[derive(Debug)]
pub struct SqliteShelf {
    connection: Connection,
}

impl SqliteShelf {
    /// Makes a store in a folder.
    ///
    /// # Errors
    /// Those of `SQLite`.
    pub fn open(folder: &Path) -> Result<Self> {
        let connection = Connection::open(folder.join("data.sqlite"))?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        ensure!(mode == "wal", "SQLite journals by {mode}, not by a write-ahead log");
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE events (offset INTEGER PRIMARY KEY, event BLOB NOT NULL);
             CREATE TABLE read (id INTEGER PRIMARY KEY, next INTEGER NOT NULL);",
        )?;
        Ok(Self { connection })
    }
}

impl Shelf for SqliteShelf {
    fn add(&mut self, first: u64, past: u64) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare("INSERT INTO events VALUES (?1, ?2)")?;
            for number in first..past {
                insert.execute((i64::try_from(number)?, event(number)))?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn show(&mut self, from: u64, count: u64, see: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let text = "SELECT offset, event FROM events WHERE offset >= ?1 ORDER BY offset LIMIT ?2";
        let mut select = self.connection.prepare(text)?;
        let mut rows = select.query((i64::try_from(from)?, i64::try_from(count)?))?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            see(u64::try_from(number)?, row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }

    fn settle(&mut self, next: u64) -> Result<()> {
        let text = "INSERT INTO read VALUES (0, ?1) ON CONFLICT DO UPDATE SET next = ?1";
        self.connection.prepare(text)?.execute([i64::try_from(next)?])?;
        Ok(())
    }
}
