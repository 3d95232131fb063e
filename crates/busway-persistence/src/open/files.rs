//! How a store's own small files are opened, created, replaced and made durable. Nothing else here opens files.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::OpenError;

/// The bits of a new file: a log is nobody else's to read. LMDB (through heed) makes its own files the same way.
const MODE: u32 = 0o600;

/// Opens a file that must be there, to read it and to lock it; `None` if it is not there.
///
/// It is opened for writing as well, although nothing is written, so that a file which LMDB could not open for
/// writing is found out here, by name.
pub(super) fn open(path: &Path) -> Result<Option<File>, OpenError> {
    absent_is_none(open_with(path, OpenOptions::new().read(true).write(true)), path, "open")
}

/// Opens a file to read and write it, and creates it if it is not there. What is in it stays.
pub(super) fn open_or_create(path: &Path) -> Result<File, OpenError> {
    open_with(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))
        .map_err(|error| OpenError::io(path, "open", error))
}

/// Creates a file that must not be there.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    open_with(path, OpenOptions::new().read(true).write(true).create_new(true))
}

/// Makes a file empty, and makes it if it is not there. Nothing is synced.
pub(super) fn create(path: &Path) -> io::Result<File> {
    open_with(path, OpenOptions::new().write(true).create(true).truncate(true))
}

/// The first `limit` bytes of a file; `None` if it is not there.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, OpenError> {
    use io::Read as _;

    let opened = open_with(path, OpenOptions::new().read(true));
    let Some(file) = absent_is_none(opened, path, "open")? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(|error| OpenError::io(path, "read", error))?;
    Ok(Some(bytes))
}

/// Makes `bytes` the content of `path`, durably and all at once: after a crash at any point the file has its old
/// content or the new one. `beside` is a name in the same directory that is used on the way and is gone afterwards.
pub(super) fn replace(path: &Path, beside: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let file = open_with(beside, OpenOptions::new().write(true).create(true).truncate(true))
        .map_err(|error| OpenError::io(beside, "create", error))?;
    file.write_all_at(bytes, 0).map_err(|error| OpenError::io(beside, "write", error))?;
    // Before the rename: otherwise the new name can survive a power cut that its bytes do not.
    file.sync_all().map_err(|error| OpenError::io(beside, "sync", error))?;
    fs::rename(beside, path).map_err(|error| OpenError::io(path, "replace", error))?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Removes a file and says nothing if it is not there.
pub(super) fn remove(path: &Path) -> Result<(), OpenError> {
    absent_is_none(fs::remove_file(path), path, "remove").map(|_| ())
}

/// Makes durable which names are in a directory; a file's own sync does not.
pub(super) fn sync_directory(path: &Path) -> Result<(), OpenError> {
    open_with(path, OpenOptions::new().read(true))
        .and_then(|directory| directory.sync_all())
        .map_err(|error| OpenError::io(path, "sync", error))
}

#[expect(clippy::disallowed_methods, reason = "this file owns the opening of a store's files")]
fn open_with(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.mode(MODE).open(path)
}

fn absent_is_none<T>(
    result: io::Result<T>,
    path: &Path,
    doing: &'static str,
) -> Result<Option<T>, OpenError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::io(path, doing, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_has_the_new_content_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, beside) = (dir.path().join("manifest"), dir.path().join("manifest.new"));
        fs::write(&beside, "left by a crash, and longer than what comes").unwrap();
        replace(&path, &beside, b"one").unwrap();
        replace(&path, &beside, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(!beside.exists());
    }

    #[test]
    fn what_is_absent_is_no_error_and_what_is_no_file_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("absent");
        assert!(open(&path).unwrap().is_none());
        assert!(read(&path, 10).unwrap().is_none());
        remove(&path).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(&error, OpenError::Io { doing: "open", .. }), "{error:?}");
    }

    #[test]
    fn no_more_is_read_than_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        fs::write(&path, [7; 100]).unwrap();
        assert_eq!(read(&path, 10).unwrap().unwrap(), [7; 10]);
    }
}
