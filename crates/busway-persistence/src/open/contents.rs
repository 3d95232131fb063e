//! What is in a directory that has no manifest: nothing, or something that is not ours to touch.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use super::{OpenError, data, lock, manifest, target};

/// What a directory without a manifest may hold and still become a store: what a store's own creation leaves when it
/// is cut short, and what a fresh ext4 volume has.
const IGNORED: [&str; 3] = [lock::NAME, manifest::NEW_NAME, "lost+found"];

/// Refuses a directory that has no manifest and is not empty. Creates nothing; one that does not exist passes.
pub(super) fn refuse_strangers(dir: &Path) -> Result<(), OpenError> {
    let Some(mut names) = names(dir)? else { return Ok(()) };
    if names.iter().any(|name| name == manifest::NAME) {
        return Ok(());
    }
    if names.iter().any(|name| target::PARTIAL.iter().any(|partial| name == partial)) {
        return Err(OpenError::BackupCutShort { path: dir.to_owned() });
    }
    if names.iter().any(|name| name == data::NAME) {
        return Err(OpenError::Foreign { path: dir.join(data::NAME) });
    }
    names.retain(|name| !IGNORED.iter().any(|ignored| name == ignored));
    // The order of a directory is nobody's: the same directory gives the same message.
    match names.into_iter().min() {
        Some(found) => Err(OpenError::NotAStore { path: dir.to_owned(), found: found.into() }),
        None => Ok(()),
    }
}

/// The names in a directory; `None` when it is not there.
pub(super) fn names(dir: &Path) -> Result<Option<Vec<OsString>>, OpenError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io(dir, "list", error)),
    };
    let names: io::Result<_> = entries.map(|entry| Ok(entry?.file_name())).collect();
    names.map(Some).map_err(|error| OpenError::io(dir, "list", error))
}
