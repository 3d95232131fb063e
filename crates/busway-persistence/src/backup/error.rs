//! Why there is no backup.

use std::path::PathBuf;

use crate::open::OpenError;

/// Why no backup was made. What was begun of it has been removed again; the store is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The directory holds something already. A backup never replaces another one.
    #[error("{}: it holds {} already; choose an empty directory, or one that does not exist", .path.display(), .found.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// The name of one thing in it.
        found: PathBuf,
    },
    /// The directory cannot be written to, or has too little room.
    #[error(transparent)]
    Target(#[from] OpenError),
    /// The store cannot be read.
    #[error("{}: the store cannot be copied: {reason}", .path.display())]
    Copy {
        /// The store.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}
