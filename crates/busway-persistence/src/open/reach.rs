//! Where the trees of an LMDB file lead: whether every page that LMDB can come to is within the file.
//!
//! Pages, on 64-bit machines (`MDB_page` and `MDB_node` of LMDB 0.9.70): number (u64) at 0, flags (u16) at 10, end
//! of the offsets of nodes (u16) at 12, those offsets (u16 each) from 16 on. A node: u32 at 0, flags (u16) at 4,
//! length of its key (u16) at 6, the key from 8 on, then its data. In a branch page the u32 and, above it, the flags
//! are the number of the child page. In a leaf page the u32 is the length of the data; flag 0x01 says that the data
//! is the number of the first of the pages that hold it, flag 0x02 that it is the record of another tree.

use std::fs::File;

use super::host_bytes::{u16_at, u32_at, u64_at};
use super::meta::Tree;
use super::preflight::{Fault, read_at};

/// A look into the pages of a file, by plain reads.
#[derive(Debug)]
pub(super) struct Reach<'a> {
    file: &'a File,
    page_size: u32,
    /// Pages that are wholly within the file and in use, the two meta pages included.
    pages: u64,
}

impl<'a> Reach<'a> {
    pub(super) fn new(file: &'a File, page_size: u32, pages: u64) -> Self {
        Self { file, page_size, pages }
    }

    /// Checks that each root is a page of the file and the page of a tree. Reads a few bytes.
    pub(super) fn look_at_roots(&self, trees: [Tree; 2]) -> Result<(), Fault> {
        for root in trees.into_iter().filter_map(|tree| tree.root) {
            self.claim(root, 1, 0)?;
            let mut header = [0; HEADER];
            read_at(self.file, &mut header, root * u64::from(self.page_size))?;
            check_header(&header, root)?;
        }
        Ok(())
    }

    /// Checks that everything the trees lead to is within the file. Reads every page of the trees once, so that it
    /// takes as long as reading the file; a page that is come to twice ends the walk, a loop does not hold it up.
    pub(super) fn walk(&self, trees: [Tree; 2]) -> Result<(), Fault> {
        let mut page = vec![0; usize::try_from(self.page_size).unwrap_or_default()];
        let mut found = Found { pages: 0, waiting: Vec::new() };
        for root in trees.into_iter().filter_map(|tree| tree.root) {
            self.find(&mut found, root)?;
        }
        while let Some(number) = found.waiting.pop() {
            read_at(self.file, &mut page, number * u64::from(self.page_size))?;
            match check_header(&page, number)? {
                Kind::Branch => self.branch(&page, number, &mut found)?,
                Kind::Leaf => self.leaf(&page, number, &mut found)?,
                Kind::Values => {}
            }
        }
        Ok(())
    }

    fn branch(&self, page: &[u8], number: u64, found: &mut Found) -> Result<(), Fault> {
        for node in nodes(page, number)? {
            let low = u32_at(node, 0).map(u64::from);
            let high = u16_at(node, 4).map(u64::from);
            let (low, high) = low.zip(high).ok_or_else(|| torn(number))?;
            self.find(found, high << 32 | low)?;
        }
        Ok(())
    }

    fn leaf(&self, page: &[u8], number: u64, found: &mut Found) -> Result<(), Fault> {
        for node in nodes(page, number)? {
            let (len, data, flags) = leaf_node(node).ok_or_else(|| torn(number))?;
            if flags & BIG_DATA != 0 {
                let first = u64_at(data, 0).ok_or_else(|| torn(number))?;
                // The length is that of the value; the header of the first page comes before it.
                let pages = (HEADER as u64 + u64::from(len)).div_ceil(u64::from(self.page_size));
                found.pages = self.claim(first, pages, found.pages)?;
            } else if flags & SUB_TREE != 0 {
                let tree = Tree::parse(data, 0).ok_or_else(|| torn(number))?;
                tree.root.map_or(Ok(()), |root| self.find(found, root))?;
            }
        }
        Ok(())
    }

    /// Takes note of a page that has to be looked at.
    fn find(&self, found: &mut Found, number: u64) -> Result<(), Fault> {
        found.pages = self.claim(number, 1, found.pages)?;
        found.waiting.push(number);
        Ok(())
    }

    /// `count` pages from `first` on have to be within the file, beside the `before` that were found; gives the sum.
    fn claim(&self, first: u64, count: u64, before: u64) -> Result<u64, Fault> {
        let end = first.checked_add(count).filter(|end| first >= META_PAGES && *end <= self.pages);
        if end.is_none() {
            let (last, pages) = (first.saturating_add(count - 1), self.pages);
            return Err(Fault::Damaged(format!(
                "a tree leads to pages {first} to {last}, {pages} are in the file and in use"
            )));
        }
        // Each page has one place in one tree.
        match before + count {
            sum if sum <= self.pages - META_PAGES => Ok(sum),
            _ => Err(Fault::Damaged("its trees lead to a page twice".to_owned())),
        }
    }
}

struct Found {
    /// How many pages the trees led to so far: never more than the file has, which bounds `waiting` too.
    pages: u64,
    /// Those that are not looked at yet.
    waiting: Vec<u64>,
}

enum Kind {
    Branch,
    Leaf,
    /// Values of one key, all of one length, in a row: leads nowhere.
    Values,
}

fn check_header(page: &[u8], number: u64) -> Result<Kind, Fault> {
    let (stored, flags) = u64_at(page, 0).zip(u16_at(page, 10)).ok_or_else(|| torn(number))?;
    match flags {
        BRANCH if stored == number => Ok(Kind::Branch),
        LEAF if stored == number => Ok(Kind::Leaf),
        VALUES if stored == number => Ok(Kind::Values),
        _ => Err(Fault::Damaged(format!(
            "page {number} is no page of a tree: number {stored}, flags {flags:#x}"
        ))),
    }
}

/// What is between the start of each node and the end of the page.
fn nodes(page: &[u8], number: u64) -> Result<impl Iterator<Item = &[u8]>, Fault> {
    let offsets = u16_at(page, 12).and_then(|end| page.get(HEADER..usize::from(end)));
    let offsets = offsets.ok_or_else(|| torn(number))?;
    let starts = (0..offsets.len() / 2).filter_map(|index| u16_at(offsets, index * 2));
    // An offset beyond the page gives no bytes, in which no field is found.
    Ok(starts.map(|start| page.get(usize::from(start)..).unwrap_or_default()))
}

/// Length of the data, what follows the key, flags.
fn leaf_node(node: &[u8]) -> Option<(u32, &[u8], u16)> {
    let key_len = usize::from(u16_at(node, 6)?);
    Some((u32_at(node, 0)?, node.get(NODE_HEADER + key_len..)?, u16_at(node, 4)?))
}

fn torn(number: u64) -> Fault {
    Fault::Damaged(format!("page {number} does not hold together"))
}

const HEADER: usize = 16;
const NODE_HEADER: usize = 8;
const META_PAGES: u64 = 2;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
/// A leaf without nodes.
const VALUES: u16 = 0x22;
const BIG_DATA: u16 = 0x01;
const SUB_TREE: u16 = 0x02;
