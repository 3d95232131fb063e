//! `SQLite`: a write-ahead log that is synced at each commit, statements prepared once.

use anyhow::{Result, ensure};
use rusqlite::Connection;

use super::event::event;
use super::folder::Folder;
use super::lap::{Holding, SyncedLap, appending};
use crate::terms::Terms;

/// Appends for one lap, so many events a transaction.
///
/// # Errors
/// `SQLite` fails, or holds something else than it was given.
pub fn lap(terms: &Terms, per_sync: usize) -> Result<SyncedLap> {
    let folder = Folder::fresh("sqlite")?;
    let connection = open(&folder)?;
    let mut begin = connection.prepare("BEGIN IMMEDIATE")?;
    let mut insert = connection.prepare("INSERT INTO events VALUES (?1, ?2)")?;
    let mut commit = connection.prepare("COMMIT")?;
    let lap = appending(terms, per_sync, |numbers| {
        begin.execute([])?;
        for number in numbers {
            insert.execute((i64::try_from(number)?, event(number)))?;
        }
        commit.execute([])?;
        Ok(())
    })?;
    let count: i64 = connection.query_row("SELECT count(*) FROM events", [], |row| row.get(0))?;
    let last = "SELECT offset, event FROM events ORDER BY offset DESC LIMIT 1";
    let (number, bytes): (i64, Vec<u8>) =
        connection.query_row(last, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    lap.verified(&Holding { count: u64::try_from(count)?, last: Some((u64::try_from(number)?, bytes)) })
}

fn open(folder: &Folder) -> Result<Connection> {
    let connection = Connection::open(folder.path().join("data.sqlite"))?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    ensure!(mode == "wal", "SQLite journals by {mode}, not by a write-ahead log");
    connection.pragma_update(None, "synchronous", "FULL")?;
    let level: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    ensure!(level == SYNCHRONOUS_FULL, "SQLite syncs at level {level}, not FULL");
    connection.execute_batch("CREATE TABLE events (offset INTEGER PRIMARY KEY, event BLOB NOT NULL)")?;
    Ok(connection)
}

/// As the pragma says it.
const SYNCHRONOUS_FULL: i64 = 2;
