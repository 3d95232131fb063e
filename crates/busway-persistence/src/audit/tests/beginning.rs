//! Who moves the beginning of a chain, so that nobody looks at what lies before it.

use super::*;
use crate::audit::rows::AuditRow;
use crate::layout::AUDIT;
use crate::{Archive, ArchiveError};

/// Makes the row say that the chain begins elsewhere.
fn move_start(dir: &Path, start: u64) {
    Forger::at(dir).change(|txn, open| {
        let place = [AUDIT, b"ledger"].concat();
        let stored = open("meta").get(txn, &place).unwrap().unwrap();
        let row: AuditRow = row::decode("audit", &place, stored).unwrap();
        let moved = AuditRow { starts: vec![start], ..row };
        open("meta").put(txn, &place, &row::encode(&place, &moved).unwrap()).unwrap();
    });
}

/// Removes the links and heads before an offset.
fn forget_before(dir: &Path, offset: u64) {
    Forger::at(dir).change(|txn, open| {
        let (from, to) = (key(LEDGER, 0), key(LEDGER, offset));
        let range = (std::ops::Bound::Included(&from[..]), std::ops::Bound::Excluded(&to[..]));
        open("links").delete_range(txn, &range).unwrap();
        open("heads").delete_range(txn, &range).unwrap();
    });
}

const BEGINNING: &str = "the beginning of the chain of partition 0 of stream ledger";

#[test]
fn a_beginning_that_was_moved_over_records_is_found_by_the_links_and_heads_before_it() {
    for is_keyed in [false, true] {
        for start in [36, 41, 42, u64::MAX] {
            let (dir, _) = written(is_keyed);
            alter(dir.path(), 7);
            move_start(dir.path(), start);
            let verified = verify(dir.path(), is_keyed, Vec::new());
            assert!(places(&verified.damaged).contains(&BEGINNING), "{start}: {verified:?}");
        }
    }
}

#[test]
fn a_beginning_that_was_moved_is_found_by_a_head_kept_elsewhere_when_all_before_it_was_removed() {
    for is_keyed in [false, true] {
        let (dir, heads) = written(is_keyed);
        move_start(dir.path(), 41);
        forget_before(dir.path(), 41);
        assert!(verify(dir.path(), is_keyed, Vec::new()).is_sound(), "nothing in the store speaks of it");
        let verified = verify(dir.path(), is_keyed, heads);
        assert!(places(&verified.damaged).contains(&BEGINNING), "{verified:?}");
    }
}

#[test]
fn nothing_is_archived_of_a_chain_whose_beginning_was_moved() {
    let moved = |dir: &Path, folder: &Path| {
        let store = Store::open(dir, options(audit(true))).unwrap();
        let error = store.archive(Archive::stream("ledger", folder)).unwrap_err();
        assert!(matches!(&error, ArchiveError::Chain(_)) && error.to_string().contains(BEGINNING), "{error}");
    };
    let (dir, _) = written(true);
    let folder = tempfile::tempdir().unwrap();
    move_start(dir.path(), 36);
    moved(dir.path(), folder.path());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().filter(is_of_records).count(), 0);

    // What is in the folder already speaks where nothing in the store does.
    let (dir, _) = written(true);
    Store::open(dir.path(), options(audit(true)))
        .unwrap()
        .archive(Archive::stream("ledger", folder.path()))
        .unwrap();
    move_start(dir.path(), 41);
    forget_before(dir.path(), 41);
    moved(dir.path(), folder.path());
}

fn is_of_records(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "jsonl")
}

#[test]
fn a_beginning_that_retention_has_passed_raises_no_alarm_and_one_moved_behind_it_is_found() {
    let term = Duration::from_secs(100);
    let keep = || Audit::keep(term).key(the_key()).heads(10, Duration::from_secs(1));
    let streams = |audit: Option<Audit>| {
        let ledger = Stream::new("ledger").capture("ledger.#").retention(Retention::forever().age(term));
        let other = Stream::new("other").capture("other.#");
        let ledger = match audit {
            Some(audit) => ledger.audit(audit),
            None => ledger,
        };
        StoreOptions::new().map_bytes(1 << 20).reserve_bytes(0).stream(other).stream(ledger)
    };
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), streams(None)).unwrap();
    put(&store, "ledger.a", 0..7, at(0), 8);
    store.close();
    // The chain begins behind what was there.
    let (sender, heads) = mpsc::channel();
    let told = streams(Some(keep())).on_audit_head(move |head| sender.send(head.clone()).unwrap());
    let store = Store::open(dir.path(), told).unwrap();
    let mut kept: Vec<AuditHead> = Vec::new();
    for second in 0..300 {
        put(&store, "ledger.a", second..second + 3, at(i64::try_from(second).unwrap()), 8);
        if second % 25 == 0 {
            kept.extend(heads.try_iter());
            let verified = store.verify_against(kept.clone()).unwrap();
            assert!(verified.is_sound(), "{second}: {verified:?}");
        }
    }
    assert!(store.bounds(LEDGER).unwrap().0 > 7);
    store.close();
    kept.extend(heads.try_iter());
    move_start(dir.path(), 300);
    let store = Store::open(dir.path(), streams(Some(keep()))).unwrap();
    assert!(store.bounds(LEDGER).unwrap().0 > 300, "what lies before it is outdated otherwise");
    let verified = store.verify_against(kept).unwrap();
    assert!(places(&verified.damaged).contains(&BEGINNING), "{verified:?}");
}
