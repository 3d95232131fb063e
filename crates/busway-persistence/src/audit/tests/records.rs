//! Records that were altered, moved and removed.

use super::anew::cut;
use super::*;

#[test]
fn an_altered_record_is_named_though_its_checksum_fits() {
    for is_keyed in [false, true] {
        for offset in [0, 4, 20, 35] {
            let (dir, _) = written(is_keyed);
            alter(dir.path(), offset);
            let verified = verify(dir.path(), is_keyed, Vec::new());
            // Whoever only reads is shown it: the checksum fits.
            assert_eq!(verified.events, 41 + 36);
            assert_eq!(
                places(&verified.damaged),
                [format!("record {offset} of partition 0 of stream ledger")]
            );
        }
    }
}

#[test]
fn an_altered_chunk_and_an_altered_name_are_named_by_their_records() {
    let (dir, _) = written(true);
    Forger::at(dir.path()).change(|txn, open| {
        let (place, number) = (chunk_key(37, 1), 1_u16);
        let mut chunk = open("segment/1/0").get(txn, &place).unwrap().unwrap().to_vec();
        chunk[9] ^= 1;
        let where_it_is = [&LEDGER.to_be_bytes()[..], &37_u64.to_be_bytes(), &number.to_be_bytes()].concat();
        let checksum = crc32c::crc32c(&[&chunk[4..], &where_it_is].concat());
        chunk[..4].copy_from_slice(&checksum.to_le_bytes());
        open("segment/1/0").put(txn, &place, &chunk).unwrap();
    });
    let verified = verify(dir.path(), true, Vec::new());
    assert_eq!(places(&verified.damaged), ["record 37 of partition 0 of stream ledger"]);

    let (dir, _) = written(true);
    Forger::at(dir.path()).change(|txn, open| {
        let entries: Vec<(Vec<u8>, String)> = open("names")
            .iter(txn)
            .unwrap()
            .map(|entry| {
                let (place, value) = entry.unwrap();
                (place.to_vec(), row::decode("name", place, value).unwrap())
            })
            .collect();
        let (place, _) = entries.iter().find(|(_, text)| text == "ledger.large").unwrap();
        open("names").put(txn, place, &row::encode(place, "ledger.small").unwrap()).unwrap();
    });
    let verified = verify(dir.path(), true, Vec::new());
    let expected: Vec<_> =
        (36..41).map(|offset| format!("record {offset} of partition 0 of stream ledger")).collect();
    assert_eq!(places(&verified.damaged), expected);
}

#[test]
fn an_altered_record_is_named_also_where_it_shares_its_value_with_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options(audit(true))).unwrap();
    put(&store, "ledger.small", 0..10, at(0), 8);
    assert!(store.verify().unwrap().is_sound());
    store.close();
    Forger::at(dir.path()).change(|txn, open| {
        let (database, last) = (open("segment/1/0"), Place { partition: LEDGER, offset: 9 });
        let mut pack = value(txn, database, 9);
        let record = crate::records::find(database, txn, last).unwrap().unwrap().to_vec();
        assert!(record.len() < pack.len(), "they lie together");
        let mut altered = record;
        *altered.last_mut().unwrap() ^= 1;
        let altered = sealed(altered, 9);
        let begins = pack.len() - altered.len();
        pack[begins..].copy_from_slice(&altered);
        database.put(txn, &9_u64.to_be_bytes(), &pack).unwrap();
    });
    let verified = verify(dir.path(), true, Vec::new());
    assert_eq!(
        (verified.events, places(&verified.damaged)),
        (10, vec!["record 9 of partition 0 of stream ledger"])
    );
}

#[test]
fn records_that_changed_places_are_named_both() {
    for is_keyed in [false, true] {
        // Within a run and across runs.
        for (one, other) in [(29, 33), (3, 22)] {
            let (dir, _) = written(is_keyed);
            Forger::at(dir.path()).change(|txn, open| {
                let database = open("segment/1/0");
                let (first, second) = (value(txn, database, one), value(txn, database, other));
                write(txn, database, one, second);
                write(txn, database, other, first);
            });
            let verified = verify(dir.path(), is_keyed, Vec::new());
            let named = [one, other].map(|offset| format!("record {offset} of partition 0 of stream ledger"));
            assert_eq!(places(&verified.damaged), named);
        }
    }
}

#[test]
fn a_removed_record_is_named_in_the_middle_and_at_the_end() {
    let (dir, _) = written(false);
    Forger::at(dir.path()).change(|txn, open| {
        assert!(open("segment/1/0").delete(txn, &17_u64.to_be_bytes()).unwrap());
    });
    let verified = verify(dir.path(), false, Vec::new());
    assert_eq!(places(&verified.damaged), ["record 17 of partition 0 of stream ledger"]);

    let (dir, _) = written(false);
    cut(dir.path(), 35, false);
    let verified = verify(dir.path(), false, Vec::new());
    assert_eq!(
        places(&verified.damaged)[..2],
        ["record 35 of partition 0 of stream ledger", "records 36 to 36 of partition 0 of stream ledger"]
            .map(|text| text.replace("records 36 to 36", "record 36"))
    );
}

#[test]
fn a_store_whose_last_head_is_damaged_opens_goes_on_and_says_so() {
    let (dir, _) = written(false);
    let last =
        Store::open(dir.path(), options(audit(false))).unwrap().audit_heads("ledger").unwrap().unwrap();
    let offset = last[0].offset;
    Forger::at(dir.path()).change(|txn, open| {
        let mut row = open("heads").get(txn, &key(LEDGER, offset)).unwrap().unwrap().to_vec();
        *row.last_mut().unwrap() ^= 1;
        open("heads").put(txn, &key(LEDGER, offset), &row).unwrap();
    });
    let store = Store::open(dir.path(), options(audit(false))).unwrap();
    let damaged = store.verify().unwrap().damaged;
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    // The next head comes as soon as it would with none before, and the chain is what it was.
    put(&store, "ledger.odd", 41..42, at(1), ALONE);
    let heads = store.audit_heads("ledger").unwrap().unwrap();
    assert_eq!(heads[0].offset, 41);
    assert_eq!(store.verify().unwrap().damaged, damaged);
}
