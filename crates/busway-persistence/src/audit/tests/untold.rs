//! Commits that a transaction sees, and readers were not told of yet.

use super::*;
use crate::segment::{Log, Segment, SegmentSize};
use crate::{Archive, verify_archive};

/// Shows readers the log as it was when it ended at an offset, as between a commit and its telling.
fn tell_up_to(store: &Store, end: u64) {
    let size = SegmentSize::of(&Retention::forever(), 8);
    let newest = Segment::from_row(0, (0, end, 0, 0, 0)).unwrap();
    store.shared().note_log(LEDGER, &Log::of(vec![newest], 8, size).unwrap());
    assert_eq!(store.bounds(LEDGER), Some((0, end)));
}

fn written_up_to(dir: &Path, end: u64) -> Store {
    let store = Store::open(dir, options(audit(true))).unwrap();
    for number in 0..end {
        put(&store, "ledger.a", number..number + 1, at(0), 8);
    }
    store
}

#[test]
fn a_commit_that_was_not_told_yet_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = written_up_to(dir.path(), 20);
    let head = store.audit_heads("ledger").unwrap().unwrap();
    // Behind what shares its value with others, and behind one whose last key is that of a chunk.
    put(&store, "ledger.a", 20..30, at(0), 8);
    for end in [30, 31] {
        for told in 15..end {
            tell_up_to(&store, told);
            let verified = store.verify_against(head.clone()).unwrap();
            assert!(verified.is_sound(), "{told}: {verified:?}");
            assert_eq!((verified.audits[0].to, verified.audits[0].heads), (end, 1));
        }
        tell_up_to(&store, end);
        put(&store, "ledger.large", end..end + 1, at(0), 9_000);
    }
}

#[test]
fn a_link_without_its_records_is_damage_whatever_was_told() {
    let dir = tempfile::tempdir().unwrap();
    written_up_to(dir.path(), 20).close();
    anew::cut(dir.path(), 15, false);
    let store = Store::open(dir.path(), options(audit(true))).unwrap();
    tell_up_to(&store, 14);
    assert_eq!(store.verify().unwrap().damaged_count, 5);
}

#[test]
fn a_commit_that_was_not_told_yet_is_left_to_the_next_archiving() {
    let (dir, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = written_up_to(dir.path(), 20);
    let archive = || store.archive(Archive::stream("ledger", folder.path()).records(10)).unwrap().records;
    for (told, expected) in [(3, 3), (3, 0), (19, 16), (20, 1)] {
        tell_up_to(&store, told);
        assert_eq!(archive(), expected, "{told}");
    }
    let verified = verify_archive(folder.path(), Some(&the_key())).unwrap();
    assert!(verified.is_sound() && verified.records == 20, "{verified:?}");
}
