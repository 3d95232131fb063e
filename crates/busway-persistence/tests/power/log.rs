//! What the shim recorded: a program's calls on the files below one directory, in the order in which they happened.

use std::ops::Range;
use std::sync::Arc;

/// What a disk writes whole or not at all. Larger writes tear at its borders.
pub(crate) const SECTOR: u64 = 512;

/// One call. Paths are relative to the directory, which is itself the empty path. Files are inode numbers; a number
/// means another file after the next `Create` with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// An open made the file; its name is not durable before a `SyncDir` of its folder.
    Create { file: u64, path: String },
    /// The same for a folder.
    MakeDir { path: String },
    /// `durable`: the descriptor was `O_DSYNC`, the bytes had reached the disk when the call returned.
    Write { file: u64, at: u64, bytes: Arc<[u8]>, durable: bool },
    /// The file has this length from now on.
    Truncate { file: u64, len: u64 },
    /// All of the file so far is durable; its name is another matter.
    Sync { file: u64 },
    /// All names in the folder so far are durable; what is in the files is another matter.
    SyncDir { path: String },
    /// `to` is what `from` was, in one step.
    Rename { from: String, to: String },
    /// A name of a file or of an empty folder is gone.
    Unlink { path: String },
    /// The program gave its word for this number.
    Ack(u64),
}

impl Entry {
    /// How many sectors a write touches; 0 for all others.
    pub(crate) fn sectors(&self) -> usize {
        match self {
            Self::Write { at, bytes, .. } => pieces(*at, bytes.len()).count(),
            _ => 0,
        }
    }
}

/// Cuts a write at sector borders: the sector, and which of the bytes go there.
pub(crate) fn pieces(at: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    let end = at + len as u64;
    let mut from = at;
    std::iter::from_fn(move || {
        let sector = from / SECTOR;
        let to = end.min((sector + 1) * SECTOR);
        let range = usize::try_from(from - at).unwrap()..usize::try_from(to - at).unwrap();
        from = to;
        (!range.is_empty()).then_some((sector, range))
    })
}

/// Where the power went: after so many entries and, if the next is a write, after so many sectors of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    pub(crate) entries: usize,
    pub(crate) sectors: usize,
}

/// Reads all entries.
///
/// # Errors
///
/// Says which entry is not one. A program that was not killed leaves none cut short.
pub(crate) fn parse(mut bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (entry, rest) =
            parse_one(bytes).ok_or_else(|| format!("entry {} of the log is damaged", entries.len()))?;
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}

/// The layout is described at `append` in `shim.c`.
fn parse_one(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (head, rest) = bytes.split_at_checked(24)?;
    let short = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
    let long = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
    let (body, rest) = rest.split_at_checked(short(4) as usize)?;
    let (file, position) = (long(8), long(16));
    let path = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let entry = match short(0) {
        1 => Entry::Create { file, path: path(body)? },
        2 => Entry::MakeDir { path: path(body)? },
        kind @ (3 | 4) => Entry::Write { file, at: position, bytes: body.into(), durable: kind == 4 },
        5 => Entry::Truncate { file, len: position },
        6 => Entry::Sync { file },
        7 => Entry::SyncDir { path: path(body)? },
        8 => {
            let (from, to) = body.split_at_checked(usize::try_from(position).ok()?)?;
            Entry::Rename { from: path(from)?, to: path(to)? }
        }
        9 => Entry::Unlink { path: path(body)? },
        10 => Entry::Ack(file),
        _ => return None,
    };
    Some((entry, rest))
}

#[test]
fn a_write_is_cut_at_sector_borders() {
    let cut = |at, len| pieces(at, len).collect::<Vec<_>>();
    assert_eq!(cut(0, 0), []);
    assert_eq!(cut(4128, 120), [(8, 0..120)]);
    assert_eq!(cut(1000, 600), [(1, 0..24), (2, 24..536), (3, 536..600)]);
    assert_eq!(pieces(8192, 4096).count(), 8);
}

#[test]
fn a_log_that_is_cut_short_says_where() {
    let mut bytes = Vec::new();
    for number in [7_u64, 8] {
        bytes.extend(10_u32.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
    }
    assert_eq!(parse(&bytes).unwrap(), [Entry::Ack(7), Entry::Ack(8)]);
    assert_eq!(parse(&bytes[..40]).unwrap_err(), "entry 1 of the log is damaged");
}
