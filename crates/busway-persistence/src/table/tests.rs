//! Values of tables: their checksums, and tables that were made before there were any.

use std::sync::mpsc;

use heed::RwTxn;

use super::*;
use crate::layout::TABLE;
use crate::{ReadError, Store, StoreOptions, TransactError, Tx};

fn open(dir: &tempfile::TempDir) -> Store {
    Store::open(dir.path(), StoreOptions::new().map_bytes(1 << 20).reserve_bytes(0).table("totals")).unwrap()
}

fn transact(
    store: &Store,
    work: impl FnMut(&mut Tx<'_>) -> Result<(), TxError> + Send + 'static,
) -> Result<(), TransactError> {
    let (answer, answered) = mpsc::channel();
    let done = Box::new(move |result: Result<_, _>| answer.send(result.map(drop)).unwrap());
    store.transact(Box::new(work), done).unwrap();
    answered.recv().unwrap()
}

/// Writes into the file what the store would not.
fn write(store: &Store, write: impl FnOnce(&Databases<'static>, &mut RwTxn<'_>)) {
    let shared = store.shared();
    let put = |mut txn: RwTxn<'_>| {
        write(&shared.databases, &mut txn);
        txn.commit().unwrap();
    };
    shared.gate.write(put).unwrap();
}

#[test]
fn the_golden_value_and_number_are_what_is_written_today() {
    let full = full_key(TableId(DRESSED | 3), b"total").unwrap();
    assert_eq!(row::hex(&dressed(&full, b"42")), "018fb80a883432");
    assert_eq!(row::hex(&number_row(b"table/totals", 3)), "02c3c9e0aa03000080");
    assert_eq!(
        number_of("table", b"table/totals", &number_row(b"table/totals", 3)).unwrap(),
        TableId(DRESSED | 3)
    );
    let mixed = row::encode(b"table/totals", &(DRESSED | 3)).unwrap();
    assert!(number_of("table", b"table/totals", &mixed).is_err(), "version 1 has no such numbers");
}

#[test]
fn any_flipped_bit_of_a_value_is_an_error_that_names_it_and_its_neighbours_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let table = store.table("totals").unwrap();
    transact(&store, move |tx| {
        [b"a", b"b", b"c"].iter().try_for_each(|key| tx.put_bytes(table, *key, b"1234"))
    })
    .unwrap();
    assert!(store.verify().unwrap().is_sound());
    let full = full_key(table, b"b").unwrap();
    let whole = dressed(&full, b"1234").into_owned();
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        write(&store, |databases, txn| databases.tables.put(txn, &full, &damaged).unwrap());
        let error = store.get(table, b"b").unwrap_err();
        assert!(matches!(error, ReadError::Corrupt(_)), "bit {bit}: {error}");
    }
    assert!(matches!(store.range(table, .., 10), Err(ReadError::Corrupt(_))));
    assert_eq!(store.get(table, b"a").unwrap(), Some(b"1234".to_vec()));
    assert_eq!(store.range(table, (Bound::Included(&b"c"[..]), Bound::Unbounded), 10).unwrap().len(), 1);
    let verified = store.verify().unwrap();
    assert_eq!(
        (verified.damaged_count, &*verified.damaged[0].place),
        (1, &*format!("table value under {}", row::hex(&full)))
    );
    let read = transact(&store, move |tx| tx.get_bytes(table, b"b").map(drop)).unwrap_err();
    assert!(matches!(read, TransactError::Aborted(TxError::Damaged(_))), "{read:?}");
    assert!(store.fault().is_none(), "it is one value");
    // It can be removed, and set anew.
    transact(&store, move |tx| tx.delete_bytes(table, b"b").map(|was_there| assert!(was_there))).unwrap();
    transact(&store, move |tx| tx.put_bytes(table, b"b", b"5")).unwrap();
    assert_eq!(store.get(table, b"b").unwrap(), Some(b"5".to_vec()));
    assert!(store.verify().unwrap().is_sound());
}

#[test]
fn a_table_that_an_older_release_has_made_keeps_its_values_as_they_are_and_new_ones_have_checksums() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    write(&store, |databases, txn| {
        let key = [TABLE, b"totals"].concat();
        databases.meta.put(txn, &key, &row::encode(&key, &0_u32).unwrap()).unwrap();
        let full = full_key(TableId(0), b"all").unwrap();
        databases.tables.put(txn, &full, b"7").unwrap();
    });
    store.close();
    let options = || StoreOptions::new().map_bytes(1 << 20).reserve_bytes(0).table("totals").table("new");
    for value in [b"7", b"8"] {
        let store = Store::open(dir.path(), options()).unwrap();
        let (old, new) = (store.table("totals").unwrap(), store.table("new").unwrap());
        assert!(old.0 < DRESSED && new.0 > DRESSED, "{old:?}, {new:?}");
        assert_eq!(store.get(old, b"all").unwrap(), Some(value.to_vec()));
        transact(&store, move |tx| {
            tx.put_bytes(old, b"all", b"8")?;
            tx.put_bytes(new, b"all", value)
        })
        .unwrap();
        assert_eq!(store.range(new, .., 10).unwrap(), [(b"all".to_vec(), value.to_vec())]);
        assert!(store.verify().unwrap().is_sound());
        store.close();
    }
}
