//! Transactions: tables, events and settlements are stored together, or not at all.

use std::ops::Bound;
use std::sync::mpsc;

use busway_persistence::{
    Position, Refusal, RequestError, Settlement, Store, StoreOptions, TableId, TransactError, Tx, TxError,
    Work,
};

use crate::world::{Waiting, at, dir, entry, event, one, open};

fn opened() -> StoreOptions {
    one().table("counts").table("names")
}

fn transact(
    store: &Store,
    work: impl FnMut(&mut Tx<'_>) -> Result<(), TxError> + Send + 'static,
) -> Result<Vec<Position>, TransactError> {
    let (answer, answered) = mpsc::channel();
    store.transact(work, Box::new(move |result| answer.send(result).unwrap()));
    answered.recv().unwrap()
}

fn count(store: &Store, table: TableId) -> u64 {
    store.get(table, b"total").unwrap().map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

fn add_one(tx: &mut Tx<'_>, table: TableId) -> Result<(), TxError> {
    let before = tx.get(table, b"total")?.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
    tx.put(table, b"total", &(before + 1_u64).to_be_bytes())
}

#[test]
fn an_effect_and_its_settlement_are_one_commit_and_outlive_the_store() {
    let dir = dir();
    let store = open(dir.path(), opened());
    store.put_all((0..5).map(|number| entry(&store, "a", number)).collect()).unwrap();
    let (counts, reader) =
        (store.table("counts").unwrap(), store.join("reader", "#", vec![(0, 0)]).unwrap().number);
    for offset in 0..3 {
        transact(&store, move |tx| {
            add_one(tx, counts)?;
            let settled = vec![(offset, offset + 1)];
            tx.settle(reader, 0, Settlement { settled, ..Settlement::default() });
            Ok(())
        })
        .unwrap();
    }
    store.close();
    let store = open(dir.path(), opened());
    assert_eq!(count(&store, store.table("counts").unwrap()), 3);
    assert_eq!(store.join("reader", "#", vec![(0, 0)]).unwrap().places[0].cursor.low(), 3);
    assert_eq!(store.table("unheard of"), None);
}

#[test]
fn what_gives_up_panics_or_is_refused_leaves_nothing_and_costs_its_neighbours_nothing() {
    let dir = dir();
    let store = open(dir.path(), opened());
    let counts = store.table("counts").unwrap();
    let taken = store.put(store.entry(event("a", 1, 8), true, at(0)).unwrap()).unwrap();
    // All of them in one batch, with appends around them.
    let (go_on, waiting) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    store.flush(Box::new(move |_| {
        begun.send(()).unwrap();
        waiting.recv().unwrap();
    }));
    has_begun.recv().unwrap();
    let (answer, answered) = mpsc::channel();
    let ask = |work: Work| {
        let answer = answer.clone();
        store.transact(work, Box::new(move |result| answer.send(result).unwrap()));
    };
    ask(Box::new(move |tx| add_one(tx, counts)));
    ask(Box::new(move |tx| add_one(tx, counts).and(Err(TxError::other("no such order")))));
    ask(Box::new(move |tx| add_one(tx, counts).map(|()| panic!("a bug"))));
    ask(Box::new(move |tx| {
        add_one(tx, counts)?;
        tx.append(event("a", 1, 9), true, at(0))
    }));
    ask(Box::new(move |tx| add_one(tx, counts)));
    go_on.send(()).unwrap();
    let answers: Vec<_> = answered.iter().take(5).collect();
    assert!(matches!(answers[0], Ok(ref places) if places.is_empty()));
    assert!(
        matches!(&answers[1], Err(TransactError::Aborted(error)) if error.to_string() == "no such order")
    );
    assert!(matches!(&answers[2], Err(TransactError::Panicked { message }) if message == "a bug"));
    let Err(TransactError::Request(RequestError::Refused(Refusal::Conflict { first, .. }))) = answers[3]
    else {
        panic!("{:?}", answers[3])
    };
    assert_eq!(first, taken);
    assert!(answers[4].is_ok());
    assert_eq!(count(&store, counts), 2);
    assert_eq!(store.all(0, 0).unwrap().len(), 1);
    assert_eq!(store.put(entry(&store, "a", 2)).unwrap().offset, 1);
}

#[test]
fn a_transaction_that_needs_a_larger_map_is_run_again_and_counts_once() {
    let dir = dir();
    let store = open(dir.path(), opened());
    let (counts, names) = (store.table("counts").unwrap(), store.table("names").unwrap());
    let large = vec![7; 700_000];
    for number in 0..8_u8 {
        let large = large.clone();
        transact(&store, move |tx| {
            add_one(tx, counts)?;
            tx.append(event("a", number.into(), 8), true, at(0))?;
            tx.put(names, &[number], &large)
        })
        .unwrap();
    }
    assert_eq!(count(&store, counts), 8);
    assert_eq!(store.all(0, 0).unwrap().len(), 8);
    assert_eq!(store.range(names, .., 100).unwrap().len(), 8);
}

#[test]
fn events_of_a_transaction_are_in_the_log_with_its_writes() {
    let dir = dir();
    let store = open(dir.path(), opened());
    let counts = store.table("counts").unwrap();
    let places = transact(&store, move |tx| {
        add_one(tx, counts)?;
        tx.append(event("a", 0, 8), false, at(0))?;
        tx.append(event("b", 1, 8), false, at(0))
    });
    assert_eq!(places.unwrap().iter().map(|place| place.offset).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(store.all(0, 0).unwrap(), [(0, 0), (1, 1)]);
}

#[test]
fn tables_do_not_mix_and_their_keys_lie_in_order() {
    let dir = dir();
    let store = open(dir.path(), opened());
    let (counts, names) = (store.table("counts").unwrap(), store.table("names").unwrap());
    transact(&store, move |tx| {
        for key in ["b", "", "ab", "c"] {
            tx.put(names, key.as_bytes(), key.as_bytes())?;
        }
        tx.put(counts, b"b", b"other")?;
        assert!(tx.delete(names, b"c")? && !tx.delete(names, b"c")?);
        assert_eq!(tx.range(names, .., 10)?.len(), 3);
        assert!(matches!(tx.put(names, &[0; 508], b""), Err(TxError::KeyTooLong { len: 508 })));
        assert!(matches!(tx.put(names, b"x", &vec![0; (1 << 20) + 1]), Err(TxError::ValueTooLong { .. })));
        tx.put(names, &[0xff; 507], b"longest")
    })
    .unwrap();
    let keys = |from: Bound<&[u8]>, to: Bound<&[u8]>| {
        let found = store.range(names, (from, to), 10).unwrap();
        found
            .into_iter()
            .map(|(key, _)| String::from_utf8_lossy(&key[..key.len().min(2)]).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(Bound::Unbounded, Bound::Excluded(b"c")), ["", "ab", "b"]);
    assert_eq!(keys(Bound::Included(b"ab"), Bound::Included(b"b")), ["ab", "b"]);
    assert_eq!(keys(Bound::Excluded(b"ab"), Bound::Unbounded).len(), 2);
    assert!(keys(Bound::Included(b"c"), Bound::Included(b"a")).is_empty());
    assert_eq!(store.get(counts, b"b").unwrap(), Some(b"other".to_vec()));
    assert_eq!(store.get(names, &[0; 600]).unwrap(), None);
}
