//! Audit streams from outside: what opens, what does not, and what is made as they are written to.

use std::sync::mpsc;
use std::time::Duration;

use busway_persistence::{
    AtCap, Audit, AuditHead, AuditKey, CAP_BYTES_MIN, OpenError, Retention, Store, StoreOptions, Stream,
    StreamProblem,
};

use crate::world::{Waiting, at, dir, entry, event, open, options};

fn ledger(audit: Option<Audit>) -> StoreOptions {
    let stream = Stream::new("ledger").capture("#");
    options().stream(match audit {
        Some(audit) => stream.audit(audit),
        None => stream,
    })
}

fn key(byte: u8) -> AuditKey {
    AuditKey::new([byte; 32])
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

fn problem(path: &std::path::Path, audit: Option<Audit>) -> StreamProblem {
    let error = Store::open(path, ledger(audit)).unwrap_err();
    let OpenError::Streams { mut problems, .. } = error else { panic!("{error}") };
    assert_eq!(problems.len(), 1);
    problems.remove(0).1
}

#[test]
fn a_retention_or_cap_that_would_break_the_term_is_a_problem_before_anything_is_made() {
    let dir = dir();
    let path = dir.path().join("store");
    let term = || Audit::keep(days(10));
    let (long, short) = (Retention::forever().age(days(10)), Retention::forever().age(days(9)));
    let broken = [
        (term(), short),
        (term(), Retention::forever().count(5)),
        (term(), Retention::forever().bytes(5)),
        (term(), long.cap(CAP_BYTES_MIN, AtCap::DropOldest)),
        (Audit::forever(), long),
        (Audit::forever(), Retention::forever().count(u64::MAX)),
    ];
    for (audit, retention) in broken {
        let stream = Stream::new("ledger").capture("#").retention(retention).audit(audit);
        let error = Store::open(&path, options().stream(stream)).unwrap_err();
        assert!(matches!(&error, OpenError::Streams { problems, .. } if problems.len() == 1), "{error}");
        assert!(!path.exists());
    }
    let kept = [
        (term(), Retention::forever()),
        (term(), long),
        (term(), long.count(5).bytes(5)),
        (Audit::forever(), Retention::forever().cap(CAP_BYTES_MIN, AtCap::RefusePublish)),
    ];
    for (number, (audit, retention)) in kept.into_iter().enumerate() {
        let stream = Stream::new("ledger").capture("#").retention(retention).audit(audit);
        open(&path.join(number.to_string()), options().stream(stream));
    }
}

#[test]
fn an_audit_stays_one_with_its_key_and_its_term() {
    let dir = dir();
    let keyed = |days_of_term| Audit::keep(days(days_of_term)).key(key(1));
    open(dir.path(), ledger(Some(keyed(10)))).put_all(Vec::new()).unwrap();
    assert_eq!(problem(dir.path(), None), StreamProblem::AuditMissing);
    assert_eq!(
        problem(dir.path(), Some(Audit::keep(days(10)))),
        StreamProblem::AuditKey { stored: true, asked: false }
    );
    let other = Audit::keep(days(10)).key(key(2));
    assert_eq!(problem(dir.path(), Some(other)), StreamProblem::AuditKey { stored: true, asked: true });
    let shorter = StreamProblem::AuditTerm { stored: Some(days(10)), asked: Some(days(9)) };
    assert_eq!(problem(dir.path(), Some(keyed(9))), shorter);
    // A longer one holds from then on.
    open(dir.path(), ledger(Some(Audit::forever().key(key(1)))));
    let shorter = StreamProblem::AuditTerm { stored: None, asked: Some(days(10)) };
    assert_eq!(problem(dir.path(), Some(keyed(10))), shorter);
    // A program that does not know the stream at all opens the store, and cannot verify what has a key.
    let store = open(dir.path(), options().stream(Stream::new("other").capture("x")));
    let verified = store.verify().unwrap();
    assert!(verified.is_sound() && !verified.audits[0].checked && verified.audits[0].keyed, "{verified:?}");
}

#[test]
fn a_stream_that_becomes_an_audit_is_one_from_its_next_record_on() {
    let dir = dir();
    let store = open(dir.path(), ledger(None));
    store.put_all((0..5).map(|number| entry(&store, "a", number)).collect()).unwrap();
    store.close();
    for round in 0..3 {
        let store = open(dir.path(), ledger(Some(Audit::forever())));
        store.put_all((0..4).map(|number| entry(&store, "a", 10 * round + number)).collect()).unwrap();
        store.put(entry(&store, "a", 10 * round + 4)).unwrap();
        let verified = store.verify().unwrap();
        assert!(verified.is_sound(), "{verified:?}");
        let audit = &verified.audits[0];
        assert_eq!((audit.from, audit.to, audit.keyed, audit.checked), (5, 10 + 5 * round, false, true));
    }
    assert_eq!(problem(dir.path(), None), StreamProblem::AuditMissing);
    let keyed = Audit::forever().key(key(1));
    assert_eq!(problem(dir.path(), Some(keyed)), StreamProblem::AuditKey { stored: false, asked: true });
}

#[test]
fn heads_are_made_at_their_intervals_given_out_and_kept_and_a_backup_verifies_against_them() {
    let (here, there) = (dir(), dir());
    let (sender, heads) = mpsc::channel();
    let audit = || Audit::forever().key(key(1)).heads(10, Duration::from_secs(60));
    let options = || ledger(Some(audit()));
    let store = open(here.path(), options().on_audit_head(move |head| sender.send(head.clone()).unwrap()));
    let put = |number: u64, seconds: i64| {
        store.put(store.entry(event("a", number, 8), false, at(seconds)).unwrap()).unwrap();
    };
    // The first record has one, then each tenth; then one is due after a minute, with or without another record.
    (0..25).for_each(|number| put(number, 0));
    put(25, 59);
    put(26, 60);
    put(27, 61);
    // Each in a commit of its own.
    for seconds in [119, 120, 500] {
        store.retain(at(seconds));
        let (answer, answered) = mpsc::channel();
        store.flush(Box::new(move |result| answer.send(result).unwrap()));
        answered.recv().unwrap().unwrap();
    }
    let heads: Vec<AuditHead> = heads.try_iter().collect();
    assert_eq!(heads.iter().map(|head| head.offset).collect::<Vec<_>>(), [0, 10, 20, 26, 27]);
    assert_eq!(heads.last().map(|head| head.time), Some(at(120)));
    assert!(heads.iter().all(|head| head.is_of(&key(1)) && head.store == store.id()));
    assert_eq!(store.audit_heads("ledger").unwrap().unwrap(), heads[4..]);
    assert_eq!(store.audit_heads("none").unwrap(), None);

    store.backup(there.path().join("copy")).unwrap();
    let copy = open(&there.path().join("copy"), options());
    let verified = copy.verify_against(heads.clone()).unwrap();
    assert!(verified.is_sound() && verified.audits[0].heads == 5, "{verified:?}");
    // Of another store, or of a stream that is none.
    let strange = AuditHead { store: uuid::Uuid::from_u128(1), ..heads[0].clone() };
    let nowhere = AuditHead { stream: "all".to_owned(), ..heads[0].clone() };
    let later = AuditHead { offset: 28, ..heads[0].clone() };
    assert_eq!(copy.verify_against(vec![strange, nowhere, later]).unwrap().damaged_count, 3);
}

#[test]
fn partitions_and_events_of_transactions_are_chained_and_one_that_gives_up_leaves_nothing() {
    let dir = dir();
    let audited = || {
        options().stream(Stream::new("ledger").capture("#").partitions(3).audit(Audit::forever().key(key(1))))
    };
    let store = open(dir.path(), audited());
    for round in 0..20_u64 {
        store.put_all((0..7).map(|number| entry(&store, "a", number + round)).collect()).unwrap();
        let (answer, answered) = mpsc::channel();
        let work = move |tx: &mut busway_persistence::Tx<'_>| {
            tx.append(event("a", 1_000 + round, 8), false, at(0))?;
            match round % 2 {
                0 => Ok(()),
                _ => Err(busway_persistence::TxError::other("no")),
            }
        };
        store
            .transact(Box::new(work), Box::new(move |result| answer.send(result.map(drop)).unwrap()))
            .unwrap();
        assert_eq!(answered.recv().unwrap().is_ok(), round % 2 == 0);
    }
    let count = |store: &Store| (0..3).map(|partition| store.bounds(partition).unwrap().1).sum::<u64>();
    assert_eq!(count(&store), 20 * 7 + 10);
    assert!(store.verify().unwrap().is_sound());
    store.close();
    let store = open(dir.path(), audited());
    let verified = store.verify().unwrap();
    assert!(verified.is_sound() && verified.audits.len() == 3, "{verified:?}");
    assert_eq!(verified.audits.iter().map(|audit| audit.to).sum::<u64>(), count(&store));
}
