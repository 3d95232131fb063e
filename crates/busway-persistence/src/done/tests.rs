//! Rows of keys: what goes, and a model of it. Their bytes: `rows/tests`.

use std::sync::mpsc;

use busway_event::Filter;
use proptest::prelude::*;

use super::*;
use crate::row;
use crate::{Settlement, StoreOptions, Stream};

const fn time(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(1_760_000_000_000_000_000 + seconds * 1_000_000_000)
}

const fn key(number: u8, until: i64) -> DoneKey {
    DoneKey { key: [number; 16], until: time(until) }
}

fn open(dir: &tempfile::TempDir) -> Store {
    let options = StoreOptions::new().reserve_bytes(0).stream(Stream::new("all").capture("#"));
    Store::open(dir.path(), options).unwrap()
}

fn register(store: &Store) -> u32 {
    let (answer, answered) = mpsc::channel();
    let done = Box::new(move |result| answer.send(result).unwrap());
    store.register("reader", &Filter::new("#").unwrap(), vec![(0, 0)], done);
    answered.recv().unwrap().unwrap().number
}

fn settle(store: &Store, reader: u32, done: DoneKeys, at: i64) {
    store.retain(time(at));
    let (answer, answered) = mpsc::channel();
    let settlement = Settlement { done, ..Settlement::default() };
    store.settle(reader, 0, settlement, Some(Box::new(move |result| answer.send(result).unwrap()))).unwrap();
    answered.recv().unwrap().unwrap();
}

/// What is remembered, by the numbers of the keys.
fn kept(store: &Store, reader: u32) -> Vec<u8> {
    store.done_keys(reader).unwrap().iter().map(|done| done.key[0]).collect()
}

fn rows(store: &Store) -> usize {
    let txn = store.shared().gate.read().unwrap();
    usize::try_from(store.shared().databases.done.len(&txn).unwrap()).unwrap()
}

/// More keys than a row takes.
#[test]
fn a_settlement_of_more_keys_than_a_row_takes_has_several() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let reader = register(&store);
    let count = 2 * ROW_KEYS_MAX + 7;
    let keys: Vec<DoneKey> =
        (0..count as u128).map(|number| DoneKey { key: number.to_le_bytes(), until: time(60) }).collect();
    settle(&store, reader, DoneKeys { keys: keys.clone(), keys_max: 100_000 }, 0);
    assert_eq!(rows(&store), 3);
    assert_eq!(store.done_keys(reader).unwrap(), keys);
}

#[test]
fn keys_outlive_the_store_in_their_order_and_go_with_their_subscription() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let reader = register(&store);
    let keys: Vec<DoneKey> = (0..200).map(|number| key(number, 60)).collect();
    settle(&store, reader, DoneKeys { keys: keys.clone(), keys_max: 1_000 }, 0);
    settle(&store, reader, DoneKeys::one(key(200, 60), 1_000), 1);
    store.close();
    let store = open(&dir);
    assert_eq!(store.done_keys(reader).unwrap(), [keys, vec![key(200, 60)]].concat());
    assert_eq!(store.done_keys(reader + 1).unwrap(), []);
    settle(&store, reader, DoneKeys::one(key(201, 60), 1_000), 1);
    assert_eq!(
        (rows(&store), store.done_keys(reader).unwrap().len()),
        (3, 202),
        "it goes on behind the last row"
    );
    let (answer, answered) = mpsc::channel();
    store.remove_subscription("reader", Box::new(move |result| answer.send(result).unwrap()));
    answered.recv().unwrap().unwrap();
    assert_eq!(rows(&store), 0);
}

/// By a wall clock that was ahead for a moment they had all run out.
#[test]
fn keys_stay_until_their_time_is_over_by_the_time_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let reader = register(&store);
    store.age_at_most(time(0));
    store.retain(time(1_000_000));
    for number in 0..20 {
        settle(&store, reader, DoneKeys::one(key(number, 3_600), 1_000), 0);
    }
    assert_eq!(kept(&store, reader), (0..20).collect::<Vec<_>>());
    store.age_at_most(time(3_600));
    settle(&store, reader, DoneKeys::one(key(20, 9_000), 1_000), 3_600);
    assert_eq!(kept(&store, reader), (9..=20).collect::<Vec<_>>());
}

/// A store that an earlier version wrote rows of keys into: they are read before those of today, and go when their time has come.
#[test]
fn rows_of_version_one_are_read_and_go_like_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let reader = register(&store);
    let old = |store: &Store, rows: &[(u64, DoneKey)]| {
        let shared = store.shared();
        let put = |mut txn: RwTxn<'_>| {
            for (row, done) in rows {
                let at = done_key(reader, *row);
                let value = [(u128::from_le_bytes(done.key), done.until.as_nanos())];
                shared.databases.done.put(&mut txn, &at, &row::encode(&at, &value[..]).unwrap()).unwrap();
            }
            txn.commit().unwrap();
        };
        shared.gate.write(put).unwrap();
    };
    old(&store, &[(0, key(1, 10)), (1, key(2, 30)), (2, key(3, 20))]);
    settle(&store, reader, DoneKeys::one(key(4, 60), 1_000), 0);
    assert_eq!(kept(&store, reader), [1, 2, 3, 4]);
    settle(&store, reader, DoneKeys::one(key(5, 60), 1_000), 10);
    assert_eq!(kept(&store, reader), [2, 3, 4, 5]);
    settle(&store, reader, DoneKeys::one(key(6, 60), 4), 10);
    assert_eq!(kept(&store, reader), [3, 4, 5, 6], "and they count among those that are too many");
}

#[test]
fn what_has_run_out_and_what_is_too_many_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let reader = register(&store);
    for number in 0..100 {
        settle(&store, reader, DoneKeys::one(key(number, i64::from(number) + 10), 1_000), i64::from(number));
    }
    assert_eq!(kept(&store, reader), (90..100).collect::<Vec<u8>>(), "ten seconds of them");
    for number in 100..120 {
        settle(&store, reader, DoneKeys::one(key(number, 1_000), 5), 99);
    }
    assert_eq!(kept(&store, reader), [115, 116, 117, 118, 119], "the newest five");
}

/// Ten rows that ran out lie behind one that had not: they go with two settlements.
#[test]
fn a_settlement_lets_go_of_no_more_than_a_few_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let reader = register(&store);
    settle(&store, reader, DoneKeys::one(key(0, 18), 11), 0);
    for number in 1..=10 {
        settle(&store, reader, DoneKeys::one(key(number, 1), 11), 0);
    }
    let kept_at = |number, at| {
        settle(&store, reader, DoneKeys::one(key(number, 100), 11), at);
        kept(&store, reader)
    };
    assert_eq!(kept_at(11, 18), [9, 10, 11]);
    assert_eq!(kept_at(12, 18), [11, 12]);
}

#[test]
fn a_damaged_row_is_told_of_and_none_is_taken_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let reader = register(&store);
    settle(&store, reader, DoneKeys::one(key(1, 60), 10), 0);
    let at = done_key(reader, 0);
    let shared = store.shared();
    shared
        .gate
        .write(|mut txn| {
            let mut row = shared.databases.done.get(&txn, &at).unwrap().unwrap().to_vec();
            *row.last_mut().unwrap() ^= 1;
            shared.databases.done.put(&mut txn, &at, &row).unwrap();
            txn.commit().unwrap();
        })
        .unwrap();
    let error = store.done_keys(reader).unwrap_err();
    assert!(matches!(error, ReadError::Corrupt(_)) && error.to_string().contains("done keys"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// With one key a row: what is kept is the newest `keys_max` of those that no row before them holds up, and what more than
    /// [`ROWS_AT_ONCE`] of them have yet to go.
    #[test]
    fn the_store_and_its_model_agree(
        steps in prop::collection::vec((0_u8..6, 1_i64..20, 0_i64..6, any::<bool>()), 1..40),
        keys_max in 1_usize..12,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, mut model, mut now) = (open(&dir), Vec::<DoneKey>::new(), 0);
        let reader = register(&store);
        for (number, ttl, passes, reopens) in steps {
            now += passes;
            let done = key(number, now + ttl);
            settle(&store, reader, DoneKeys::one(done, keys_max), now);
            model.push(done);
            let mut goes = 0;
            while goes < 1 + ROWS_AT_ONCE
                && goes + 1 < model.len()
                && (model.len() - goes > keys_max || model[goes].until <= time(now))
            {
                goes += 1;
            }
            model.drain(..goes);
            if reopens {
                store.close();
                store = open(&dir);
            }
            prop_assert_eq!(&store.done_keys(reader).unwrap(), &model);
        }
    }
}
