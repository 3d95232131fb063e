//! Why an archive ends, and what is wrong with one.

use std::io;
use std::path::{Path, PathBuf};

use crate::export::ExportError;

/// Why archiving ended early. Files that have their names are whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The store holds no such audit stream, or the program did not bring its key.
    #[error("the store holds no audit stream \"{stream}\" whose key is at hand; declare it with .audit(..)")]
    NotAudited {
        /// The name that was given.
        stream: String,
    },
    /// Retention has removed records that were not archived.
    #[error(
        "partition {partition} of stream {stream} was archived up to offset {archived}, and begins at {first} now; archive into a new folder"
    )]
    Gap {
        /// The stream.
        stream: String,
        /// The partition in it.
        partition: u16,
        /// The offset behind the last one in the folder.
        archived: u64,
        /// The first one in the store.
        first: u64,
    },
    /// The newest file in the folder is not what this stream wrote there.
    #[error("{}: not the archive of this stream: {reason}; archive into a folder of its own", .path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Another archiving of the stream into this folder is under way, in this process or another one. Nothing was done.
    #[error(
        "{}: stream {stream} is being archived there already; wait until that has ended, or archive into a folder of its own",
        .folder.display()
    )]
    Busy {
        /// The folder.
        folder: PathBuf,
        /// The stream.
        stream: String,
    },
    /// A file or the folder cannot be read or written.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The records cannot be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// What the store says of its chain cannot be read; or [`ReadError::Corrupt`](crate::error::ReadError::Corrupt): something in the store or the
    /// folder tells that the chain began before the place where it is said to begin.
    #[error(transparent)]
    Chain(#[from] crate::error::ReadError),
}

impl ArchiveError {
    pub(super) fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), doing, source }
    }
}

/// What is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", .path.display())]
pub struct ArchiveProblem {
    /// The file, or the folder when one is missing.
    pub path: PathBuf,
    /// What does not fit.
    pub reason: String,
}
