//! The files of an archive: how they get their names, and in which order they are found.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::open::Held;

/// A file by what its name says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) stream: String,
    pub(super) partition: u16,
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

/// The files of a folder, by stream, partition and first offset. What has another name is none.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Named>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let named = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|stem| {
            let (rest, first) = stem.rsplit_once('-')?;
            let (stream, partition) = rest.rsplit_once('-')?;
            let (partition, first) = (partition.parse().ok()?, first.parse().ok()?);
            Some(Named { stream: stream.to_owned(), partition, first, path: entry.path() })
        });
        found.extend(named);
    }
    found.sort();
    Ok(found)
}

/// The name of a file: offsets in 20 digits, so that names lie in their order.
pub(super) fn path_of(folder: &Path, stream: &str, partition: u16, first: u64) -> PathBuf {
    folder.join(format!("{stream}-{partition}-{first:020}{SUFFIX}"))
}

/// Makes the folder, durably.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    match folder.canonicalize()?.parent() {
        Some(above) => sync_directory(above),
        None => Ok(()),
    }
}

/// Takes the lock of who archives a stream into a folder. `None`: another one has it. Its file stays: who removed it would let two in.
#[expect(clippy::disallowed_methods, reason = "this file owns the opening of an archive's files")]
pub(super) fn lock(folder: &Path, stream: &str) -> io::Result<Option<Held>> {
    let path = folder.join(format!("{stream}.lock"));
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    Ok(Held::take(file)?.ok())
}

/// A file that has no name yet.
pub(super) struct Unnamed {
    file: io::BufWriter<File>,
    path: PathBuf,
}

impl Unnamed {
    /// Takes the place of what an earlier one left.
    #[expect(clippy::disallowed_methods, reason = "this file owns the opening of an archive's files")]
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let partial = path.with_extension("jsonl.partial");
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&partial)?;
        Ok(Self { file: io::BufWriter::new(file), path: partial })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Gives it its name, durably: whole, or not at all.
    pub(super) fn name(self, path: &Path) -> io::Result<()> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&self.path, path)?;
        path.parent().map_or(Ok(()), sync_directory)
    }
}

#[expect(clippy::disallowed_methods, reason = "this file owns the opening of an archive's files")]
pub(super) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    open(path)?.sync_all()
}

const SUFFIX: &str = ".jsonl";
