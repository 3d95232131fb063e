//! Backup: a copy of the store into a directory of its own, while the store is in use.
//!
//! The copy is what one read transaction sees: all that was committed when it began, in every stream, cursor and table at once. It
//! is the file as it is, page by page, so it takes as long as reading the file and writing it again, and its free pages come along.
//! It is opened like any store, and has the store's identity: it *is* that store, as it was.
//!
//! # What it costs while it runs
//! - Pages that a commit lets go while the copy is made are not used again until it is done: the file grows by what is written
//!   meanwhile, as with any reader that stays.
//! - The map cannot grow. It is given room for as much again as the file has before the copy begins, unless somebody else reads for long at
//!   that moment; a store that is written faster than it is copied, beyond that, keeps who writes waiting until the copy is done. Who
//!   reads goes on. Nothing is lost by it.
//! - Another backup waits for it.
//!
//! # A crash
//!
//! | crash after | what is in the target | opened, it is |
//! |---|---|---|
//! | making the directory | nothing | a new store, like any empty directory |
//! | making `data.mdb.partial` | that, whole or not | [`OpenError::BackupCutShort`] |
//! | writing `manifest.partial` | both | the same |
//! | renaming the data | `data.mdb`, `manifest.partial` | the same |
//! | renaming the manifest | a store | a store |
//!
//! Each file is synced before it gets its name, and the directory before the manifest gets its own: no power cut leaves a
//! manifest without its data. A manifest says `ready` and nothing else: what was never finished is told by the names alone.

mod error;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use self::error::BackupError;
use crate::lmdb::Copying;
use crate::open::{OpenError, Target, free_bytes};
use crate::shared::{MAP_STEP, Shared};

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Where it lies, by its one name.
    pub path: PathBuf,
    /// Bytes of its data file.
    pub bytes: u64,
}

impl Shared {
    /// See the module.
    pub(crate) fn backup(&self, to: &Path) -> Result<Backup, BackupError> {
        // Before the look at the directory: the one before it may be for the same.
        let copying = self.gate.begin_copy();
        let target = Target::find(to)?;
        self.make_headroom(&copying).map_err(|error| self.not_copied(&error))?;
        let needed = self.gate.used_bytes();
        if let Some(free) = target.free().filter(|&free| free < needed) {
            return Err(OpenError::NoSpace { path: target.dir().to_owned(), free, needed }.into());
        }
        let mut started = target.start()?;
        let copied = copy(&copying, started.file());
        let copied = copied.map_err(|error| match error {
            heed::Error::Io(error) if is_full(&error) => {
                let free = free_bytes(started.dir()).unwrap_or(0);
                OpenError::NoSpace { path: started.dir().to_owned(), free, needed }.into()
            }
            error => self.not_copied(&error),
        });
        let finished = copied.and_then(|bytes| {
            started.finish(self.store_id)?;
            Ok(Backup { path: started.dir().to_owned(), bytes })
        });
        if finished.is_err() {
            started.give_up();
        }
        finished
    }

    /// Room in the map for as much again as the file has, within the store's limit.
    fn make_headroom(&self, copying: &Copying<'_>) -> heed::Result<()> {
        let used = usize::try_from(self.gate.used_bytes()).unwrap_or(usize::MAX);
        let limit = usize::try_from(self.bytes_max()).unwrap_or(usize::MAX);
        let wanted = used.saturating_mul(2).max(used.saturating_add(HEADROOM_MIN)).min(limit);
        match wanted / MAP_STEP * MAP_STEP {
            wanted if wanted > self.gate.map_size() => copying.make_headroom(wanted),
            _ => Ok(()),
        }
    }

    fn not_copied(&self, error: &heed::Error) -> BackupError {
        BackupError::Copy { path: self.path.clone(), reason: error.to_string() }
    }
}

fn copy(copying: &Copying<'_>, file: &mut File) -> heed::Result<u64> {
    copying.copy(file)?;
    // The directory is made to hold its name by who finishes the target.
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Removes what a backup made, in any order: what is left of it is no store.
pub(crate) fn remove_partial(paths: &[PathBuf]) {
    for path in paths {
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "what a failed backup left could not be removed");
        }
    }
}

#[cfg(test)]
mod tests;

/// A small store is written many times over while it is copied: address space costs nothing.
const HEADROOM_MIN: usize = 1 << 30;
