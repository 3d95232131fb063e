//! A verification comes to its end, and past whatever is damaged on the way.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc;

use busway_persistence::{Store, StoreOptions, Tx, TxError, Verified, Verifying, WriteTables as _};
use tempfile::TempDir;

use crate::world::{dir, open, options};

fn with_table() -> StoreOptions {
    options().table("stock")
}

fn key(number: u32) -> String {
    format!("key-{number:04}")
}

fn value(number: u32) -> String {
    format!("value-{number:04}")
}

/// A store with so many small values, closed.
fn filled(values: Range<u32>) -> TempDir {
    let dir = dir();
    let store = open(dir.path(), with_table());
    let table = store.table("stock").unwrap();
    transact(&store, move |tx| {
        let mut values = values.clone();
        values.try_for_each(|number| tx.put_bytes(table, key(number).as_bytes(), value(number).as_bytes()))
    });
    store.close();
    dir
}

fn transact(store: &Store, work: impl FnMut(&mut Tx<'_>) -> Result<(), TxError> + Send + 'static) {
    let (answer, answered) = mpsc::channel();
    let done = Box::new(move |result: Result<_, _>| answer.send(result.map(drop)).unwrap());
    store.transact(Box::new(work), done).unwrap();
    answered.recv().unwrap().unwrap();
}

/// Changes a byte of these wherever they are in the file.
fn change(dir: &Path, found: &[u8], (at, bit): (usize, u8)) {
    let file = dir.join("data.mdb");
    let mut bytes = fs::read(&file).unwrap();
    let places: Vec<_> =
        bytes.windows(found.len()).enumerate().filter(|(_, here)| *here == found).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "{}", String::from_utf8_lossy(found));
    places.into_iter().for_each(|place| bytes[place + at] ^= bit);
    fs::write(&file, bytes).unwrap();
}

/// What it finds; in so few steps that it has an end.
fn verified(store: &Store) -> Verified {
    gone_through(store, Verifying::begin(store, Vec::new()))
}

fn gone_through(store: &Store, mut verifying: Verifying) -> Verified {
    for _ in 0..100 {
        if !verifying.step(store).unwrap() {
            return verifying.finish();
        }
    }
    panic!("it does not end: {:?}", verifying.finish().damaged.first());
}

#[test]
fn a_key_that_says_it_lies_elsewhere_neither_stops_a_verification_nor_makes_it_leave_something_out() {
    const VALUES: u32 = 2_500;
    let whole = filled(0..VALUES);
    let bytes = fs::read(whole.path().join("data.mdb")).unwrap();
    assert!(verified(&open(whole.path(), with_table())).is_sound());
    // The first digit is made less, or more; beside the end of what is looked at in one go, each of them.
    for number in 980..1_020 {
        for bit in [1, 8] {
            fs::write(whole.path().join("data.mdb"), &bytes).unwrap();
            change(whole.path(), key(number).as_bytes(), (4, bit));
            change(whole.path(), value(VALUES - 1).as_bytes(), (0, 1));
            let verified = verified(&open(whole.path(), with_table()));
            assert_eq!(verified.damaged_count, 2, "{number}, {bit}: {:?}", verified.damaged);
        }
    }
}

#[test]
fn a_verification_goes_on_where_it_was_though_what_lay_there_is_removed_meanwhile() {
    const VALUES: u32 = 1_100;
    for steps in 0..16 {
        let dir = filled(0..VALUES);
        change(dir.path(), value(0).as_bytes(), (0, 1));
        change(dir.path(), value(VALUES - 1).as_bytes(), (0, 1));
        let store = open(dir.path(), with_table());
        let mut verifying = Verifying::begin(&store, Vec::new());
        let is_under_way = (0..steps).all(|_| verifying.step(&store).unwrap());
        let table = store.table("stock").unwrap();
        transact(&store, move |tx| {
            (990..1_010).try_for_each(|number| tx.delete_bytes(table, key(number).as_bytes()).map(drop))
        });
        let verified = gone_through(&store, verifying);
        assert_eq!(verified.damaged_count, 2, "{steps}, {is_under_way}: {:?}", verified.damaged);
    }
}

#[test]
fn a_value_that_is_missing_because_its_key_lies_with_no_table_is_told_of() {
    let dir = filled(0..3);
    // The bit that says that values have checksums.
    change(dir.path(), &[&[0x80, 0, 0, 0], key(1).as_bytes()].concat(), (0, 0x80));
    let store = open(dir.path(), with_table());
    let table = store.table("stock").unwrap();
    assert_eq!(store.get(table, key(1).as_bytes()).unwrap(), None);
    let verified = verified(&store);
    assert_eq!(verified.damaged_count, 1, "{:?}", verified.damaged);
    assert_eq!(
        verified.damaged[0].to_string(),
        "table value under 000000006b65792d30303031 is damaged: no table has its number 0"
    );
}
