//! What a disk has at one point of a log: what is durable for certain, and what may or may not have reached it.
//!
//! The model is strict, so that what survives it survives a real file system on a device that honours flush:
//!
//! * **Bytes** are durable after a sync of their file, or at once through `O_DSYNC`. Before that each 512-byte sector
//!   may have reached the disk or not, in any combination. A sector goes to the disk as it is in the page cache, so a
//!   newer write of it never gets there without the older one.
//! * **Lengths** change with what gets there: a sector past the end brings the file up to itself, zeros in between. A
//!   truncation may be late; what was written after one that shrank the file is not there without it.
//! * **Names** are durable after a sync of their folder, never by a sync of the file (ext4 is kinder). Before that each
//!   change of a name may be there or not, in any combination; a rename is one change. A rename from one folder to
//!   another counts for the folder that it goes to.
//! * The directory itself is there from the start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::log::{Entry, SECTOR, pieces};

/// The state at one point of a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Volume {
    files: Vec<File>,
    /// The file that an inode number means now: its place in `files`.
    inodes: BTreeMap<u64, usize>,
    /// Names as the program sees them.
    seen: BTreeMap<String, Node>,
    /// Names that are durable.
    durable: BTreeMap<String, Node>,
    /// Changes of names that are not, in order.
    changes: Vec<Change>,
    acked: BTreeSet<u64>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Folder,
    /// The file at this place of the volume.
    File(usize),
}

/// A change of names: `gone` goes, then `made` comes.
#[derive(Debug, Clone)]
struct Change {
    gone: Option<String>,
    made: Option<(String, Node)>,
}

#[derive(Debug, Clone, Default)]
struct File {
    durable: Vec<u8>,
    /// What is not durable, in order.
    pending: Vec<Pending>,
    /// The length as the program sees it.
    len: u64,
}

#[derive(Debug, Clone)]
enum Pending {
    /// A part of a write that lies in one sector.
    Piece {
        sector: u64,
        at: u64,
        bytes: Arc<[u8]>,
    },
    Length {
        len: u64,
        shrinks: bool,
    },
}

/// Decides whether a thing that is not durable is on the disk all the same.
pub(crate) type Chance<'a> = &'a mut dyn FnMut() -> bool;

impl Volume {
    /// An empty directory.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A copy in which the next write was under way: only its first sectors have come as far as the page cache, and
    /// none of it is durable.
    pub(crate) fn torn(&self, entry: &Entry, sectors: usize) -> Result<Self, String> {
        let mut torn = self.clone();
        if let Entry::Write { file, at, bytes, .. } = entry {
            let end = pieces(*at, bytes.len()).take(sectors).last().map_or(0, |(_, range)| range.end);
            torn.file(*file)?.write(*at, &bytes[..end], false);
        }
        Ok(torn)
    }

    /// What happens to the disk by this call.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Create { file, path } => {
                self.inodes.insert(*file, self.files.len());
                let node = Node::File(self.files.len());
                self.files.push(File::default());
                self.change(None, Some((path.clone(), node)));
            }
            Entry::MakeDir { path } => self.change(None, Some((path.clone(), Node::Folder))),
            Entry::Write { file, at, bytes, durable } => self.file(*file)?.write(*at, bytes, *durable),
            Entry::Truncate { file, len } => self.file(*file)?.set_len(*len),
            Entry::Sync { file } => self.file(*file)?.sync(),
            Entry::SyncDir { path } => self.sync_names(path),
            Entry::Rename { from, to } => {
                let node = *self.seen.get(from).ok_or_else(|| format!("{from} is renamed and never made"))?;
                if node == Node::Folder {
                    return Err(format!("{from} is a folder: its rename is not modelled"));
                }
                self.change(Some(from.clone()), Some((to.clone(), node)));
            }
            Entry::Unlink { path } => self.change(Some(path.clone()), None),
            Entry::Ack(number) => {
                if !self.acked.insert(*number) {
                    return Err(format!("{number} is acknowledged twice"));
                }
            }
        }
        Ok(())
    }

    /// The largest `n` so that all of `1..=n` are acknowledged: the program may acknowledge in any order.
    pub(crate) fn acked(&self) -> u64 {
        let in_order = self.acked.iter().zip(1..).take_while(|(number, expected)| *number == expected);
        in_order.count() as u64
    }

    /// Whether each acknowledged number stands in a row from 1 on.
    pub(crate) fn acks_are_complete(&self) -> bool {
        self.acked() == self.acked.len() as u64
    }

    /// The names on the disk, by the chance that each change of one got there.
    pub(crate) fn names(&self, chance: Chance<'_>) -> BTreeMap<String, Node> {
        let mut names = self.durable.clone();
        self.changes.iter().filter(|_| chance()).for_each(|change| change.make(&mut names));
        names
    }

    /// The bytes of a file on the disk, by the chance that each sector got there.
    pub(crate) fn bytes(&self, file: usize, chance: Chance<'_>) -> Vec<u8> {
        self.files[file].bytes(chance)
    }

    fn file(&mut self, inode: u64) -> Result<&mut File, String> {
        let place = self.inodes.get(&inode).ok_or_else(|| format!("inode {inode} was never made"))?;
        Ok(&mut self.files[*place])
    }

    fn change(&mut self, gone: Option<String>, made: Option<(String, Node)>) {
        let change = Change { gone, made };
        change.make(&mut self.seen);
        self.changes.push(change);
    }

    fn sync_names(&mut self, folder: &str) {
        let mut rest: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.changes) {
            if change.folder() == folder {
                change.make(&mut self.durable);
                // What came here from another folder is no longer there, so it can no longer appear there.
                rest.retain_mut(|older| older.forget(change.gone.as_deref()));
            } else {
                rest.push(change);
            }
        }
        self.changes = rest;
    }
}

impl Change {
    fn make(&self, names: &mut BTreeMap<String, Node>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((made, node)) = &self.made {
            names.insert(made.clone(), *node);
        }
    }

    /// Does not make this name any more; false if nothing is left to do.
    fn forget(&mut self, gone: Option<&str>) -> bool {
        self.made = self.made.take().filter(|(path, _)| Some(path.as_str()) != gone);
        self.made.is_some() || self.gone.is_some()
    }

    fn folder(&self) -> &str {
        let path = self.made.as_ref().map(|(path, _)| path).or(self.gone.as_ref());
        path.map_or("", |path| folder(path))
    }
}

/// The folder that a name is in.
pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl File {
    fn write(&mut self, at: u64, bytes: &[u8], durable: bool) {
        self.len = self.len.max(at + bytes.len() as u64);
        for (sector, range) in pieces(at, bytes.len()) {
            let at = at + range.start as u64;
            self.pending.push(Pending::Piece { sector, at, bytes: bytes[range].into() });
        }
        if durable {
            self.sync_sectors(at / SECTOR..(at + bytes.len() as u64).div_ceil(SECTOR));
        }
    }

    fn set_len(&mut self, len: u64) {
        self.pending.push(Pending::Length { len, shrinks: len < self.len });
        self.len = len;
    }

    fn sync(&mut self) {
        self.durable = self.bytes(&mut || true);
        self.pending.clear();
    }

    /// The way of an `O_DSYNC` write: the sectors that it touches become durable with all that was written to them, and
    /// so do changes of the length. Older bytes elsewhere stay at risk.
    fn sync_sectors(&mut self, sectors: std::ops::Range<u64>) {
        let mut rest = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Piece { sector, at, bytes } if sectors.contains(&sector) => {
                    put(&mut self.durable, at, &bytes);
                }
                Pending::Piece { .. } => rest.push(pending),
                Pending::Length { len, shrinks } => {
                    set_len(&mut self.durable, len);
                    if shrinks {
                        rest.retain_mut(|older| older.clip(len));
                    }
                }
            }
        }
        self.pending = rest;
    }

    fn bytes(&self, chance: Chance<'_>) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        // Sectors that went to the disk for the last time, and whether a truncation is late.
        let (mut settled, mut late) = (BTreeSet::new(), false);
        for pending in &self.pending {
            match pending {
                _ if late => {}
                Pending::Piece { sector, .. } if settled.contains(sector) => {}
                Pending::Piece { sector, at, bytes: piece } => match chance() {
                    true => put(&mut bytes, *at, piece),
                    false => _ = settled.insert(*sector),
                },
                Pending::Length { len, shrinks } => match chance() {
                    true => set_len(&mut bytes, *len),
                    false => late = *shrinks,
                },
            }
        }
        bytes
    }
}

impl Pending {
    /// Cuts off what lies beyond `end`; false if nothing is left.
    fn clip(&mut self, end: u64) -> bool {
        let Self::Piece { at, bytes, .. } = self else { return true };
        let kept = usize::try_from(end.saturating_sub(*at)).unwrap().min(bytes.len());
        *bytes = bytes[..kept].into();
        kept > 0
    }
}

fn put(bytes: &mut Vec<u8>, at: u64, piece: &[u8]) {
    let at = usize::try_from(at).unwrap();
    let end = at + piece.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(piece);
}

fn set_len(bytes: &mut Vec<u8>, len: u64) {
    bytes.resize(usize::try_from(len).unwrap(), 0);
}
