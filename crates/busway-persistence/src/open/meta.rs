//! The two meta pages of an LMDB file: what LMDB believes about the rest of it.
//!
//! Where things lie on 64-bit machines, counted from the start of the page (`MDB_page`, `MDB_meta` and `MDB_db` of
//! LMDB 0.9.70, as heed brings it):
//!
//! | at | type | what |
//! |---|---|---|
//! | 0 | u64 | page number |
//! | 10 | u16 | page flags; 0x08 = a meta page |
//! | 16 | u32 | magic, 0xBEEFC0DE |
//! | 20 | u32 | version of the format, 1 |
//! | 32 | u64 | size of the map |
//! | 40 | 48 bytes | the tree of free pages; its first field holds the page size of the file |
//! | 88 | 48 bytes | the main tree, which holds the roots of the named databases |
//! | 136 | u64 | number of the last page |
//! | 144 | u64 | id of the transaction that wrote this page |
//!
//! A tree: u32 (page size, in the first one), u16 flags at 4, u16 depth at 6, u64 root at 40 (all ones = empty).
//!
//! Transaction N writes page N mod 2, and only the bytes from 32 on. If that write fails, LMDB puts back the old
//! transaction id and the old last page and leaves the new trees: the older page's trees prove nothing, and are not
//! looked at.

use super::host_bytes::{u16_at, u32_at, u64_at};

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "LMDB's file has another layout on 32-bit machines, and a store there would be limited to 2 GiB"
);

/// Bytes of a meta page that mean something. The rest of the page is never read.
pub(super) const META_LEN: usize = 152;

/// One meta page that is what LMDB writes, as far as it can be told by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) page_size: u32,
    pub(super) map_size: u64,
    pub(super) free: Tree,
    pub(super) main: Tree,
    pub(super) last_page: u64,
    pub(super) txn: u64,
}

impl Meta {
    /// Parses the start of a meta page.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub(super) fn parse(bytes: &[u8; META_LEN]) -> Result<Self, String> {
        let cut = || "cut off".to_owned();
        let flags = u16_at(bytes, 10).ok_or_else(cut)?;
        let magic = u32_at(bytes, 16).ok_or_else(cut)?;
        let version = u32_at(bytes, 20).ok_or_else(cut)?;
        if magic == MAGIC.swap_bytes() {
            return Err("written by a machine of the other byte order".to_owned());
        }
        if flags & META == 0 || magic != MAGIC {
            return Err(format!("no meta page: flags {flags:#x}, magic {magic:#x}"));
        }
        if version != VERSION {
            return Err(format!("LMDB's format {version} instead of {VERSION}"));
        }
        let page_size = u32_at(bytes, FREE_TREE).ok_or_else(cut)?;
        if !page_size.is_power_of_two() || !(PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&page_size) {
            return Err(format!("a page size of {page_size}"));
        }
        Ok(Self {
            page_size,
            map_size: u64_at(bytes, 32).ok_or_else(cut)?,
            free: Tree::parse(bytes, FREE_TREE).ok_or_else(cut)?,
            main: Tree::parse(bytes, MAIN_TREE).ok_or_else(cut)?,
            last_page: u64_at(bytes, 136).ok_or_else(cut)?,
            txn: u64_at(bytes, 144).ok_or_else(cut)?,
        })
    }
}

/// The record of one tree: `MDB_db`. Meta pages hold two of them, and so does the node of a named database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) flags: u16,
    pub(super) depth: u16,
    /// `None` if the tree is empty.
    pub(super) root: Option<u64>,
}

impl Tree {
    /// Parses the record at `at`; `None` if it does not lie within `bytes`.
    pub(super) fn parse(bytes: &[u8], at: usize) -> Option<Self> {
        let record = bytes.get(at..)?;
        let root = u64_at(record, 40)?;
        Some(Self {
            flags: u16_at(record, 4)?,
            depth: u16_at(record, 6)?,
            root: (root != NO_PAGE).then_some(root),
        })
    }
}

const META: u16 = 0x08;
const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;
const FREE_TREE: usize = 40;
const MAIN_TREE: usize = 88;
const NO_PAGE: u64 = u64::MAX;
/// No operating system has smaller pages, and LMDB takes those of the system.
const PAGE_SIZE_MIN: u32 = 512;
/// LMDB as heed builds it makes no larger pages, on systems with pages of 64 KiB neither: the bounds of a page's free
/// space are 16-bit numbers, and on an empty page of 64 KiB the upper one would wrap round to 0.
const PAGE_SIZE_MAX: u32 = 32 * 1024;
