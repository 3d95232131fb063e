//! Transactions in a store or on a disk that is full: those that settle and append nothing are stored, and what they leave in tables has an end.

use busway_persistence::{
    AppendError, Refusal, RequestError, Retention, Settlement, Store, StoreOptions, Stream, TransactError,
    WriteTables as _,
};

use crate::transactions::{transact, transact_to_settle};
use crate::world::{Waiting, at, dir, entry, event, one, open, options};

fn refusal(error: TransactError) -> Refusal {
    match error {
        TransactError::Request(RequestError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn opened() -> StoreOptions {
    one().table("counts")
}

#[test]
fn with_less_on_the_disk_than_the_reserve_what_settles_in_a_transaction_is_stored() {
    let dir = dir();
    let store = open(dir.path(), opened());
    store.put_all((0..4).map(|number| entry(&store, "a", number)).collect()).unwrap();
    let reader = store.join("reader", "#", vec![(0, 0)]).unwrap().number;
    store.close();

    let store = open(dir.path(), opened().reserve_bytes(u64::MAX));
    let Err(AppendError::Refused { reason: Refusal::StorageFull { free, .. }, .. }) =
        store.put(entry(&store, "a", 9))
    else {
        panic!("there is room for ever")
    };
    let counts = store.table("counts").unwrap();
    let count = |store: &Store, offset: u64| {
        transact_to_settle(store, move |tx| {
            tx.finish(reader, 0, offset);
            tx.put_bytes(counts, &offset.to_be_bytes(), b"done")
        })
    };
    // Half of the reserve is for settlements alone.
    assert!(matches!(refusal(count(&store, 0).unwrap_err()), Refusal::StorageFull { .. }));
    store.decide(reader, Settlement { settled: vec![(0, 1)], ..Default::default() }).unwrap();
    store.close();

    let store = open(dir.path(), opened().reserve_bytes(free / 2 * 3));
    count(&store, 1).unwrap();
    assert_eq!(store.get(counts, &1_u64.to_be_bytes()).unwrap(), Some(b"done".to_vec()));
    let appends = transact_to_settle(&store, move |tx| {
        tx.finish(reader, 0, 2);
        tx.append(event("a", 10, 8), false, at(0))
    });
    assert!(matches!(refusal(appends.unwrap_err()), Refusal::StorageFull { .. }));
    let finishes_nothing = transact_to_settle(&store, move |tx| tx.put_bytes(counts, b"x", b"y"));
    assert!(matches!(refusal(finishes_nothing.unwrap_err()), Refusal::StorageFull { .. }));
    let settles_nothing = transact(&store, move |tx| tx.put_bytes(counts, b"x", b"y"));
    assert!(matches!(refusal(settles_nothing.unwrap_err()), Refusal::StorageFull { .. }));
    assert_eq!(store.get(counts, b"x").unwrap(), None);
    assert_eq!(store.join("reader", "#", vec![(0, 0)]).unwrap().places[0].cursor.low(), 2);
    assert_eq!(store.all(0, 0).unwrap().len(), 4);
}

const LIMIT: u64 = 4 << 20;

#[test]
fn at_its_limit_a_store_goes_on_with_transactions_that_settle_until_half_of_the_reserve_is_used() {
    let dir = dir();
    let stream = Stream::new("all").capture("#").retention(Retention::forever().count(1_500));
    let limited = options().stream(stream).table("counts").tail(1, 1 << 20).bytes_max(LIMIT);
    let store = open(dir.path(), limited);
    let counts = store.table("counts").unwrap();
    let reader = store.join("reader", "#", vec![(0, 0)]).unwrap().number;
    let put = |number: u64, len: usize| store.put(store.entry(event("a", number, len), true, at(0)).unwrap());
    let mut number = 0;
    for len in [700, 8] {
        while put(number, len).is_ok() {
            number += 1;
        }
    }
    // Each is two pages.
    let value = vec![7; 6_000];
    let count = |offset: u64| {
        let value = value.clone();
        transact_to_settle(&store, move |tx| {
            tx.finish(reader, 0, offset);
            tx.put_bytes(counts, &offset.to_be_bytes(), &value)
        })
    };
    let mut next = 0;
    let refused = loop {
        match count(next) {
            Ok(_) => next += 1,
            Err(error) => break refusal(error),
        }
    };
    assert_eq!(refused, Refusal::StoreFull { limit: LIMIT });
    assert!((20..200).contains(&next), "{next} values of two pages in 512 KiB");
    let appends = transact_to_settle(&store, move |tx| {
        tx.finish(reader, 0, next);
        tx.append(event("a", number, 20_000), false, at(0))
    });
    assert_eq!(refusal(appends.unwrap_err()), Refusal::StoreFull { limit: LIMIT });
    // The other half is there: all is settled, what nobody needs goes, and there is room for transactions and publishes.
    store.decide(reader, Settlement { settled: vec![(0, number)], ..Default::default() }).unwrap();
    put(number, 700).unwrap();
    count(number).unwrap();
    assert!(store.fault().is_none());
    let bytes = std::fs::metadata(dir.path().join("data.mdb")).unwrap().len();
    assert!(bytes <= LIMIT + (1 << 20), "{bytes}");
}
