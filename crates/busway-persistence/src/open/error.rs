//! Why a store could not be opened, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::corrupt::Corrupt;
use crate::stream::StreamProblem;

/// Why a store was not opened. Nothing that was stored is touched by any of these.
///
/// The text names the path, says what is wrong with it and ends with the remedy. Every fault here is an error of
/// the caller's surroundings, found before the file was mapped: none of them can turn into a signal later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another open store holds the directory: in another process, or in this one.
    #[error("{}: the store is open in {}; stop it, or give this process another directory", .path.display(), owner(*.pid))]
    Locked {
        /// The file whose lock is held.
        path: PathBuf,
        /// The process that holds it, as it wrote itself; `None` if it has not written it (yet).
        pid: Option<u32>,
    },
    /// The directory or a file in it cannot be written by this process. Nothing was created.
    #[error("{}: not writable by this process; give it the right to write there, mount the file system read-write, or choose another directory", .path.display())]
    ReadOnly {
        /// What cannot be written.
        path: PathBuf,
    },
    /// The directory lies on a file system whose memory maps or locks are not those of one machine. Nothing was
    /// created.
    #[error("{}: lies on {kind}, where a memory-mapped store can lose data or kill its process; choose a directory on a local disk", .path.display())]
    NetworkFileSystem {
        /// The directory, or the nearest one above it that exists.
        path: PathBuf,
        /// The kind of file system: `nfs`.
        kind: &'static str,
    },
    /// Too little free space to begin with.
    #[error("{}: {free} bytes are free on its file system and {needed} are needed; free some, or choose another directory", .path.display())]
    NoSpace {
        /// What was to be placed there.
        path: PathBuf,
        /// Bytes free for this process.
        free: u64,
        /// Bytes asked for.
        needed: u64,
    },
    /// An LMDB data file without the manifest of a store: it belongs to another program, or the manifest was lost.
    /// Nothing was created.
    #[error("{}: an LMDB file without a manifest, so not known to be a busway store; restore the file `manifest` beside it from a backup, or choose another directory", .path.display())]
    Foreign {
        /// The data file.
        path: PathBuf,
    },
    /// A backup that was cut short. Nothing was created, and the directory holds nothing that is not in the store.
    #[error("{}: a backup that was never finished; remove what is in it and make it again", .path.display())]
    BackupCutShort {
        /// The directory.
        path: PathBuf,
    },
    /// A directory that holds something else. Nothing was created.
    #[error("{}: not a busway store, it holds {}; choose an empty directory, or one that does not exist", .path.display(), .found.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// The name of one thing in it that is not ours.
        found: PathBuf,
    },
    /// The manifest says that a store was here, and its data file is gone.
    #[error("{}: missing, although the manifest beside it says that a store was here; restore the file from a backup, or choose another directory to begin anew", .path.display())]
    DataMissing {
        /// Where the data file should be.
        path: PathBuf,
    },
    /// The manifest says that a store was here, and its data file has no bytes.
    #[error("{}: empty, although the manifest beside it says that a store was here; restore the file from a backup, or choose another directory to begin anew", .path.display())]
    DataEmpty {
        /// The data file.
        path: PathBuf,
    },
    /// The data file cannot be mapped safely: its header, or a page that it leads to, is not what was written.
    #[error("{}: damaged: {reason}; keep a copy of it, and restore the file from a backup", .path.display())]
    DataDamaged {
        /// The data file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The store was written by a newer version of busway.
    #[error("{}: the store has format {found} and this version of busway reads up to {known}; use a newer version", .path.display())]
    NewerFormat {
        /// The manifest.
        path: PathBuf,
        /// The format that the store has.
        found: u16,
        /// The newest format that this version reads.
        known: u16,
    },
    /// The manifest is not what was written.
    #[error("{}: damaged: {reason}; restore it from a backup of this same store", .path.display())]
    ManifestDamaged {
        /// The manifest.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The data file holds another store than its manifest says, or none.
    #[error("{}: the data file is not that of the store that its manifest names; restore both from one backup", .path.display())]
    OtherStore {
        /// The directory.
        path: PathBuf,
    },
    /// Something is wrong with the streams. Nothing was made or changed.
    #[error("{}: {}", .path.display(), list(problems))]
    Streams {
        /// The directory.
        path: PathBuf,
        /// All that is wrong, each with the name of its stream.
        problems: Vec<(String, StreamProblem)>,
    },
    /// The rows that say what the store holds cannot be trusted.
    #[error("{}: {corrupt}; keep a copy of the store, and restore it from a backup", .path.display())]
    Corrupt {
        /// The directory.
        path: PathBuf,
        /// What is damaged.
        corrupt: Corrupt,
    },
    /// LMDB refused something.
    #[error("cannot {doing} the store in {}: {reason}; check its file system and the device below", .path.display())]
    Lmdb {
        /// The directory.
        path: PathBuf,
        /// What was being done: `map`.
        doing: &'static str,
        /// What it said.
        reason: String,
    },
    /// The operating system refused something; the source says why.
    #[error("cannot {doing} {}; check the path, its file system and the device below", .path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What was being done: `read`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether trying again later, with nothing repaired, can succeed: the owner may close, space may come back.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::NoSpace { .. })
    }

    /// An error of the operating system at `path`; a refusal to write is [`ReadOnly`](Self::ReadOnly).
    pub(super) fn io(path: &Path, doing: &'static str, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.to_owned(), source.into());
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly { path },
            _ => Self::Io { path, doing, source },
        }
    }

    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::DataDamaged { path: path.to_owned(), reason: reason.into() }
    }
}

fn list(problems: &[(String, StreamProblem)]) -> String {
    let lines = problems.iter().map(|(stream, problem)| format!("stream \"{stream}\": {problem}"));
    lines.collect::<Vec<_>>().join("; ")
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn an_error_names_the_path_and_ends_with_the_remedy() {
        let locked = OpenError::Locked { path: "/x/busway.lock".into(), pid: Some(1234) };
        assert_eq!(
            locked.to_string(),
            "/x/busway.lock: the store is open in process 1234; stop it, or give this process another directory"
        );
        assert!(locked.is_transient());
        let unnamed = OpenError::Locked { path: "/x/busway.lock".into(), pid: None };
        assert!(unnamed.to_string().contains("open in another process; stop it"));
    }

    #[test]
    fn the_cause_is_the_source_and_is_not_said_twice() {
        let error = OpenError::io(Path::new("/x/manifest"), "read", io::Error::other("the disk is gone"));
        assert_eq!(
            error.to_string(),
            "cannot read /x/manifest; check the path, its file system and the device below"
        );
        assert_eq!(error.source().unwrap().to_string(), "the disk is gone");
        assert!(!error.is_transient());
    }

    #[test]
    fn a_refusal_to_write_is_told_apart_from_a_broken_disk() {
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem] {
            let error = OpenError::io(Path::new("/x"), "create", kind);
            assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
        }
    }
}
