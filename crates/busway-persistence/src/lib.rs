//! What survives: the durable log of the busway event bus, its cursors and its tables, in one LMDB environment.
//!
//! A [`Store`] lives in a directory that one process opens. Events are appended to named [`Stream`]s, in one or more
//! partitions, and have an offset there that is never used again. An append is answered when it is synced: what was acknowledged survives
//! `kill -9` and, on a device that honours flushes, a power cut. Many appends share one commit. Durable subscriptions keep
//! what they have settled in the same commits, as a [`Cursor`] a partition.
//!
//! # What it is not
//!
//! It calls no handlers and decides no retries: it stores what is decided. No async: answers are callbacks from its one thread.
//! No clock: times come in as arguments, but for the pauses of the writer.
//!
//! # Guarantee
//!
//! An answer `Ok` means: synced, all of it, at these places. `Refused` means that nothing was stored; `Unknown` that nobody can
//! say, and that nothing will be acknowledged until the store is opened again. Stored bytes, but for the values of
//! tables that were made by a release without them, carry checksums and are checked whenever they are read: a damaged record is an error that names it, and its
//! neighbours are served. A directory that is no store, or whose
//! files are damaged, missing or held by another process, is an [`OpenError`], never a new store.
//!
//! # Example
//!
//! ```
//! use std::sync::mpsc;
//!
//! use busway_event::{Event, EventId, Metadata, Raw, Stamp, Timestamp};
//! use busway_persistence::{ReadLimits, Store, StoreOptions, Stream};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let store = Store::open(dir, StoreOptions::new().stream(Stream::new("orders").capture("orders.#")))?;
//!
//! let metadata = Metadata::draft("shop", 1).build()?;
//! let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
//! let stamp = Stamp::new(EventId::foreign("shop", "A-1"), now, &metadata);
//! let event = Event::new("orders.created", Raw::from("{}")).finish(&stamp).map_err(|refused| refused.1)?;
//!
//! let (answer, answered) = mpsc::channel();
//! let entry = store.entry(event.into(), false, now)?;
//! store.append(entry, Box::new(move |result| _ = answer.send(result)))?;
//! let stored = answered.recv()??;
//!
//! let place = stored.positions().next().ok_or("nothing was stored")?;
//! let page = store.read(place.partition, place.offset, None, ReadLimits::default())?;
//! assert_eq!(page.events[0].event.topic().as_str(), "orders.created");
//! # Ok(())
//! # }
//! ```
//!
//! # Modules, in reading order
//!
//! `store` is the handle, `options` how it is opened, `stream` what a log is. `opening` makes a store of a directory: `open` is all that
//! happens before the file is mapped, `lmdb` what LMDB asks for, `layout` the databases, `stored` what they held. `writer` is the
//! one thread that writes; `append`, `settle` and `transact` are what it is asked for, `segment` and `cursor` what it decides by. `table` is what
//! a program keeps beside its events, `snapshot` what it reads of that outside of transactions. `schedule` has what is published later. `record` and `row`
//! are the bytes, `names` the texts that they share (`memo`: what a thread knows of them), `records` finds records in a segment. `read`, from `tail` or a `view`, gives events back, `find`
//! says where one lies, `verify` whether all are as they were written, `backup` copies all of it, `export` and `import` write events as lines and back, `audit`
//! chains what must not be altered, `done` what must not be done again.

mod aging;
mod append;
mod attempts;
mod attendance;
mod audit;
mod backup;
mod corrupt;
mod cursor;
mod dead;
mod done;
mod entry;
mod error;
mod export;
mod figures;
mod find;
mod import;
mod layout;
mod lmdb;
mod memo;
mod names;
mod open;
mod opening;
mod options;
mod read;
mod record;
mod records;
mod row;
mod schedule;
mod segment;
mod settle;
mod shared;
mod snapshot;
mod standing;
mod store;
mod stored;
mod stream;
mod table;
mod tail;
mod transact;
mod verify;
mod view;
mod writer;

pub use crate::append::{Appended, Entry, OnAppended, Position};
pub use crate::attempts::{ATTEMPTS_KEPT, Attempt, Attempts, ERROR_BYTES_MAX};
pub use crate::attendance::{Mark, Quarantine};
pub use crate::audit::{
    ARCHIVE_RECORDS, Archive, ArchiveEnd, ArchiveError, ArchiveProblem, Archived, Archiving, Audit,
    AuditHead, AuditHeadError, AuditKey, HEAD_AGE, HEAD_RECORDS, VerifiedArchive, VerifiedAudit,
    verify_archive,
};
pub use crate::backup::{Backup, BackupError};
pub use crate::corrupt::Corrupt;
pub use crate::cursor::Cursor;
pub use crate::dead::{
    BY_BYTES_MAX, LetterKey, LetterKeys, LetterPage, LetterQuery, LetterRequest, LetterState, OnOperated,
    Operated, Operation, OperationKind, Progressed, REQUEST_BYTES_MAX, SELECTION_BYTES_MAX, StoredDeadLetter,
    StoredLetter,
};
pub use crate::done::{DoneKey, DoneKeys};
pub use crate::error::{AppendError, EntryError, Fault, ReadError, Refusal, RequestError};
pub use crate::export::{Damaged, Export, ExportError, Exported, Exporting};
pub use crate::figures::{Commit, Figures};
pub use crate::import::{
    BAD_LISTED, BadLine, BadLines, Import, ImportCause, ImportError, Imported, Importing, LINE_BYTES_MAX,
    LineError,
};
pub use crate::open::OpenError;
pub use crate::options::{StoreOptions, stream_problems};
pub use crate::read::{Page, ReadLimits};
pub use crate::schedule::{
    Fired, OnFired, OnRecurred, OnUnscheduled, Recurring, Rest, SCHEDULE_NAME_BYTES_MAX, Scheduled,
    ScheduledPage,
};
pub use crate::settle::{
    DeadLetter, OnRegistered, OnSettled, Parked, Place, Registered, SUBSCRIPTION_NAME_BYTES_MAX, Settlement,
};
pub use crate::snapshot::Snapshot;
pub use crate::standing::StoredSubscription;
pub use crate::store::{Busy, REQUESTS_MAX, Store, Unsettled};
pub use crate::stream::{
    AtCap, CAP_BYTES_MIN, PARTITIONS_MAX, Retention, STREAM_NAME_BYTES_MAX, Stream, StreamProblem,
    partition_of,
};
pub use crate::table::{
    AsTableKey, KeyPart, ReadTables, TABLE_KEY_BYTES_MAX, TABLE_VALUE_BYTES_MAX, Table, TableEntries,
    TableId, TableKey, WriteTables,
};
pub use crate::tail::StoredEvent;
pub use crate::transact::{
    OnTransacted, Recorded, TX_BYTES_MAX, TX_MILLIS_MAX, TX_MILLIS_WAITED_MAX, TransactError, Tx, TxError,
    Work,
};
pub use crate::verify::{DAMAGE_LISTED, Verified, Verifying};

/// The README's code compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
