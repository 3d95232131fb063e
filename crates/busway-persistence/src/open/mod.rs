//! Everything that happens before LMDB maps a store's file.
//!
//! A store is embedded: what goes wrong in it goes wrong in its host. LMDB takes a missing or empty file for a new
//! store, divides by the page size that it finds in a header, and reads beyond the end of a file that was cut, which
//! ends the process by a signal. [`claim`] stands before it: a damaged, foreign, missing or busy store is an
//! [`OpenError`] and nothing else.
//!
//! # A store's directory
//!
//! | name | what | made by |
//! |---|---|---|
//! | `busway.lock` | the lock of the store ([`lock`]); stays when the store is closed | here |
//! | `manifest` | says that a store is here, and which one ([`manifest`]) | here |
//! | `manifest.new` | the next manifest before it takes the name | here |
//! | `data.mdb` | everything that is stored | LMDB |
//! | `busway.open` | there while the store is open, and behind a death ([`life`]) | here |
//! | `lock.mdb` | LMDB's readers and mutexes; means nothing while the store is closed | here, then LMDB |
//!
//! # The sequence
//!
//! 1. Find the directory by its one name ([`site`]). With no manifest and anything in it, stop ([`contents`]).
//! 2. Its file system must be one of this machine, and writable ([`place`]). *Up to here nothing was made.*
//! 3. Make the directory if it is missing, and take the lock. From here on no other store moves in it; what was seen
//!    before is looked at again.
//! 4. Read the manifest. None: look again for strangers, ask for space, and write one that says `creating`, with a new
//!    id. `creating`: whatever LMDB made can be used if it is sound and is removed if not, for nothing in it was ever
//!    acknowledged. `ready`: the data file must be there and sound ([`preflight`]).
//! 5. Give LMDB's lock file its blocks ([`space`]).
//! 6. The caller opens LMDB, commits the store's id, and calls [`Claimed::ready`], which writes `ready`. Only then
//!    does it acknowledge anything.
//!
//! The lock comes after the look at the file system, since taking it makes a file: a refused directory is left as it
//! was found.
//!
//! # What a crash leaves, and what the next opening makes of it
//!
//! | crash after | what is there | next opening |
//! |---|---|---|
//! | making the directory | an empty directory | a fresh store |
//! | taking the lock | `busway.lock`, its lock given back by the kernel | a fresh store |
//! | writing `manifest.new` | that, whole or torn | a fresh store; it is written over |
//! | its renaming | `manifest`, creating | goes on: [`State::Fresh`], with the same id |
//! | making `lock.mdb` | one more file, of no meaning | the same |
//! | LMDB's making of `data.mdb` | any bytes, none synced | the same without them, or [`State::Unfinished`] |
//! | LMDB's first commit | a sound `data.mdb` | [`State::Unfinished`]: the id in it is this one or missing |
//! | writing `manifest.new` again | the same, and that | the same |
//! | its renaming | `manifest`, ready | [`State::Existing`]; from here on nothing is ever removed |
//!
//! A directory that a backup left unfinished is none of these: see [`backup`](crate::backup).
//!
//! A rename is durable once its directory is synced, and LMDB does not sync the directory after making `data.mdb`:
//! [`Claimed::ready`] does, before it writes. So no power cut leaves a `ready` without its data.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use self::data::Data;
use self::life::Life;
pub(crate) use self::lock::Held;
use self::lock::LockFile;
use self::manifest::{Manifest, Progress};
use self::site::Site;

mod contents;
mod data;
mod error;
mod files;
mod host_bytes;
mod life;
#[cfg(test)]
mod lmdb_file;
mod lock;
mod manifest;
mod meta;
#[cfg(test)]
mod mutations;
mod place;
mod preflight;
mod reach;
mod site;
mod space;
mod target;
#[cfg(test)]
mod tests;

pub use self::error::OpenError;
pub(crate) use self::life::Death;
pub(crate) use self::preflight::Header;
pub(crate) use self::space::free_bytes;
pub(crate) use self::target::Target;

/// What a store needs of its surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The readers that LMDB will be opened for.
    pub(crate) max_readers: u32,
    /// Bytes that must be free before a new store is made.
    pub(crate) free_for_new: u64,
    /// Bytes that must be free before an existing store is opened. Small, or 0: a store on a full disk has to open,
    /// so that its consumers can settle and retention can make room.
    pub(crate) free_for_existing: u64,
}

/// What LMDB will find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// No data file. The caller makes it, commits the store's id and calls [`Claimed::ready`].
    Fresh,
    /// A data file whose making was cut short. It has the store's id or none: the caller commits the id in the latter
    /// case and calls [`Claimed::ready`] in both.
    Unfinished(Header),
    /// A data file that must have the store's id in it.
    Existing(Header),
}

/// A directory that is this process's own, and whose data file LMDB can map.
///
/// The lock is given back when this is dropped: drop it after the environment is closed.
#[derive(Debug)]
pub(crate) struct Claimed {
    /// Also of the value that the caller must find in, or write into, the data file.
    pub(crate) store_id: Uuid,
    pub(crate) state: State,
    /// The directory's one name, without symbolic links. Open LMDB by this one.
    pub(crate) dir: PathBuf,
    /// The lock of the data file itself; `None` until there is one.
    data: Option<Data>,
    /// `None` until it is known that the store can be opened. Before the lock: it is removed under that.
    life: Option<Life>,
    _lock: LockFile,
}

/// Takes a store's directory for this process, for as long as the result lives.
///
/// Returns when the directory is locked, its data file (if it should have one) is known to be safe to map, and
/// LMDB's lock file has its blocks. A directory that is missing or empty becomes a fresh store; one that lost its
/// data does not.
///
/// Reads a few hundred bytes of the data file, however large it is, unless it is [short](Header::short): then it
/// reads all pages in use, which takes as long as reading the file.
///
/// # Errors
///
/// Any [`OpenError`]. Of an existing store nothing is changed then; of a directory that is no store, or lies
/// where none may be, nothing is made.
pub(crate) fn claim(dir: &Path, needs: &Needs) -> Result<Claimed, OpenError> {
    let site = Site::find(dir)?;
    contents::refuse_strangers(&site.dir)?;
    place::check(&site.ground)?;
    let dir = site.make()?;
    let lock = LockFile::take(&dir)?;
    let (store_id, state, data) = match Manifest::read(&dir)? {
        None => (begin(&dir, needs)?, State::Fresh, None),
        Some(Manifest { progress: Progress::Creating, store_id, .. }) => match resume(&dir, needs)? {
            Some(data) => (store_id, State::Unfinished(data.header), Some(data)),
            None => (store_id, State::Fresh, None),
        },
        Some(Manifest { progress: Progress::Ready, store_id, page_size }) => {
            let data = existing(&dir, needs, page_size)?;
            (store_id, State::Existing(data.header), Some(data))
        }
    };
    space::allocate_lock_file(&dir.join(data::LOCK_NAME), needs.max_readers)?;
    Ok(Claimed { store_id, state, dir, data, life: None, _lock: lock })
}

/// Writes the first manifest of a new store, and gives its id.
fn begin(dir: &Path, needs: &Needs) -> Result<Uuid, OpenError> {
    contents::refuse_strangers(dir)?;
    space::require(dir, needs.free_for_new)?;
    let store_id = Uuid::new_v4();
    Manifest { progress: Progress::Creating, store_id, page_size: None }.write(dir)?;
    tracing::info!(dir = %dir.display(), %store_id, "a new store");
    Ok(store_id)
}

/// Goes on with a creation that was cut short: with the data file if it is sound, without it otherwise.
fn resume(dir: &Path, needs: &Needs) -> Result<Option<Data>, OpenError> {
    match Data::take(dir) {
        Ok(data) => Ok(Some(data)),
        // Nothing was acknowledged before the manifest became `ready`: there is nothing to lose in this file. Here,
        // and nowhere else, a data file is removed.
        Err(OpenError::DataMissing { .. } | OpenError::DataEmpty { .. } | OpenError::DataDamaged { .. }) => {
            space::require(dir, needs.free_for_new)?;
            Data::remove(dir)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The data file of a store that was finished.
fn existing(dir: &Path, needs: &Needs, page_size: Option<u32>) -> Result<Data, OpenError> {
    let data = Data::take(dir)?;
    let found = data.header.page_size;
    if let Some(page_size) = page_size.filter(|size| *size != found) {
        let reason = format!("a page size of {found}, the manifest says {page_size}");
        return Err(OpenError::damaged(&dir.join(data::NAME), reason));
    }
    space::require(dir, needs.free_for_existing)?;
    Ok(data)
}

impl Claimed {
    /// Declares the store finished, durably: from now on a missing or damaged data file is an error. Call it when
    /// LMDB has committed the store's id, and acknowledge nothing before. Does nothing for an existing store.
    ///
    /// # Errors
    ///
    /// What [`claim`] would say of the data file, if LMDB did not leave one that it could open again; the store stays
    /// unfinished then.
    pub(crate) fn ready(&mut self) -> Result<(), OpenError> {
        if matches!(self.state, State::Existing(_)) {
            return Ok(());
        }
        // The lock goes first: it is the same file, and this process would be refused by itself.
        self.data = None;
        let data = Data::take(&self.dir)?;
        // LMDB synced the content of its file, not the name of it.
        files::sync_directory(&self.dir)?;
        let page_size = Some(data.header.page_size);
        Manifest { progress: Progress::Ready, store_id: self.store_id, page_size }.write(&self.dir)?;
        self.state = State::Existing(data.header);
        self.data = Some(data);
        Ok(())
    }

    /// The store is open from now on, under this name of the opening. Says how the one before ended: `None`, when by itself.
    pub(crate) fn begin_life(&mut self, opening: Uuid) -> Option<Death> {
        let (life, before) = Life::begin(&self.dir, opening);
        self.life = Some(life);
        before
    }

    /// A durable subscription is attended from now on, or no longer.
    pub(crate) fn attended(&self, number: u32, is_attended: bool) {
        if let Some(life) = &self.life {
            life.attended(number, is_attended);
        }
    }
}
