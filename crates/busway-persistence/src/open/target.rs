//! A directory that becomes a copy of a store: how its files get their names. The crash points: see [`backup`](crate::backup).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::data::{self, Data};
use super::manifest::{self, Manifest, Progress};
use super::site::Site;
use super::{OpenError, files, space};
use crate::backup::{BackupError, remove_partial};

/// The data while it is copied.
const DATA: &str = "data.mdb.partial";
/// The manifest before the data has its name.
const MANIFEST: &str = "manifest.partial";
/// What tells, without a manifest, that a backup was cut short.
pub(super) const PARTIAL: [&str; 2] = [DATA, MANIFEST];

/// An empty directory, or the place of one. Any file system will do: nothing is mapped here.
#[derive(Debug)]
pub(crate) struct Target {
    site: Site,
}

/// A copy that is being made.
#[derive(Debug)]
pub(crate) struct Started {
    dir: PathBuf,
    file: File,
}

impl Target {
    /// Finds the directory. Makes nothing.
    pub(crate) fn find(dir: &Path) -> Result<Self, BackupError> {
        let site = Site::find(dir)?;
        match first_of(&site.dir)? {
            Some(found) => Err(BackupError::NotEmpty { path: site.dir, found: found.into() }),
            None => Ok(Self { site }),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.site.dir
    }

    /// Bytes that are free there, if the file system tells.
    pub(crate) fn free(&self) -> Option<u64> {
        space::free_bytes(&self.site.ground)
    }

    /// Makes the directory and the file to be copied into.
    pub(crate) fn start(&self) -> Result<Started, BackupError> {
        let dir = self.site.make()?;
        let path = dir.join(DATA);
        match files::create_new(&path) {
            Ok(file) => Ok(Started { dir, file }),
            // Another backup was quicker.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(BackupError::NotEmpty { path: dir, found: DATA.into() })
            }
            Err(error) => Err(OpenError::io(&path, "create", error).into()),
        }
    }
}

impl Started {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes a store of it, durably. The data was synced.
    pub(crate) fn finish(&self, store_id: Uuid) -> Result<(), OpenError> {
        let (data, manifest) = (self.dir.join(data::NAME), self.dir.join(manifest::NAME));
        let page_size = Some(Data::page_size(&self.dir.join(DATA))?);
        let bytes = Manifest { progress: Progress::Ready, store_id, page_size }.encode();
        files::replace(&self.dir.join(MANIFEST), &self.dir.join(manifest::NEW_NAME), &bytes)?;
        let failed = |path: &Path, error| OpenError::io(path, "rename", error);
        fs::rename(self.dir.join(DATA), &data).map_err(|error| failed(&data, error))?;
        files::sync_directory(&self.dir)?;
        fs::rename(self.dir.join(MANIFEST), &manifest).map_err(|error| failed(&manifest, error))?;
        files::sync_directory(&self.dir)
    }

    /// Takes back what was made. The manifest goes first: without it nothing here is a store.
    pub(crate) fn give_up(&self) {
        let names = [manifest::NAME, MANIFEST, manifest::NEW_NAME, data::NAME, DATA];
        remove_partial(&names.map(|name| self.dir.join(name)));
    }
}

/// The first name in a directory; `None` when it is empty or not there.
fn first_of(dir: &Path) -> Result<Option<OsString>, OpenError> {
    let names = super::contents::names(dir)?.unwrap_or_default();
    Ok(names.into_iter().filter(|name| name != "lost+found").min())
}
