//! Durable appends: 256-byte events, and nothing counts before it is synced.
//!
//! The fixed terms: one thread that appends, events that do not compress, a fresh folder on a real disk for each lap, the same
//! disk for all, contenders in turn. A lap ends by time or by volume; what it wrote is read back behind the clock. The stores
//! beside busway are used as plainly as possible: they store bytes under a number and know nothing of topics, ids or cursors.
//!
//! A contender is a function `lap(terms, per_sync)`, one file each; [`lap`] holds the clock that all of them share.

pub mod awaited;
pub mod counts;
pub mod event;
pub mod flight;
pub mod folder;
pub mod lap;
pub mod written;

pub mod busway;
pub mod busway_store;
pub mod file;
pub mod fjall;
pub mod lmdb;
pub mod lmdb_awaited;
pub mod redb;
pub mod sqlite;

use std::cell::RefCell;

use anyhow::Result;

use self::counts::Counted;
use self::folder::Folder;
use self::lap::SyncedLap;
use crate::contest::{Contest, Lap, Question, Unit, interleave};
use crate::inproc::on_bus;
use crate::lockfile::version_of;
use crate::report::Suite;
use crate::terms::Terms;

/// What can append and sync.
#[derive(Debug, Clone, Copy)]
pub struct Appender {
    /// Its name in the report.
    pub name: &'static str,
    /// Which version was built.
    pub version: fn() -> String,
    /// Appends for one lap, so many events a sync, and verifies what it wrote.
    pub lap: fn(terms: &Terms, per_sync: usize) -> Result<SyncedLap>,
}

const BUSWAY: Appender = Appender { name: "busway", version: on_bus::version, lap: busway::lap };
const BATCHES: Appender = Appender { name: "busway", version: on_bus::version, lap: busway::batches };
const STORE: Appender = Appender { name: "busway-store", version: on_bus::version, lap: busway_store::lap };
const STORE_BATCHES: Appender =
    Appender { name: "busway-store", version: on_bus::version, lap: busway_store::batches };
const LMDB: Appender = Appender { name: "lmdb", version: || version_of("heed"), lap: lmdb::lap };
const AWAITED: Appender =
    Appender { name: "lmdb-awaited", version: || version_of("heed"), lap: lmdb_awaited::lap };
const REDB: Appender = Appender { name: "redb", version: || version_of("redb"), lap: redb::lap };
const FJALL: Appender = Appender { name: "fjall", version: || version_of("fjall"), lap: fjall::lap };
const SQLITE: Appender = Appender { name: "sqlite", version: || version_of("rusqlite"), lap: sqlite::lap };
const FILE: Appender = Appender { name: "file-fdatasync", version: || "std".to_owned(), lap: file::lap };

/// Runs the suite with one event at a time.
///
/// # Errors
/// A contender fails.
pub fn measure_1(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "durable/synced-1",
        unit: EVENTS,
        note: "256 bytes an event, one at a time, each synced before the next is begun",
    };
    measure(terms, question, 1, &[BUSWAY, STORE, AWAITED, LMDB, REDB, FJALL, SQLITE, FILE])
}

/// Runs the suite with 64 events a sync.
///
/// # Errors
/// A contender fails.
pub fn measure_64(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "durable/synced-64",
        unit: EVENTS,
        note: "256 bytes an event, nothing counts before it is synced; a bare store commits 64 at a time",
    };
    measure(terms, question, 64, &[BUSWAY, STORE, AWAITED, LMDB, REDB, FJALL, SQLITE, FILE])
}

/// Runs the suite with 4,096 events a sync.
///
/// # Errors
/// A contender fails.
pub fn measure_4096(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "durable/synced-4096",
        unit: EVENTS,
        note: "256 bytes an event, nothing counts before it is synced; a bare store commits 4,096 at a time",
    };
    measure(terms, question, 4_096, &[BUSWAY, STORE, AWAITED, LMDB, REDB, FJALL, SQLITE, FILE])
}

/// Runs the suite with batches of 4,096 events.
///
/// # Errors
/// A contender fails.
pub fn measure_batch_4096(terms: &Terms) -> Result<Vec<Suite>> {
    let question = Question {
        name: "durable/synced-batch-4096",
        unit: EVENTS,
        note: "256 bytes an event, handed over 4,096 at a time, the batch synced before the next is begun; for a bare store that \
               is the same thing as durable/synced-4096",
    };
    measure(terms, question, 4_096, &[BATCHES, STORE_BATCHES, LMDB, REDB, FJALL, SQLITE, FILE])
}

const EVENTS: Unit = Unit::PerSecond("events/s");

/// How the bare stores are set up, for the notes.
const SETTINGS: &str = "lmdb: heed, default sync, one named database, append; lmdb-awaited: the same behind a thread and \
                        tokio's oneshot, each event awaited; redb: default durability; fjall: batch and SyncData; \
                        sqlite: WAL, synchronous=FULL; file-fdatasync: a file written full of zeros beforehand, one write and one \
                        fdatasync, no index and no checksum: the floor";

/// What a sync is here.
const SYNCS: &str = "commits, or calls of fdatasync for the bare file; inside one, lmdb waits for the disk twice (data, then the page that \
                     names them), sqlite again at its checkpoints";

/// Who wrote.
const BYTES: &str = "write_bytes of /proc/self/io";

/// Runs the contenders in turn. Beside the answer come `<name>-switches`, `<name>-syncs` and `<name>-bytes`, of the same laps.
fn measure(terms: &Terms, question: Question, per_sync: usize, appenders: &[Appender]) -> Result<Vec<Suite>> {
    let file_system = Folder::file_system()?;
    let laps: Vec<_> =
        appenders.iter().map(|_| RefCell::new(Vec::<SyncedLap>::with_capacity(terms.rounds + 1))).collect();
    let contests = appenders.iter().zip(&laps).map(|(appender, laps)| {
        // A lap ends by time, whatever number of messages filled the last one.
        Contest::new(appender.name, (appender.version)(), move |_| {
            let lap = (appender.lap)(terms, per_sync)?;
            laps.borrow_mut().push(lap);
            Ok(Lap { handled: lap.events, lost: 0, elapsed: lap.elapsed })
        })
    });
    let mut suites = interleave(terms, question, contests.collect())?;
    if let Some(answer) = suites.first_mut() {
        answer.note = format!("{}; {SETTINGS}; on {file_system}", answer.note);
    }
    // The first round is discarded here too.
    let laps: Vec<Counted> = appenders
        .iter()
        .zip(laps)
        .map(|(appender, laps)| Counted {
            name: appender.name,
            version: (appender.version)(),
            laps: laps.into_inner().into_iter().skip(1).collect(),
        })
        .collect();
    suites.push(counts::syncs(question.name, &laps, SYNCS));
    suites.extend(counts::bytes(question.name, &laps, BYTES));
    Ok(suites)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TERMS: Terms = Terms { block: Duration::from_millis(5), rounds: 2 };

    #[test]
    fn every_store_keeps_what_it_was_given() {
        for appender in [LMDB, REDB, FJALL, SQLITE, FILE] {
            for per_sync in [1, 64] {
                let lap = (appender.lap)(&TERMS, per_sync).unwrap();
                assert_eq!(lap.events, lap.syncs * per_sync as u64, "{}", appender.name);
                assert!(lap.stored > lap.events, "{} was not warm", appender.name);
            }
        }
    }

    #[test]
    fn the_bus_and_its_store_keep_what_they_are_given() {
        for appender in [BUSWAY, BATCHES, STORE, STORE_BATCHES, AWAITED] {
            for in_flight in [1, 64, 100] {
                let lap = (appender.lap)(&TERMS, in_flight).unwrap();
                assert!(lap.events > 0 && lap.syncs > 0 && lap.syncs <= lap.events, "{lap:?}");
            }
        }
    }

    #[test]
    fn beside_the_answer_come_switches_syncs_and_bytes() {
        let question = Question { name: "durable/test", unit: EVENTS, note: "shortly" };
        let suites = measure(&TERMS, question, 64, &[FILE]).unwrap();
        let names: Vec<_> = suites.iter().map(|suite| suite.name.as_str()).collect();
        let beside = ["durable/test", "durable/test-switches", "durable/test-syncs", "durable/test-bytes"];
        assert_eq!(names, beside[..names.len()], "the last one where the system counts bytes");
        assert!(suites[0].note.starts_with("shortly; lmdb: heed"), "{}", suites[0].note);
        let syncs = suites[2].contender("file-fdatasync").unwrap();
        assert_eq!((syncs.runs(), syncs.median().to_bits()), (2, (1.0_f64 / 64.0).to_bits()));
    }
}
