//! Archive: an audit stream as files of sealed JSON Lines, ready for object storage.
//!
//! A folder holds files `<stream>-<partition>-<first offset>.jsonl`. A file has the lines of an export, and a last line that seals it:
//! which records it holds, the hash of its lines, the chain of the stream behind them, and the seal of the file before. A
//! file that has its name is whole and is never changed again; copy it away and remove it here if you like, but for the newest of each
//! partition, with which the next one goes on.
//!
//! # One at a time
//! Who archives a stream holds the lock of `<stream>.lock` in the folder; another one, of any process, is [`ArchiveError::Busy`]. Both would
//! write the same `….jsonl.partial`, and one of them name what the other has not finished. The file stays; the kernel gives the lock
//! back however its owner ends.
//!
//! # A crash
//!
//! | crash after | what is there | the next archiving |
//! |---|---|---|
//! | making `….jsonl.partial` | that, whole or not | writes it anew |
//! | its renaming | the file, whole: it was synced before | goes on behind it |
//!
//! The name is durable when the call returns.

mod error;
mod files;
mod seal;
mod verify;
mod writing;

#[cfg(test)]
mod tests;

pub use self::error::{ArchiveError, ArchiveProblem};
pub use self::verify::{ArchiveEnd, VerifiedArchive, verify_archive};
pub use self::writing::{ARCHIVE_RECORDS, Archive, Archived, Archiving};
