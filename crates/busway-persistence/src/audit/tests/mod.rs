//! A forger: opens the file by himself, changes what he likes and makes every checksum fit again.

mod anew;
mod beginning;
mod older;
mod records;
mod retained;
mod untold;

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use busway_event::{AnyEvent, Event, EventId, Metadata, Raw, Stamp, Timestamp};
use heed::{CommitOrAbort, RwTxn};
use proptest::prelude::*;
use tempfile::TempDir;

use super::chain::{Hashing, add_to_run, mark};
use super::rows::{HeadRow, LinkRow, key};
use super::{Audit, AuditHead, AuditKey};
use crate::layout::chunk_key;
use crate::lmdb::{Db, Gate};
use crate::record::{Place, Record};
use crate::{Corrupt, Retention, Store, StoreOptions, Stream, Verified, row};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + seconds * 1_000_000_000)
}

fn the_key() -> AuditKey {
    AuditKey::new([7; 32])
}

fn audit(is_keyed: bool) -> Audit {
    let audit = Audit::forever().heads(10, Duration::from_secs(1_000));
    if is_keyed { audit.key(the_key()) } else { audit }
}

fn options(audit: Audit) -> StoreOptions {
    let other = Stream::new("other").capture("other.#");
    let ledger = Stream::new("ledger").capture("ledger.#").audit(audit);
    StoreOptions::new().map_bytes(1 << 20).reserve_bytes(0).stream(other).stream(ledger)
}

fn event(topic: &str, number: u64, len: usize) -> AnyEvent {
    let metadata = Metadata::draft("test", 1).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("test", &number.to_string()), at(0), &metadata);
    Event::new(topic, Raw::from(format!("{number:0len$}").into_bytes())).finish(&stamp).unwrap().into()
}

fn put(store: &Store, topic: &str, numbers: std::ops::Range<u64>, now: Timestamp, len: usize) {
    let entries = numbers.map(|number| store.entry(event(topic, number, len), false, now).unwrap()).collect();
    let (answer, answered) = mpsc::channel();
    store.append_batch(entries, Box::new(move |result| answer.send(result.map(drop)).unwrap())).unwrap();
    answered.recv().unwrap().unwrap();
}

/// So long that a record shares its value with no other: the forger finds it under its offset.
const ALONE: usize = 2_300;

/// A closed store of 41 records in runs of 1, 2, 3 …, the last of several pages; and the heads that it made.
fn written(is_keyed: bool) -> (TempDir, Vec<AuditHead>) {
    let dir = tempfile::tempdir().unwrap();
    let (sender, heads) = mpsc::channel();
    let store = Store::open(
        dir.path(),
        options(audit(is_keyed)).on_audit_head(move |head| sender.send(head.clone()).unwrap()),
    );
    let store = store.unwrap();
    let mut number = 0;
    for run in 1..9 {
        put(
            &store,
            if run % 2 == 0 { "ledger.even" } else { "ledger.odd" },
            number..number + run,
            at(0),
            ALONE,
        );
        put(&store, "other.a", 0..run, at(0), ALONE);
        number += run;
    }
    for number in 36..41 {
        put(&store, "ledger.large", number..number + 1, at(0), 9_000);
    }
    let verified = store.verify().unwrap();
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!((verified.audits[0].from, verified.audits[0].to, verified.audits[0].checked), (0, 41, true));
    store.close();
    (dir, heads.into_iter().collect())
}

fn verify(dir: &Path, is_keyed: bool, heads: Vec<AuditHead>) -> Verified {
    let store = Store::open(dir, options(audit(is_keyed))).unwrap();
    store.verify_against(heads).unwrap()
}

/// The stream `ledger` is the second: partition 1.
const LEDGER: u32 = 1;

/// Does what somebody with the file and LMDB can do.
struct Forger {
    gate: Gate,
}

impl Forger {
    fn at(dir: &Path) -> Self {
        Self { gate: Gate::open(dir, 4 << 20, 200, 126).unwrap() }
    }

    fn change(self, change: impl FnOnce(&mut RwTxn<'_>, &dyn Fn(&str) -> Db<'static>)) {
        let env = self.gate.env();
        let names = ["segment/1/0", "links", "heads", "names", "meta", "segments"];
        let txn = env.read_txn().unwrap();
        let opened = env.open_databases_and_commit(txn, |opener, txn| {
            let open = |name: &str| opener.open_database(txn, Some(name)).transpose().unwrap();
            let all = names.iter().map(|name| open(name)).collect::<heed::Result<Vec<Db<'_>>>>()?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(Several(all)))
        });
        let opened = opened.unwrap().commit().unwrap();
        let database = |wanted: &str| opened[names.iter().position(|name| *name == wanted).unwrap()];
        let mut txn = env.write_txn().unwrap();
        change(&mut txn, &database);
        txn.commit().unwrap();
        self.gate.close();
    }
}

struct Several<'t>(Vec<Db<'t>>);

impl heed::OnCommit for Several<'_> {
    type Committed = Vec<Db<'static>>;

    fn on_commit(self, token: &heed::CommitToken) -> Self::Committed {
        self.0.into_iter().map(|database| database.on_commit(token)).collect()
    }
}

/// The record's value with a checksum that fits its place.
fn sealed(mut value: Vec<u8>, offset: u64) -> Vec<u8> {
    let place = [&LEDGER.to_be_bytes()[..], &offset.to_be_bytes()].concat();
    let checksum = crc32c::crc32c(&[&value[..2], &value[6..], &place].concat());
    value[2..6].copy_from_slice(&checksum.to_le_bytes());
    value
}

fn value(txn: &RwTxn<'_>, database: Db<'_>, offset: u64) -> Vec<u8> {
    database.get(txn, &offset.to_be_bytes()).unwrap().unwrap().to_vec()
}

fn write(txn: &mut RwTxn<'_>, database: Db<'_>, offset: u64, value: Vec<u8>) {
    let value = sealed(value, offset);
    Record::check(Place { partition: LEDGER, offset }, &value).unwrap();
    database.put(txn, &offset.to_be_bytes(), &value).unwrap();
}

fn alter(dir: &Path, offset: u64) {
    Forger::at(dir).change(|txn, open| {
        let mut altered = value(txn, open("segment/1/0"), offset);
        *altered.last_mut().unwrap() ^= 1;
        write(txn, open("segment/1/0"), offset, altered);
    });
}

fn places(damaged: &[Corrupt]) -> Vec<&str> {
    damaged.iter().map(|corrupt| corrupt.place.as_str()).collect()
}
