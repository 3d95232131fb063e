//! Whom a death is held against, when rows are written, and their bytes.

use uuid::Uuid;

use super::*;
use crate::Store;

const OPENING: Uuid = Uuid::from_u128(0x0192_f0c1_2b3d_7e4f_8a5b_6c7d_8e9f_a0b1);

const fn time(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(1_760_000_000_000_000_000 + seconds * 1_000_000_000)
}

#[test]
fn a_death_is_held_against_whom_it_concerns() {
    let death = Death { opening: OPENING, attended: [1].into() };
    let (got_on, did_not) = (*OPENING.as_bytes(), [0; 16]);
    let held = |death: Option<&Death>, number, opening, is_marked, has_work| {
        let row = Attendance { at: time(0), opening, deaths: 2 };
        deaths(death, number, &row, is_marked, has_work)
    };
    let death = Some(&death);
    assert_eq!(held(death, 1, did_not, false, true), 3, "nothing was stored, and there was something to do");
    assert_eq!(held(death, 1, did_not, false, false), 0, "there was nothing to do");
    assert_eq!(held(death, 1, got_on, false, true), 0, "it got on");
    assert_eq!(held(death, 1, got_on, true, true), 3, "it got on, and died with an event under its mark");
    assert_eq!(held(death, 2, did_not, false, true), 2, "it had no part in it");
    assert_eq!(held(None, 1, did_not, true, true), 0, "there was no death");
    assert_eq!(held(Some(&Death::default()), 1, did_not, false, true), 2, "nothing is known of it");
}

#[test]
fn rows_wait_for_a_commit_that_happens_anyway() {
    let mut all = Attendances::default();
    all.attend(1, time(0), None);
    assert!(all.is_waiting());
    all.keep();
    assert!(all.is_waiting(), "it was stored without them");
    all.attend(2, time(0), Some(*OPENING.as_bytes()));
    assert_eq!(all.take_unstored().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
    all.begin();
    assert!(all.is_waiting() && all.of(2).is_none(), "it was given up");
    assert_eq!(all.take_unstored().len(), 1);
    all.keep();
    assert!(!all.is_waiting());
    all.attend(1, time(3_599), None);
    assert!(!all.is_waiting(), "within the hour nothing changes");
    all.attend(1, time(3_600), None);
    assert_eq!(all.of(1).unwrap().at, time(3_600));
    all.begin();
    all.attend(1, time(1), Some(*OPENING.as_bytes()));
    assert!(all.is_waiting(), "the first that is stored in an opening");
    all.take_unstored();
    all.keep();
    all.attend(1, time(2), Some(*OPENING.as_bytes()));
    assert!(!all.is_waiting(), "the second");
}

#[test]
fn those_of_a_batch_are_known_in_it() {
    let mut all = Attendances::default();
    (1..=2).for_each(|number| all.attend(number, time(0), None));
    assert_eq!(all.known(), 2, "none of them is kept yet");
    all.keep();
    all.forget(1);
    all.forget(7);
    all.attend(2, time(3_600), None);
    all.attend(3, time(0), None);
    assert_eq!(all.known(), 2, "one has gone, and one is new");
    all.begin();
    assert_eq!(all.known(), 2, "it was given up");
}

/// Keys and rows as every version before wrote them: `docs/design/format.md`.
#[test]
fn the_bytes_of_the_rows_are_those_of_version_one() {
    let row = Attendance { at: time(0), opening: *OPENING.as_bytes(), deaths: 2 };
    let key = numbered_key(ATTENDED, 3);
    assert_eq!(key, b"attended/\0\0\0\x03");
    let bytes = row::encode(&key, &row).unwrap();
    assert_eq!(row::hex(&bytes), GOLDEN_ATTENDED);
    assert_eq!(row::decode::<Attendance>("attendance", &key, &bytes).unwrap(), row);

    let mark = Mark { opening: *OPENING.as_bytes(), partition: 5, offset: 17, attempt: 1, at: time(1) };
    let key = numbered_key(MARK, 3);
    assert_eq!(key, b"mark/\0\0\0\x03");
    let bytes = row::encode(&key, &mark).unwrap();
    assert_eq!(row::hex(&bytes), GOLDEN_MARK);
    assert_eq!(row::decode::<Mark>("mark", &key, &bytes).unwrap(), mark);

    let quarantine = Quarantine { deaths: 3, attempt: 1, begun: time(1) };
    let key = [&crate::layout::place_key(3, 5, 17)[..], &[2]].concat();
    let bytes = row::encode(&key, &quarantine).unwrap();
    assert_eq!(row::hex(&bytes), GOLDEN_QUARANTINE);
    assert_eq!(row::decode::<Quarantine>("quarantine", &key, &bytes).unwrap(), quarantine);
}

/// A store with a subscription of whose row something was made before it was opened again.
fn reopened(
    change: impl FnOnce(crate::lmdb::Db<'_>, &mut heed::RwTxn<'_>, &[u8]),
) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    register(&store);
    store.close();
    let store = open(&dir);
    let key = numbered_key(ATTENDED, store.subscriptions().unwrap()[0].number);
    let shared = store.shared();
    shared
        .gate
        .write(|mut txn| {
            assert!(shared.databases.meta.get(&txn, &key).unwrap().is_some());
            change(shared.databases.meta, &mut txn, &key);
            txn.commit().unwrap();
        })
        .unwrap();
    store.close();
    let store = open(&dir);
    (dir, store)
}

fn open(dir: &tempfile::TempDir) -> Store {
    Store::open(dir.path(), crate::StoreOptions::new().reserve_bytes(0)).unwrap()
}

fn register(store: &Store) {
    store.retain(time(0));
    let filter = busway_event::Filter::new("#").unwrap();
    store.register("reader", &filter, Vec::new(), Box::new(|result| drop(result.unwrap())));
}

#[test]
fn time_counts_from_when_it_is_told_for_who_comes_from_a_store_without_rows() {
    // As a version before left it.
    let (dir, store) = reopened(|meta, txn, key| assert!(meta.delete(txn, key).unwrap()));
    assert_eq!(store.subscriptions().unwrap()[0].attended, None);
    store.retain(time(9));
    store.close();
    assert_eq!(open(&dir).subscriptions().unwrap()[0].attended, Some(time(9)));
}

#[test]
fn a_damaged_row_keeps_no_store_closed_and_is_written_anew() {
    let (dir, store) = reopened(|meta, txn, key| meta.put(txn, key, b"no row").unwrap());
    assert!(matches!(store.subscriptions(), Err(ReadError::Corrupt(_))), "whoever asks is told");
    register(&store);
    store.close();
    assert_eq!(open(&dir).subscriptions().unwrap()[0].attended, Some(time(0)));
}

const GOLDEN_ATTENDED: &str = "0178e6f9d80000b0d4acc66c180192f0c12b3d7e4f8a5b6c7d8e9fa0b102000000";
const GOLDEN_MARK: &str =
    "01f31fa4d10192f0c12b3d7e4f8a5b6c7d8e9fa0b10500000011000000000000000100000000ca4a10adc66c18";
const GOLDEN_QUARANTINE: &str = "01575a20cc030000000100000000ca4a10adc66c18";
