//! Audit streams: streams whose records cannot be altered, removed or reordered without [`verify`](crate::Store::verify) finding it,
//! and which retention leaves alone for a term.
//!
//! # The chain
//! Each record has a hash of everything in it, made by the publisher's thread. The writer adds, in the commit that
//! stores a run of records, one *link* a partition: the hash of the link before and of each record's place and hash. So a link
//! says something about every record before it. Records themselves are what they are in any stream.
//!
//! *Heads* are links with a time and a proof, made every so many records or so often. Kept where the store is not they bind whoever
//! can write to the store: nothing before them can be changed unseen.
//!
//! # What is found, and what is not
//!
//! | somebody who can write to the file, and makes all checksums fit, | without a key | with a key, that he does not have |
//! |---|---|---|
//! | alters, removes, adds or reorders records | found | found |
//! | and makes links and heads anew too | found against a head kept elsewhere | found |
//! | removes the newest records with their links and heads, or puts an older copy of the store in its place | found against a head kept elsewhere | found against a head kept elsewhere |
//! | removes the oldest segments, as retention does | found against a head kept elsewhere, when the stream keeps everything | found |
//! | moves the place where the chain begins | found, unless all links and heads before it are removed: then against a head kept elsewhere | the same |
//!
//! Who has the key, or is asked to store a lie in the first place, is found by nobody.
//!
//! # Retention
//! It removes whole segments, and nothing younger than the term. Links are cut where segments end, so that what is left begins behind
//! a link; that link stays, and a *floor*, proved by the key, says that it was retention.
//!
//! # A crash
//! Links, heads and floors are written in the transaction of what they are about: there is no state in between.

mod archive;
mod chain;
mod head;
mod heads;
mod key;
mod opening;
mod rows;
mod runs;
mod start;
mod verify;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::archive::{
    ARCHIVE_RECORDS, Archive, ArchiveEnd, ArchiveError, ArchiveProblem, Archived, Archiving, VerifiedArchive,
    verify_archive,
};
pub(crate) use self::chain::Hash;
pub use self::head::{AuditHead, AuditHeadError};
pub use self::key::AuditKey;
pub(crate) use self::opening::{Audited, plan, problem, store_rows, tips};
pub(crate) use self::rows::AuditRow;
pub(crate) use self::runs::{Runs, Tip, removed, take, write};
pub(crate) use self::verify::ChainCheck;
pub use self::verify::VerifiedAudit;

/// How a stream is audited. The term and the key belong to the stream for ever: a later opening may raise the term, and has to bring
/// the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    pub(crate) term: Option<Duration>,
    pub(crate) key: Option<AuditKey>,
    pub(crate) head_records: u64,
    pub(crate) head_age: Duration,
}

impl Audit {
    /// Records are kept for a time at least, by the time at which the store took them. Whether they go afterwards is said by the stream's
    /// retention, which by itself keeps everything.
    #[must_use]
    pub const fn keep(term: Duration) -> Self {
        Self { term: Some(term), key: None, head_records: HEAD_RECORDS, head_age: HEAD_AGE }
    }

    /// Records are kept for ever.
    #[must_use]
    pub const fn forever() -> Self {
        Self { term: None, key: None, head_records: HEAD_RECORDS, head_age: HEAD_AGE }
    }

    /// The key that chain, heads and archive are made with. Default: none, see the module's table for what that costs.
    pub fn key(mut self, key: AuditKey) -> Self {
        self.key = Some(key);
        self
    }

    /// How often a head is made: after so many records (1 at least), or when the last one is so old and there is something new.
    /// Default [`HEAD_RECORDS`] and [`HEAD_AGE`].
    pub const fn heads(mut self, records: u64, age: Duration) -> Self {
        self.head_records = if records == 0 { 1 } else { records };
        self.head_age = age;
        self
    }

    /// The term as it is stored: nanoseconds, the largest number for ever.
    pub(crate) fn term_nanos(&self) -> u64 {
        self.term.map_or(u64::MAX, |term| u64::try_from(term.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Told of each new head.
pub(crate) type OnHead = Box<dyn Fn(&AuditHead) + Send + Sync>;

/// Records between two heads.
pub const HEAD_RECORDS: u64 = 10_000;
/// Time between two heads.
pub const HEAD_AGE: Duration = Duration::from_secs(60);
