//! Damaged data files, by the thousand: each is an error or a store that LMDB reads in full, and none a signal.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::lmdb_file::{MAX_READERS, Rows, Tail};
use super::*;

const NEEDS: Needs = Needs { max_readers: MAX_READERS, free_for_new: 0, free_for_existing: 0 };

/// A finished store, what is in it, and the bytes of its data file.
struct Store {
    _guard: tempfile::TempDir,
    dir: PathBuf,
    content: Vec<Rows>,
    bytes: Vec<u8>,
    header: Header,
}

impl Store {
    fn new(make: impl FnOnce(&Path)) -> Self {
        let guard = tempfile::tempdir().unwrap();
        let dir = guard.path().canonicalize().unwrap();
        let mut claimed = claim(&dir, &NEEDS).unwrap();
        make(&dir);
        claimed.ready().unwrap();
        let State::Existing(header) = claimed.state else { panic!("{:?}", claimed.state) };
        let content = lmdb_file::content(&dir).unwrap();
        assert!(content.iter().map(Vec::len).sum::<usize>() > 300);
        let bytes = fs::read(dir.join("data.mdb")).unwrap();
        Self { _guard: guard, dir, content, bytes, header }
    }

    /// Claims the store with these bytes as its data file.
    fn with(&self, bytes: &[u8]) -> Result<Header, OpenError> {
        // In place: writing a file anew, thousands of times, makes ext4 flush it each time.
        let file = files::open_or_create(&self.dir.join("data.mdb")).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        match claim(&self.dir, &NEEDS)?.state {
            State::Existing(header) => Ok(header),
            other => panic!("a finished store is {other:?}"),
        }
    }

    /// Claims the store cut to `len` bytes. If that is allowed, LMDB must read everything: a page that is not there
    /// would end this process.
    fn cut(&self, len: usize) -> Option<Header> {
        match self.with(&self.bytes[..len]) {
            Ok(header) => {
                assert_eq!(lmdb_file::content(&self.dir).unwrap(), self.content, "cut to {len} bytes");
                Some(header)
            }
            Err(OpenError::DataDamaged { .. } | OpenError::DataEmpty { .. }) => None,
            Err(error) => panic!("cut to {len} bytes: {error:?}"),
        }
    }

    fn page_size(&self) -> usize {
        self.header.page_size as usize
    }

    /// The meta page that LMDB goes by, as an offset.
    fn newer(&self) -> usize {
        usize::try_from(self.header.last_txn % 2).unwrap() * self.page_size()
    }

    /// Where the later of the two root pages ends.
    fn roots_end(&self) -> u64 {
        let root = |at| host_bytes::u64_at(&self.bytes, self.newer() + at).unwrap();
        (root(80).max(root(128)) + 1) * u64::from(self.header.page_size)
    }
}

#[test]
fn a_flipped_byte_in_a_header_is_an_error_or_harmless_and_never_a_panic() {
    let store = Store::new(|dir| lmdb_file::fill(dir, Tail::Newest));
    let (mut accepted, mut refused) = (0, 0);
    for page in [0, store.page_size()] {
        for at in page..page + 200 {
            let masks = [1, 2, 4, 8, 16, 32, 64, 128, 0xFF, store.bytes[at]];
            for mask in masks {
                let mut bytes = store.bytes.clone();
                bytes[at] ^= mask;
                match store.with(&bytes) {
                    Ok(_) => accepted += 1,
                    Err(OpenError::DataDamaged { .. }) => refused += 1,
                    Err(error) => panic!("byte {at} with {mask:#x}: {error:?}"),
                }
            }
        }
    }
    assert!(accepted > 500, "{accepted}: what LMDB does not look at is not damage");
    assert!(refused > 500, "{refused}");
}

#[test]
fn every_field_by_which_lmdb_finds_its_way_is_checked() {
    let store = Store::new(|dir| lmdb_file::fill(dir, Tail::Newest));
    let newer = store.newer();
    let both = [10, 16, 17, 18, 19, 20, 21, 22, 23, 40, 41, 42, 43];
    // Flags, the high bytes of roots and of the last page, ids of transactions.
    let newest = [44, 45, 86, 87, 92, 93, 134, 135, 142, 143, 150, 151];
    let places = both.iter().flat_map(|at| [*at, store.page_size() + at]).chain(newest.map(|at| newer + at));
    for at in places {
        let mut bytes = store.bytes.clone();
        bytes[at] ^= 0xFF;
        let result = store.with(&bytes);
        assert!(matches!(result, Err(OpenError::DataDamaged { .. })), "byte {at}: {result:?}");
    }
}

#[test]
fn a_page_size_of_zero_in_both_meta_pages_does_not_reach_a_division() {
    let store = Store::new(|dir| lmdb_file::fill(dir, Tail::Newest));
    for size in [0_u32, 1, 256, 5000, 65_536, u32::MAX] {
        let size = if cfg!(target_endian = "big") { size.to_be_bytes() } else { size.to_le_bytes() };
        let mut bytes = store.bytes.clone();
        for page in [0, store.page_size()] {
            bytes[page + 40..page + 44].copy_from_slice(&size);
        }
        assert!(matches!(store.with(&bytes), Err(OpenError::DataDamaged { .. })), "{size:?}");
    }
}

#[test]
fn a_file_of_the_other_byte_order_is_named_as_such() {
    let store = Store::new(|dir| lmdb_file::fill(dir, Tail::Newest));
    let mut bytes = store.bytes.clone();
    bytes[16..20].reverse();
    let error = store.with(&bytes).unwrap_err();
    assert!(error.to_string().contains("a machine of the other byte order"), "{error}");
}

#[test]
fn no_cut_of_a_full_file_passes_unless_everything_is_still_there() {
    let store = Store::new(|dir| lmdb_file::fill(dir, Tail::Newest));
    let page_size = u64::from(store.header.page_size);
    let needed = (store.header.last_page + 1) * page_size;
    let mut refused = 0;
    for len in (0..store.bytes.len()).step_by(512) {
        let passed = store.cut(len);
        assert!(passed.is_none() || len as u64 >= store.roots_end(), "cut to {len}");
        assert!(passed.is_none_or(|header| header.short == ((len as u64) < needed)));
        refused += usize::from(passed.is_none());
    }
    assert!(refused > 100, "{refused} of {}", store.bytes.len() / 512);
}

/// The case that the roots alone do not tell: they are there, and a page far below them is not.
#[test]
fn a_file_cut_below_its_roots_is_refused_before_lmdb_reads_what_is_not_there() {
    let store = Store::new(|dir| lmdb_file::fill(dir, Tail::Value));
    let len = store.bytes.len();
    let roots_end = usize::try_from(store.roots_end()).unwrap();
    assert!(roots_end + 50_000 < len, "the roots end at {roots_end} of {len}");
    for len in (roots_end..len).step_by(512) {
        assert_eq!(store.cut(len), None, "cut to {len}");
    }
}

#[test]
fn a_file_cut_within_its_free_tail_passes_as_short_and_lmdb_reads_all_of_it() {
    let store = Store::new(|dir| lmdb_file::fill(dir, Tail::Free));
    let passed: Vec<_> =
        (0..store.bytes.len()).step_by(512).filter_map(|len| Some((len, store.cut(len)?))).collect();
    let short = passed.iter().filter(|(_, header)| header.short).count();
    assert!(short > 20, "{short} of {}", store.bytes.len() / 512);
    assert!(passed.iter().all(|(len, _)| *len > store.bytes.len() / 2), "the front is in use");
}

#[test]
fn a_file_that_lmdb_itself_left_short_is_a_healthy_one() {
    let store = Store::new(|dir| {
        lmdb_file::fill(dir, Tail::Newest);
        lmdb_file::leave_the_tail_unwritten(dir);
    });
    assert!(store.header.short, "{:?} of {} bytes", store.header, store.bytes.len());
    assert_eq!(store.cut(store.bytes.len()), Some(store.header));
}

#[test]
fn a_walk_through_damaged_pages_ends_in_an_error_or_at_the_end() {
    let store = Store::new(|dir| lmdb_file::fill(dir, Tail::Free));
    let len = store.bytes.len() - store.page_size();
    assert!(store.cut(len).is_some(), "the walk is taken, and passes");
    let mut random = shuffled(7);
    let mut refused = 0;
    for _ in 0..2000 {
        let mut bytes = store.bytes[..len].to_vec();
        for _ in 0..4 {
            // The first bytes of a page: header, offsets, and with them the way to everything else.
            let page = 2 + random() % (len / store.page_size() - 2);
            bytes[page * store.page_size() + random() % 64] ^= 1 << (random() % 8);
        }
        match store.with(&bytes) {
            Ok(header) => assert!(header.short),
            Err(OpenError::DataDamaged { .. }) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(refused > 200, "{refused}");
}

/// The same numbers each time: xorshift.
fn shuffled(seed: u64) -> impl FnMut() -> usize {
    let mut state = seed;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    }
}
