//! Archiving: file by file, each in steps, for who lends the store for moments only.

use std::collections::VecDeque;
use std::io::BufReader;
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};

use super::error::ArchiveError;
use super::files::{self, Unnamed};
use super::seal::{self, Content};
use crate::audit::chain::Hash;
use crate::audit::head::unhex;
use crate::audit::rows::{LinkRow, key, offset_of};
use crate::audit::start::before_start;
use crate::error::ReadError;
use crate::export::{Export, Exporting};
use crate::open::Held;
use crate::row::{self, hex};
use crate::shared::Shared;
use crate::store::Store;

/// What is archived, and where to.
#[derive(Debug, Clone)]
pub struct Archive {
    stream: String,
    folder: PathBuf,
    records: u64,
}

impl Archive {
    /// An audit stream, into a folder, which is made when it is not there. Several streams may share one.
    pub fn stream(name: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        Self { stream: name.into(), folder: folder.into(), records: ARCHIVE_RECORDS }
    }

    /// About so many records a file: a file ends with a commit, so it may have up to a commit more. The last one of an archiving has what is
    /// there. Default [`ARCHIVE_RECORDS`].
    pub const fn records(mut self, records: u64) -> Self {
        self.records = records;
        self
    }
}

/// What was archived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archived {
    /// The files that were made, in their order.
    pub files: Vec<PathBuf>,
    /// Records in them.
    pub records: u64,
}

/// An archiving under way.
#[derive(Debug)]
pub struct Archiving {
    archive: Archive,
    /// Partitions that are left, by their numbers in the store.
    left: VecDeque<u32>,
    archived: Archived,
    /// So that it is the only one of its stream in the folder.
    _held: Held,
}

/// Where the folder ends for a partition.
struct End {
    next: u64,
    seal: Hash,
}

impl Archiving {
    /// Begins.
    ///
    /// # Errors
    /// [`ArchiveError::NotAudited`], [`ArchiveError::Busy`], or the folder cannot be made or locked.
    pub fn begin(store: &Store, archive: Archive) -> Result<Self, ArchiveError> {
        let shared = store.shared();
        let known = shared.streams.iter().find(|known| known.name == archive.stream);
        let is_audited =
            known.and_then(|known| known.audited.as_ref()).is_some_and(|audited| audited.has_its_key);
        let Some(left) = store.partitions(&archive.stream).filter(|_| is_audited) else {
            return Err(ArchiveError::NotAudited { stream: archive.stream });
        };
        files::make_folder(&archive.folder)
            .map_err(|error| ArchiveError::io(&archive.folder, "make", error))?;
        let locked = files::lock(&archive.folder, &archive.stream);
        match locked.map_err(|error| ArchiveError::io(&archive.folder, "lock", error))? {
            Some(held) => {
                Ok(Self { archive, left: left.collect(), archived: Archived::default(), _held: held })
            }
            None => Err(ArchiveError::Busy { folder: archive.folder, stream: archive.stream }),
        }
    }

    /// Makes the next file. `false` when all is archived.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn file(&mut self, store: &Store) -> Result<bool, ArchiveError> {
        let shared = store.shared();
        let Some(&number) = self.left.front() else { return Ok(false) };
        let partition = shared.index_in_stream(number);
        let bounds = store.bounds(number).unwrap_or_default();
        let first = bounds.0;
        let end = self.end(shared, number, partition)?;
        let start = start_of(shared, number, bounds.1, end.as_ref())?;
        let (next, previous) = end.map_or((first.max(start), [0; 32]), |end| (end.next, end.seal));
        if next < first {
            let stream = self.archive.stream.clone();
            return Err(ArchiveError::Gap { stream, partition, archived: next, first });
        }
        let Some((last, chain)) = link_behind(shared, number, next..bounds.1, self.archive.records)? else {
            self.left.pop_front();
            return Ok(true);
        };
        let path = files::path_of(&self.archive.folder, &self.archive.stream, partition, next);
        self.write(store, &path, (number, next, last), (chain, previous))?;
        self.archived.records += last - next + 1;
        self.archived.files.push(path);
        Ok(true)
    }

    /// What was archived so far.
    #[must_use]
    pub const fn archived(&self) -> &Archived {
        &self.archived
    }

    fn write(
        &self,
        store: &Store,
        path: &Path,
        (number, first, last): (u32, u64, u64),
        (chain, previous): (Hash, Hash),
    ) -> Result<(), ArchiveError> {
        let failed = |error| ArchiveError::io(path, "write", error);
        let shared = store.shared();
        let partition = shared.index_in_stream(number);
        let export = Export::stream(&self.archive.stream).partition(partition).offsets(first..last + 1);
        let mut exporting = Exporting::begin(store, export)?;
        let mut file = Unnamed::create(path).map_err(failed)?;
        let (mut hasher, mut lines) = (blake3::Hasher::new(), Vec::new());
        while exporting.page(store, &mut lines)? {
            hasher.update(&lines);
            file.write(&lines).map_err(failed)?;
            lines.clear();
        }
        // Retention may have been quicker, at the front.
        if exporting.exported().events != last - first + 1 {
            let stream = self.archive.stream.clone();
            let (archived, first) = (first, store.bounds(number).unwrap_or_default().0);
            return Err(ArchiveError::Gap { stream, partition, archived, first });
        }
        let Some(audited) = shared.audited(number) else {
            return Err(ArchiveError::NotAudited { stream: self.archive.stream.clone() });
        };
        let (store, stream, lines) =
            (shared.store_id, self.archive.stream.clone(), *hasher.finalize().as_bytes());
        let content = Content { store, stream, partition, first, last, lines, chain, previous };
        let (line, _) = content.seal().line(&audited.hashing);
        file.write(&line).map_err(failed)?;
        file.name(path).map_err(failed)
    }

    /// Where the folder ends, by its newest file, which has to be this stream's.
    fn end(&self, shared: &Shared, number: u32, partition: u16) -> Result<Option<End>, ArchiveError> {
        let folder = &self.archive.folder;
        let listed = files::list(folder).map_err(|error| ArchiveError::io(folder, "list", error))?;
        let mut its_own = listed
            .into_iter()
            .filter(|file| file.stream == self.archive.stream && file.partition == partition);
        let Some(newest) = its_own.next_back() else { return Ok(None) };
        let path = newest.path;
        let failed = |error| ArchiveError::io(&path, "read", error);
        let mut reader = BufReader::new(files::open(&path).map_err(failed)?);
        let other = |reason: String| ArchiveError::Other { path: path.clone(), reason };
        let (seal, lines) = seal::read(&mut reader, |_| {}).map_err(failed)?.map_err(other)?;
        let audited = shared.audited(number);
        if !seal.holds(&lines) || !audited.is_some_and(|audited| seal.is_whole(&audited.hashing)) {
            return Err(other("its seal does not fit".to_owned()));
        }
        if seal.store != shared.store_id || seal.stream != self.archive.stream || seal.partition != partition
        {
            return Err(other(format!("it is of stream {} of store {}", seal.stream, seal.store)));
        }
        let link = chain_at(shared, number, seal.last)?;
        if link.is_some_and(|chain| hex(&chain) != seal.chain) {
            return Err(other(format!("the chain of the store behind record {} is another one", seal.last)));
        }
        let Some(next) = seal.last.checked_add(1) else {
            return Err(other(format!("no record is behind its last one, {}", seal.last)));
        };
        Ok(Some(End { next, seal: unhex(&seal.proof).unwrap_or_default() }))
    }
}

/// Where the chain begins, unless something in the store or the folder speaks against it: what lies before would never be archived.
fn start_of(shared: &Shared, number: u32, next: u64, archived: Option<&End>) -> Result<u64, ReadError> {
    let Some(audited) = shared.audited(number) else { return Ok(0) };
    let start = audited.start_of(shared, number);
    let txn = shared.gate.read().map_err(|error| shared.storage(&error))?;
    let moved = match archived.and_then(|end| end.next.checked_sub(1)).filter(|last| *last < start) {
        Some(last) => Some(before_start(shared, number, start, ("an archive", last))),
        None => audited.disproved_start(shared, &txn, number, next)?,
    };
    moved.map_or(Ok(start), |moved| Err(moved.into()))
}

/// The last link that lies about so many records behind the start of a range, or the first one that does: its record, and the chain. The
/// range ends with what was told: the export of a file reads no further, whatever a transaction sees.
fn link_behind(
    shared: &Shared,
    number: u32,
    range: Range<u64>,
    records: u64,
) -> Result<Option<(u64, Hash)>, ReadError> {
    let view = shared.view(number)?;
    let next = range.start;
    let (from, to) = (key(number, next), key(number, range.end.max(next)));
    let range = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
    let mut found = None;
    let links = shared.databases.links.range(&view, &range).map_err(|error| shared.storage(&error))?;
    for link in links {
        let (place, value) = link.map_err(|error| shared.storage(&error))?;
        let Some(last) = offset_of(place) else { continue };
        let LinkRow { chain, .. } = row::decode("link", place, value)?;
        found = Some((last, chain));
        if last - next + 1 >= records {
            break;
        }
    }
    Ok(found)
}

fn chain_at(shared: &Shared, number: u32, offset: u64) -> Result<Option<Hash>, ReadError> {
    let view = shared.view(number)?;
    let found =
        crate::audit::rows::find::<LinkRow>(&view, shared.databases.links, "link", &key(number, offset));
    Ok(found.map_err(|error| shared.unreadable(error))?.map(|link| link.chain))
}

impl Store {
    /// Writes what of an audit stream is not in the folder yet, as sealed files. To be called now and then, before retention takes what is not
    /// archived. Verify the store first when in doubt: an archive seals what the store holds. One archiving of a stream into a folder at a time.
    ///
    /// # Errors
    /// [`ArchiveError`]. Files that have their names are whole, and the next archiving goes on behind them.
    pub fn archive(&self, archive: Archive) -> Result<Archived, ArchiveError> {
        let mut archiving = Archiving::begin(self, archive)?;
        while archiving.file(self)? {}
        Ok(archiving.archived)
    }
}

/// Records of a file.
pub const ARCHIVE_RECORDS: u64 = 10_000;
