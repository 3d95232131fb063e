//! Verifying an archive, without its store.

use std::io::BufReader;
use std::path::Path;

use busway_event::cloudevents::{Import, from_json_line};

use super::error::{ArchiveError, ArchiveProblem};
use super::files::{self, Named};
use super::seal::{self, Seal};
use crate::audit::chain::Hashing;
use crate::audit::head::unhex;
use crate::audit::key::AuditKey;

/// What a verification of an archive found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifiedArchive {
    /// Files that are as they were written, and follow the one before.
    pub files: u64,
    /// Records in them.
    pub records: u64,
    /// All that does not fit.
    pub problems: Vec<ArchiveProblem>,
    /// How far it goes, partition by partition. That files are missing at the end is seen by this alone: compare with a head, or with the
    /// store.
    pub ends: Vec<ArchiveEnd>,
}

/// The end of an archive for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveEnd {
    /// The stream.
    pub stream: String,
    /// The partition in it.
    pub partition: u16,
    /// The first record of the first file. An archive whose first files were moved away begins later.
    pub first: u64,
    /// The last record.
    pub last: u64,
    /// The chain behind that: the same as in a head of that record.
    pub chain: [u8; 32],
}

impl VerifiedArchive {
    /// Whether all that is there is as it was written, and nothing is missing in between.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks every file of an archive: each line by the seal of its file, each file by the one after it. `key` is that of the streams
/// in it; all are taken to have the same, or none. Memory: a line.
///
/// Who has no key and rewrites files of a stream without one makes them fit again: keep the chain of a head, or the files, where nobody
/// can write.
///
/// # Errors
/// [`ArchiveError::Io`]: the folder or a file cannot be read. What is altered, missing or out of order is part of what it finds.
pub fn verify_archive(
    folder: impl AsRef<Path>,
    key: Option<&AuditKey>,
) -> Result<VerifiedArchive, ArchiveError> {
    let folder = folder.as_ref();
    let hashing = Hashing::new(key.cloned());
    let mut verified = VerifiedArchive::default();
    let mut before: Option<(Named, Option<Seal>)> = None;
    for file in files::list(folder).map_err(|error| ArchiveError::io(folder, "list", error))? {
        let same = before
            .take()
            .filter(|(last, _)| (&last.stream, last.partition) == (&file.stream, file.partition));
        let seal = check(&file, &hashing, &mut verified)?;
        if let Some(seal) = &seal {
            follow(&file, seal, same.as_ref(), &mut verified);
        }
        before = Some((file, seal));
    }
    Ok(verified)
}

/// Checks a file by itself.
fn check(
    file: &Named,
    hashing: &Hashing,
    verified: &mut VerifiedArchive,
) -> Result<Option<Seal>, ArchiveError> {
    let path = &file.path;
    let failed = |error| ArchiveError::io(path, "read", error);
    let mut reader = BufReader::new(files::open(path).map_err(failed)?);
    let (mut wrong, mut number) = (None, 0_u64);
    let read = seal::read(&mut reader, |line| {
        // Where there is no such offset the file is found to be none below.
        let next = file.first.saturating_add(number);
        number += 1;
        let origin = from_json_line(line, &Import::new()).ok().and_then(|(_, origin)| origin);
        let fits = origin.is_some_and(|origin| {
            (origin.stream.as_str(), origin.partition, origin.offset) == (&file.stream, file.partition, next)
        });
        if !fits && wrong.is_none() {
            wrong = Some(format!("line {number} is not that of record {next}"));
        }
    });
    let mut problem = |reason: String| verified.problems.push(ArchiveProblem { path: path.clone(), reason });
    let (seal, lines) = match read.map_err(failed)? {
        Ok(read) => read,
        Err(reason) => {
            problem(reason);
            return Ok(None);
        }
    };
    // The last offset that there can be is that of no record: nothing could follow.
    let end = seal.last.checked_add(1);
    let named =
        (seal.stream.as_str(), seal.partition, seal.first) == (&file.stream, file.partition, file.first);
    if !seal.is_whole(hashing) {
        problem("its seal does not fit: it was altered, or made with another key".to_owned());
        return Ok(None);
    }
    if !named {
        problem(format!("it is that of {}-{}-{}: it was renamed", seal.stream, seal.partition, seal.first));
    } else if let Some(reason) = wrong {
        problem(reason);
    } else if !seal.holds(&lines) {
        problem("its lines are not those that were sealed: some were altered".to_owned());
    } else if end.is_none() {
        problem(format!("its records from {} to {} have no end", seal.first, seal.last));
    } else if end != file.first.checked_add(number) || seal.count != number {
        problem(format!("it has {number} lines, and {} were sealed", seal.count));
    } else {
        verified.files += 1;
        verified.records += seal.count;
    }
    Ok(Some(seal))
}

/// Checks that a file follows the one before.
fn follow(file: &Named, seal: &Seal, before: Option<&(Named, Option<Seal>)>, verified: &mut VerifiedArchive) {
    let chain = unhex(&seal.chain).unwrap_or_default();
    let Some((_, before)) = before else {
        let Seal { stream, partition, first, last, .. } = seal.clone();
        verified.ends.push(ArchiveEnd { stream, partition, first, last, chain });
        return;
    };
    // What is wrong with the one before was told.
    if let Some(before) = before
        && (before.last.checked_add(1) != Some(seal.first) || before.proof != seal.previous)
    {
        let reason = match before.last.checked_add(1) {
            Some(next) if next < seal.first => {
                format!("the files with records {next} to {} are missing", seal.first - 1)
            }
            _ => "it does not follow the file before: one of the two was made anew".to_owned(),
        };
        verified.problems.push(ArchiveProblem { path: file.path.clone(), reason });
    }
    if let Some(end) = verified.ends.last_mut() {
        (end.last, end.chain) = (seal.last, chain);
    }
}
