//! Transactions: tables, events and settlements are stored together, or not at all.

use std::ops::Bound;
use std::sync::mpsc;
use std::time::Duration;

use busway_persistence::{
    Appended, Attempts, Entry, Parked, Position, ReadTables as _, Recorded, Refusal, RequestError,
    Settlement, Store, StoreOptions, TX_MILLIS_MAX, Table, TableId, TransactError, Tx, TxError, Work,
    WriteTables as _,
};

use crate::world::{Waiting, at, dir, entry, event, one, open};

fn opened() -> StoreOptions {
    one().table("counts").table("names")
}

pub(crate) fn transact(
    store: &Store,
    work: impl FnMut(&mut Tx<'_>) -> Result<(), TxError> + Send + 'static,
) -> Result<Vec<Position>, TransactError> {
    let (answer, answered) = mpsc::channel();
    store.transact(Box::new(work), Box::new(move |result| answer.send(result.map(places)).unwrap())).unwrap();
    answered.recv().unwrap()
}

/// The same for one that settles.
pub(crate) fn transact_to_settle(
    store: &Store,
    work: impl FnMut(&mut Tx<'_>) -> Result<(), TxError> + Send + 'static,
) -> Result<Vec<Position>, TransactError> {
    let (answer, answered) = mpsc::channel();
    let done = Box::new(move |result: Result<_, _>| answer.send(result.map(places)).unwrap());
    store.transact_to_settle(Box::new(work), done).unwrap();
    answered.recv().unwrap()
}

fn places(appended: Appended) -> Vec<Position> {
    appended.into_entries().iter().map(Entry::place).collect()
}

fn count(store: &Store, table: TableId) -> u64 {
    store.get(table, b"total").unwrap().map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

fn add_one(tx: &mut Tx<'_>, table: TableId) -> Result<(), TxError> {
    let before =
        tx.get_bytes(table, b"total")?.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
    tx.put_bytes(table, b"total", &(before + 1_u64).to_be_bytes())
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
        store.transact(work, Box::new(move |result| answer.send(result.map(places)).unwrap())).unwrap();
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
            tx.put_bytes(names, &[number], &large)
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
            tx.put_bytes(names, key.as_bytes(), key.as_bytes())?;
        }
        tx.put_bytes(counts, b"b", b"other")?;
        assert!(tx.delete_bytes(names, b"c")? && !tx.delete_bytes(names, b"c")?);
        assert_eq!(tx.range_bytes(names, (Bound::Unbounded, Bound::Unbounded), 10)?.len(), 3);
        assert!(matches!(tx.put_bytes(names, &[0; 508], b""), Err(TxError::KeyTooLong { len: 508 })));
        assert!(matches!(
            tx.put_bytes(names, b"x", &vec![0; (1 << 20) + 1]),
            Err(TxError::ValueTooLong { .. })
        ));
        tx.put_bytes(names, &[0xff; 507], b"longest")
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

const TOTALS: Table<(String, u32), u64> = Table::new("counts");

#[test]
fn a_table_has_the_types_that_it_was_given() {
    let dir = dir();
    let store = open(dir.path(), opened());
    let key = |name: &str, number| (name.to_owned(), number);
    transact(&store, move |tx| {
        for (name, number) in [("b", 1), ("a", 300), ("a", 2), ("ab", 0)] {
            tx.put(&TOTALS, &key(name, number), &u64::from(number))?;
        }
        assert_eq!(tx.get(&TOTALS, &key("a", 2))?, Some(2));
        assert!(tx.delete(&TOTALS, &key("b", 1))? && !tx.delete(&TOTALS, &key("b", 1))?);
        Ok(())
    })
    .unwrap();
    let mut snapshot = store.snapshot().unwrap();
    let all = snapshot.range(&TOTALS, .., 10).unwrap();
    assert_eq!(all, [(key("a", 2), 2), (key("a", 300), 300), (key("ab", 0), 0)]);
    assert_eq!(snapshot.range(&TOTALS, key("a", 3)..=key("a", u32::MAX), 10).unwrap().len(), 1);
    let wrong: Table<u64, String> = Table::new("counts");
    let error = snapshot.range(&wrong, .., 10).unwrap_err();
    assert!(error.to_string().starts_with("table \"counts\" holds something else under key"), "{error}");
    let unknown: Table<u64, u64> = Table::new("unheard of");
    assert!(matches!(snapshot.get(&unknown, &1), Err(TxError::UnknownTable { .. })));
    drop(snapshot);
    let long = Table::<String, u64>::new("counts");
    let refused = transact(&store, move |tx| tx.put(&long, "k".repeat(508).as_str(), &1)).unwrap_err();
    assert!(matches!(refused, TransactError::Aborted(TxError::KeyTooLong { len: 508 })));
}

#[test]
fn what_is_stored_with_a_settlement_is_stored_once() {
    let dir = dir();
    let store = open(dir.path(), opened());
    store.put_all((0..4).map(|number| entry(&store, "a", number)).collect()).unwrap();
    let counts = store.table("counts").unwrap();
    let reader = store.join("reader", "#", vec![(0, 0)]).unwrap().number;
    let parked = |offset| {
        let row = Parked { offset, due: at(0), lane: 1, attempts: Attempts::NONE, attempt_count: 1 };
        store.decide(reader, Settlement { parked: vec![row], ..Settlement::default() }).unwrap();
    };
    let finish = |offset| {
        transact(&store, move |tx| {
            add_one(tx, counts)?;
            tx.finish(reader, 0, offset);
            Ok(())
        })
    };
    finish(0).unwrap();
    let again = finish(0).unwrap_err();
    assert!(
        matches!(again, TransactError::Aborted(TxError::AlreadySettled { partition: 0, offset: 0 })),
        "{again:?}"
    );
    parked(1);
    finish(1).unwrap();
    finish(1).unwrap_err();
    // A decision to attempt it again that comes behind: it is outdated.
    parked(1);
    parked(2);
    let twice = transact(&store, move |tx| {
        tx.finish(reader, 0, 3);
        tx.finish(reader, 0, 3);
        add_one(tx, counts)
    });
    assert!(twice.is_err());
    assert_eq!(count(&store, counts), 2);
    store.close();
    let store = open(dir.path(), opened());
    let place = store.join("reader", "#", vec![(0, 0)]).unwrap().places.remove(0);
    assert_eq!(place.parked.iter().map(|parked| parked.offset).collect::<Vec<_>>(), [2]);
    assert_eq!(place.cursor.low(), 3);
}

#[test]
fn effects_are_not_stored_without_their_settlement() {
    let dir = dir();
    let store = open(dir.path(), opened());
    let counts = store.table("counts").unwrap();
    let refused = transact(&store, move |tx| {
        add_one(tx, counts)?;
        tx.finish(77, 0, 0);
        Ok(())
    });
    let Err(TransactError::Request(RequestError::UnknownSubscription { number: 77 })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(count(&store, counts), 0);
}

#[test]
fn a_recorded_transaction_is_stored_only_if_what_it_read_still_holds() {
    let dir = dir();
    let store = open(dir.path(), opened());
    let (counts, names) = (store.table("counts").unwrap(), store.table("names").unwrap());
    let all = (Bound::Unbounded, Bound::Unbounded);
    let record = || {
        let mut recorded = Recorded::new();
        let before = recorded.get(&store, counts, b"total").unwrap();
        let before = before.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
        let known = recorded.range(&store, names, all, 10).unwrap().len() as u64;
        recorded.put(counts, b"total", &(before + known + 1).to_be_bytes()).unwrap();
        assert!(!recorded.delete(&store, names, b"nobody").unwrap());
        recorded
    };
    let play = |recorded: Recorded| transact(&store, move |tx| recorded.play(tx));
    let (first, second) = (record(), record());
    play(first).unwrap();
    let conflict = play(second).unwrap_err();
    assert!(matches!(conflict, TransactError::Aborted(TxError::Conflict)), "{conflict:?}");
    play(record()).unwrap();
    // A key that came into a range that was read.
    let third = record();
    transact(&store, move |tx| tx.put_bytes(names, b"somebody", b"")).unwrap();
    assert!(play(third).is_err());
    play(record()).unwrap();
    assert_eq!(count(&store, counts), 4);
    // What is written is read, and nothing of it is stored before it is played.
    let mut recorded = Recorded::new();
    recorded.put(names, b"a", b"1").unwrap();
    assert!(recorded.delete(&store, names, b"somebody").unwrap());
    assert_eq!(recorded.range(&store, names, all, 1).unwrap(), [(b"a".to_vec(), b"1".to_vec())]);
    assert_eq!(recorded.get(&store, names, b"somebody").unwrap(), None);
    assert_eq!(store.get(names, b"a").unwrap(), None);
    play(recorded).unwrap();
    assert_eq!(store.range(names, .., 10).unwrap(), [(b"a".to_vec(), b"1".to_vec())]);
}

#[test]
fn a_transaction_that_holds_up_the_store_is_aborted_and_the_store_goes_on() {
    let dir = dir();
    let store = open(dir.path(), opened());
    let counts = store.table("counts").unwrap();
    let slow = transact(&store, move |tx| {
        add_one(tx, counts)?;
        let error = loop {
            if let Err(error) = tx.get_bytes(counts, b"total") {
                break error;
            }
        };
        assert!(matches!(error, TxError::TooSlow), "{error}");
        Ok(())
    });
    assert!(matches!(slow, Err(TransactError::Aborted(TxError::TooSlow))), "{slow:?}");
    transact(&store, move |tx| add_one(tx, counts)).unwrap();
    assert_eq!(count(&store, counts), 1);
}

#[test]
fn a_transaction_whose_thread_is_given_no_processor_for_a_while_is_stored() {
    let dir = dir();
    let store = open(dir.path(), opened());
    let counts = store.table("counts").unwrap();
    // Nobody sends: for as long the thread does not work, as on a machine that has more to do than processors.
    let (_never, nothing) = mpsc::channel::<()>();
    let stored = transact(&store, move |tx| {
        assert!(nothing.recv_timeout(Duration::from_millis(TX_MILLIS_MAX * 3 / 2)).is_err());
        add_one(tx, counts)
    });
    stored.unwrap();
    assert_eq!(count(&store, counts), 1);
}

#[test]
fn a_thread_may_read_within_a_read_while_the_map_grows() {
    let dir = dir();
    let store = open(dir.path(), opened());
    let (counts, names) = (store.table("counts").unwrap(), store.table("names").unwrap());
    let mut snapshot = store.snapshot().unwrap();
    let (answer, answered) = mpsc::channel();
    // More than the map has: the writer waits for the snapshot to grow it.
    let large = vec![7; 1 << 20];
    let work: Work = Box::new(move |tx| (0..3_u8).try_for_each(|key| tx.put_bytes(names, &[key], &large)));
    store.transact(work, Box::new(move |result| answer.send(result.map(drop)).unwrap())).unwrap();
    for _ in 0..1_000 {
        assert_eq!(store.get(counts, b"total").unwrap(), None);
        assert_eq!(snapshot.get_bytes(names, b"a").unwrap(), None);
        std::thread::yield_now();
    }
    drop(snapshot);
    answered.recv().unwrap().unwrap();
    assert_eq!(store.range(names, .., 10).unwrap().len(), 3);
}
