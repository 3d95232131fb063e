//! The check of an LMDB file by plain reads, before LMDB maps it.
//!
//! LMDB checks the magic numbers of a file and then trusts it: a page size of 0 is divided by, and a page beyond the
//! end of the file is `SIGBUS`, which ends the process that embeds the store. So everything by which LMDB finds its
//! way when it opens a file is read here first, with `pread`, which answers with an error.
//!
//! # A file that is shorter than its header says
//!
//! The newer meta page names the last page in use, and the file normally reaches to its end. It may legally be
//! shorter: pages that a transaction took from the end and gave back before it committed are never written; they are
//! in the list of free pages and nothing leads to them. The length alone therefore does not tell damage from health,
//! and refusing on it would lock people out of healthy stores. What tells is the trees: LMDB reads a page only
//! if a tree leads to it, and allocates free ones without reading them. So for a short file, and only then, both
//! trees are walked, with all named databases below: if anything leads to a page that is not wholly within the file,
//! the file was cut, and is refused ([`reach`]). A cut file cannot raise a signal.
//!
//! # What is left to the verifier
//!
//! That the pages hold what was written. LMDB has no checksums: a flipped bit in a page that is there is found by the
//! checksum of the record that it hits, or by a walk through everything. [`Header::short`] says that the file
//! is one that deserves such a walk at once.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::meta::{META_LEN, Meta, Tree};
use super::{OpenError, reach};

/// What the header of a data file says, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes a page; fixed when the file was made, and not necessarily those of this machine's pages.
    pub(crate) page_size: u32,
    /// Bytes of address space that LMDB mapped last time. The next map must not be smaller than the pages in use.
    pub(crate) map_size: u64,
    /// The last committed transaction; 0 if there was none yet.
    pub(crate) last_txn: u64,
    /// Number of the last page in use, counted from 0.
    pub(crate) last_page: u64,
    /// The file ends before its last page does. Every page that a tree leads to is there; verify the rest before
    /// serving from it.
    pub(crate) short: bool,
}

/// Checks the open data file at `path`.
///
/// # Errors
///
/// [`OpenError::DataEmpty`] or [`OpenError::DataDamaged`] if LMDB must not map it, [`OpenError::Io`] if it cannot be
/// read.
pub(super) fn check(file: &File, path: &Path) -> Result<Header, OpenError> {
    let metadata = file.metadata().map_err(|error| OpenError::io(path, "examine", error))?;
    if !metadata.is_file() {
        return Err(OpenError::damaged(path, "it is not a file"));
    }
    if metadata.len() == 0 {
        return Err(OpenError::DataEmpty { path: path.to_owned() });
    }
    examine(file, metadata.len()).map_err(|fault| fault.at(path))
}

/// Why LMDB must not map a file.
#[derive(Debug)]
pub(super) enum Fault {
    Damaged(String),
    Unread(io::Error),
}

impl Fault {
    fn at(self, path: &Path) -> OpenError {
        match self {
            Self::Damaged(reason) => OpenError::damaged(path, reason),
            Self::Unread(error) => OpenError::io(path, "read", error),
        }
    }
}

/// Fills `bytes` from the file at `at`. An end of the file on the way is damage, not an error of the device.
pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> Result<(), Fault> {
    file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Damaged(format!("it ends before byte {at} and what follows")),
        _ => Fault::Unread(error),
    })
}

fn examine(file: &File, len: u64) -> Result<Header, Fault> {
    let newer = newer_meta(file, len)?;
    let pages = check_bounds(&newer)?;
    let page_size = u64::from(newer.page_size);
    check_trees(&newer)?;
    // A page that is cut is as good as absent: LMDB would read zeroes, or nothing, beyond the cut.
    let whole_pages = len / page_size;
    let short = whole_pages < pages;
    let reach = reach::Reach::new(file, newer.page_size, whole_pages.min(pages));
    if short {
        reach.walk([newer.free, newer.main])?;
    } else {
        reach.look_at_roots([newer.free, newer.main])?;
    }
    Ok(Header {
        page_size: newer.page_size,
        map_size: newer.map_size,
        last_txn: newer.txn,
        last_page: newer.last_page,
        short,
    })
}

/// Reads both meta pages and finds the one that LMDB will go by.
fn newer_meta(file: &File, len: u64) -> Result<Meta, Fault> {
    let first = read_meta(file, 0, 0)?;
    // Nothing on the second page is believed before the first one's page size proves to lead to it.
    let page_size = u64::from(first.page_size);
    if len < 2 * page_size {
        return Err(Fault::Damaged(format!("{len} bytes long, two pages have {}", 2 * page_size)));
    }
    let second = read_meta(file, 1, page_size)?;
    if first.page_size != second.page_size {
        let (first, second) = (first.page_size, second.page_size);
        return Err(Fault::Damaged(format!(
            "its meta pages disagree on the page size: {first} and {second}"
        )));
    }
    if first.txn.abs_diff(second.txn) > 1 {
        let (first, second) = (first.txn, second.txn);
        return Err(Fault::Damaged(format!("its meta pages are of transactions {first} and {second}")));
    }
    let (newer, number) = if first.txn < second.txn { (second, 1) } else { (first, 0) };
    // LMDB opens by the greater id and later takes page `id % 2`: these have to be the same page. Two equal ids are
    // those of a file without a transaction.
    if newer.txn % 2 != number || (first.txn == second.txn && newer.txn != 0) {
        return Err(Fault::Damaged(format!("meta page {number} is of transaction {}", newer.txn)));
    }
    Ok(newer)
}

fn read_meta(file: &File, number: u8, at: u64) -> Result<Meta, Fault> {
    let mut bytes = [0; META_LEN];
    read_at(file, &mut bytes, at)?;
    Meta::parse(&bytes).map_err(|reason| Fault::Damaged(format!("meta page {number}: {reason}")))
}

/// The number of pages in use; all of them lie within the map.
fn check_bounds(meta: &Meta) -> Result<u64, Fault> {
    let Meta { last_page, map_size, page_size, .. } = *meta;
    let pages = last_page.checked_add(1);
    let bytes = pages.and_then(|pages| pages.checked_mul(u64::from(page_size)));
    match pages.zip(bytes) {
        Some((pages, bytes)) if pages >= 2 && bytes <= map_size => Ok(pages),
        _ => Err(Fault::Damaged(format!("last page {last_page} in a map of {map_size} bytes"))),
    }
}

fn check_trees(meta: &Meta) -> Result<(), Fault> {
    if meta.free.root.is_some() && meta.free.root == meta.main.root {
        return Err(Fault::Damaged(format!("its two trees have one root: {:?}", meta.free.root)));
    }
    for (name, tree, flags) in [("free pages", meta.free, FREE_FLAGS), ("data", meta.main, MAIN_FLAGS)] {
        let Tree { flags: found, depth, root } = tree;
        if found != flags {
            return Err(Fault::Damaged(format!(
                "its tree of {name} has flags {found:#x} instead of {flags:#x}"
            )));
        }
        if root.is_some() != (depth > 0) || depth > DEPTH_MAX {
            return Err(Fault::Damaged(format!("its tree of {name} has depth {depth} and root {root:?}")));
        }
        if let Some(root) = root
            && !(2..=meta.last_page).contains(&root)
        {
            let last = meta.last_page;
            return Err(Fault::Damaged(format!(
                "its tree of {name} begins at page {root}, the last is {last}"
            )));
        }
    }
    Ok(())
}

/// Keys of the free list are integers. LMDB follows any other flag blindly: one that announces duplicate keys leads
/// it to a null pointer. Flags of the environment that are stored here are those of options which a store never uses.
const FREE_FLAGS: u16 = 0x08;
/// The main tree holds the names of databases and nothing else: the store opens it without flags.
const MAIN_FLAGS: u16 = 0;
/// What a cursor of LMDB can hold.
const DEPTH_MAX: u16 = 32;
