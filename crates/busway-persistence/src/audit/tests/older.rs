//! A store that was made before there were audits.

use super::*;
use crate::layout::{STORE_ID, STREAM};
use crate::open::{Needs, claim};
use crate::stored::StreamRow;

#[test]
fn a_store_that_was_made_before_there_were_audits_opens_and_may_have_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut claimed =
        claim(dir.path(), &Needs { max_readers: 126, free_for_new: 0, free_for_existing: 0 }).unwrap();
    let fixed = [
        "meta",
        "names",
        "segments",
        "subscriptions",
        "cursors",
        "parked",
        "dead",
        "ids",
        "segment-ids",
        "schedule",
        "tables",
    ];
    let mut names: Vec<String> = fixed.map(str::to_owned).to_vec();
    names.extend((0..16).map(|slot| format!("segment/0/{slot}")));
    let gate = Gate::open(&claimed.dir, 1 << 20, u32::try_from(names.len()).unwrap(), 126).unwrap();
    let txn = gate.env().write_txn().unwrap();
    let made = gate.env().create_databases_and_commit(txn, |opener, txn| {
        let mut make = |name: &String| opener.create_database(txn, Some(name));
        let all = names.iter().map(&mut make).collect::<heed::Result<Vec<Db<'_>>>>()?;
        let key = [STREAM, b"ledger"].concat();
        all[0].put(txn, STORE_ID, claimed.store_id.as_bytes())?;
        all[0].put(txn, &key, &row::encode(&key, &StreamRow { first: 0, partitions: 1, slots: 16 })?)?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(Several(all)))
    });
    assert!(made.unwrap().commit().is_some());
    gate.close();
    claimed.ready().unwrap();
    drop(claimed);

    let ledger = || Stream::new("ledger").capture("ledger.#");
    let options = |stream| StoreOptions::new().map_bytes(1 << 20).reserve_bytes(0).stream(stream);
    let store = Store::open(dir.path(), options(ledger())).unwrap();
    put(&store, "ledger.a", 0..5, at(0), 8);
    let verified = store.verify().unwrap();
    assert_eq!((verified.events, verified.is_sound(), verified.audits.len()), (5, true, 0));
    store.close();
    let store = Store::open(dir.path(), options(ledger().audit(audit(true)))).unwrap();
    put(&store, "ledger.a", 5..9, at(0), 8);
    let verified = store.verify().unwrap();
    assert_eq!((verified.is_sound(), verified.audits[0].from, verified.audits[0].to), (true, 5, 9));
}
