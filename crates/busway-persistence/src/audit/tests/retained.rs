//! Retention, and who plays it; any change at all.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_change_of_a_record_is_unseen(is_keyed in any::<bool>(), offset in 0..41_u64, bit in 8_usize..2_000) {
        let (dir, _) = written(is_keyed);
        let mut is_a_record = true;
        Forger::at(dir.path()).change(|txn, open| {
            let mut altered = value(txn, open("segment/1/0"), offset);
            let bit = bit % (altered.len() * 8);
            // The checksum is what the forger mends.
            let bit = if (16..48).contains(&bit) { bit + 32 } else { bit };
            altered[bit / 8] ^= 1 << (bit % 8);
            let altered = sealed(altered, offset);
            is_a_record = Record::check(Place { partition: LEDGER, offset }, &altered).is_ok();
            open("segment/1/0").put(txn, &offset.to_be_bytes(), &altered).unwrap();
        });
        let verified = verify(dir.path(), is_keyed, Vec::new());
        let name = format!("record {offset} of partition 0 of stream ledger");
        prop_assert!(places(&verified.damaged).contains(&name.as_str()), "{:?}", verified);
    }
}

#[test]
fn retention_past_the_term_leaves_what_verifies_and_a_forger_who_plays_retention_is_found() {
    let keep = || Audit::keep(Duration::from_secs(100)).key(the_key()).heads(10, Duration::from_secs(1));
    let streams = |audit: Audit| {
        let retention = Retention::forever().age(Duration::from_secs(100));
        let ledger = Stream::new("ledger").capture("ledger.#").audit(audit).retention(retention);
        StoreOptions::new().map_bytes(1 << 20).reserve_bytes(0).stream(ledger)
    };
    let dir = tempfile::tempdir().unwrap();
    let (sender, heads) = mpsc::channel();
    let store = Store::open(
        dir.path(),
        streams(keep()).on_audit_head(move |head| sender.send(head.clone()).unwrap()),
    )
    .unwrap();
    for second in 0..300 {
        put(&store, "ledger.a", second..second + 3, at(i64::try_from(second).unwrap()), 8);
        let (first, next) = store.bounds(0).unwrap();
        assert!(
            next - first >= 3 * 100.min(second + 1),
            "nothing within the term goes: {first} to {next} at {second}"
        );
    }
    let (first, next) = store.bounds(0).unwrap();
    assert!(first > 0);
    let verified = store.verify().unwrap();
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!((verified.audits[0].from, verified.audits[0].to), (first, next));
    store.close();
    // Heads of what is gone say nothing any longer, the others fit; and all of it after a restart.
    let store = Store::open(dir.path(), streams(keep())).unwrap();
    let heads: Vec<AuditHead> = heads.into_iter().collect();
    let verified = store.verify_against(heads.clone()).unwrap();
    let audit = &verified.audits[0];
    assert!(verified.is_sound() && audit.heads > 0 && audit.heads_outdated > 0, "{verified:?}");
    assert_eq!(audit.heads + audit.heads_outdated, heads.len() as u64);
    store.close();

    // The floor is a proof: a forger cannot move it.
    let gate = Gate::open(dir.path(), 4 << 20, 200, 126).unwrap();
    Forger { gate }.play_retention();
    let store = Store::open(dir.path(), streams(keep())).unwrap();
    let verified = store.verify().unwrap();
    assert!(verified.damaged[0].reason.contains("it was not retention"), "{verified:?}");
}

impl Forger {
    /// Empties the oldest segment of partition 0 and removes its row, links and heads, as retention does.
    fn play_retention(self) {
        let env = self.gate.env();
        let txn = env.read_txn().unwrap();
        let opened = env.open_databases_and_commit(txn, |opener, txn| {
            let segments: Db<'_> = opener.open_database(txn, Some("segments"))?.unwrap();
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(Several(vec![segments])))
        });
        let segments = opened.unwrap().commit().unwrap()[0];
        let mut txn = env.write_txn().unwrap();
        let rows: Vec<(Vec<u8>, crate::segment::SegmentRow)> = segments
            .iter(&txn)
            .unwrap()
            .map(|entry| {
                let (place, value) = entry.unwrap();
                (place.to_vec(), row::decode("segment", place, value).unwrap())
            })
            .collect();
        let (place, _) = rows.iter().min_by_key(|(_, row)| row.0).unwrap();
        segments.delete(&mut txn, place).unwrap();
        txn.commit().unwrap();
        self.gate.close();
    }
}
