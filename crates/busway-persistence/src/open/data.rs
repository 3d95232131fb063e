//! The data file as it lies there: opened, locked and checked, before LMDB is let near it.

use std::path::Path;

use super::lock::Held;
use super::preflight::{self, Header};
use super::{OpenError, files};

/// The name that LMDB gives its data file.
pub(super) const NAME: &str = "data.mdb";
/// The name that LMDB gives its lock file.
pub(super) const LOCK_NAME: &str = "lock.mdb";

/// A data file that may be mapped. It is locked for as long as this lives.
///
/// The lock is one more `flock`, on the file itself: two directories may hold the same file by a hard link (a copy
/// by `cp -l`), and then each of them has a lock file of its own. LMDB takes its locks on `lock.mdb` only, so that
/// opening, locking and closing this file interferes with none of them.
#[derive(Debug)]
pub(super) struct Data {
    _held: Held,
    pub(super) header: Header,
}

impl Data {
    /// Takes the data file of `dir`.
    ///
    /// # Errors
    ///
    /// [`OpenError::DataMissing`], [`OpenError::DataEmpty`] or [`OpenError::DataDamaged`] if LMDB must not map it,
    /// [`OpenError::Locked`] if another store does.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(NAME);
        let Some(file) = files::open(&path)? else { return Err(OpenError::DataMissing { path }) };
        let held = match Held::take(file) {
            Ok(Ok(held)) => held,
            Ok(Err(_)) => return Err(OpenError::Locked { path, pid: None }),
            Err(error) => return Err(OpenError::io(&path, "lock", error)),
        };
        let header = preflight::check(held.file(), &path)?;
        Ok(Self { _held: held, header })
    }

    /// The page size of a data file that may be mapped.
    pub(super) fn page_size(path: &Path) -> Result<u32, OpenError> {
        let Some(file) = files::open(path)? else {
            return Err(OpenError::DataMissing { path: path.to_owned() });
        };
        Ok(preflight::check(&file, path)?.page_size)
    }

    /// Removes what LMDB made in `dir`, durably. Only for a store whose manifest says that it was never finished.
    pub(super) fn remove(dir: &Path) -> Result<(), OpenError> {
        files::remove(&dir.join(NAME))?;
        files::remove(&dir.join(LOCK_NAME))?;
        files::sync_directory(dir)
    }
}
