//! Archives of audit streams: sealed files that verify without their store, go on where they ended, and hide no change.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use busway_persistence::{
    Archive, ArchiveError, Archiving, Audit, AuditKey, Import, Retention, Store, StoreOptions, Stream,
    verify_archive,
};

use crate::world::{Waiting, at, dir, entry, event, one, open, options};

fn key() -> AuditKey {
    AuditKey::new([7; 32])
}

fn audited() -> StoreOptions {
    options().stream(Stream::new("ledger").capture("#").partitions(2).audit(Audit::forever().key(key())))
}

fn put(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        store.put(entry(store, "a", number)).unwrap();
    }
}

fn archive(store: &Store, folder: &Path) -> Vec<PathBuf> {
    store.archive(Archive::stream("ledger", folder).records(10)).unwrap().files
}

/// A folder with two archivings of 100 events each.
fn archived() -> (tempfile::TempDir, Vec<PathBuf>) {
    let (here, there) = (dir(), dir());
    let store = open(here.path(), audited());
    put(&store, 0..100);
    let mut files = archive(&store, there.path());
    put(&store, 100..200);
    files.extend(archive(&store, there.path()));
    files.sort();
    (there, files)
}

fn problem(folder: &Path) -> String {
    let verified = verify_archive(folder, Some(&key())).unwrap();
    verified.problems.first().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn an_archive_goes_on_where_it_ended_verifies_and_ends_with_the_chain_of_the_store() {
    let (here, there) = (dir(), dir());
    let store = open(here.path(), audited());
    put(&store, 0..100);
    let first = archive(&store, there.path());
    assert!(first.len() >= 10);
    assert_eq!(archive(&store, there.path()), Vec::<PathBuf>::new(), "nothing is new");
    let kept: Vec<_> = first.iter().map(|path| fs::read(path).unwrap()).collect();
    // What a crash leaves has no name, and is written anew.
    put(&store, 100..150);
    store.close();
    let store = open(here.path(), audited());
    fs::write(there.path().join("ledger-0-00000000000000000099.jsonl.partial"), "half a li").unwrap();
    archive(&store, there.path());
    assert!(first.iter().map(|path| fs::read(path).unwrap()).eq(kept), "files never change");

    let verified = verify_archive(there.path(), Some(&key())).unwrap();
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!((verified.records, verified.ends.len()), (150, 2));
    for end in &verified.ends {
        assert_eq!((end.first, end.last + 1), store.bounds(u32::from(end.partition)).unwrap());
    }
    let heads = store.audit_heads("ledger").unwrap().unwrap();
    let head = heads.iter().find(|head| {
        verified.ends.iter().any(|end| (end.partition, end.last) == (head.partition, head.offset))
    });
    if let Some(head) = head {
        assert!(verified.ends.iter().any(|end| end.chain == head.chain));
    }
    // A file of it is imported like any export: the seal is passed over.
    let other = dir();
    let other = open(other.path(), one());
    let text = fs::read(&first[0]).unwrap();
    let imported = other.import(Import::stream("all"), &mut &text[..], || at(0)).unwrap();
    assert_eq!(imported.stored, String::from_utf8(text).unwrap().lines().count() as u64 - 1);
}

type Change = fn(&mut Vec<String>);

#[test]
fn altered_missing_added_and_reordered_lines_and_files_are_found() {
    let change = |path: &Path, change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(path, lines.join("\n") + "\n").unwrap();
    };
    let changes: [(Change, &str); 6] = [
        (|lines| lines[2] = lines[2].replace("\"p2\"", "\"p1\""), "its lines are not those that were sealed"),
        (|lines| drop(lines.remove(2)), "line 3 is not that of record"),
        (|lines| lines.swap(1, 2), "line 2 is not that of record"),
        (|lines| lines.insert(3, lines[2].clone()), "line 4 is not that of record"),
        (|lines| drop(lines.pop()), "it ends without a seal"),
        (
            |lines| *lines.last_mut().unwrap() = lines.last().unwrap().replace("\"count\":", "\"count\":1"),
            "its seal does not fit",
        ),
    ];
    for (with, expected) in changes {
        let (folder, files) = archived();
        assert_eq!(problem(folder.path()), "");
        change(&files[1], &with);
        let problem = problem(folder.path());
        assert!(problem.contains(expected) && problem.starts_with(files[1].to_str().unwrap()), "{problem}");
    }
    let (folder, files) = archived();
    fs::remove_file(&files[1]).unwrap();
    assert!(problem(folder.path()).contains("are missing"));
    let (folder, files) = archived();
    fs::rename(&files[1], folder.path().join("x")).unwrap();
    fs::rename(&files[2], &files[1]).unwrap();
    fs::rename(folder.path().join("x"), &files[2]).unwrap();
    assert!(problem(folder.path()).contains("it was renamed"));
    // Another key, or none, does not make it fit.
    let (folder, _) = archived();
    for key in [None, Some(AuditKey::new([8; 32]))] {
        assert!(!verify_archive(folder.path(), key.as_ref()).unwrap().is_sound());
    }
}

#[test]
fn an_archive_of_another_store_a_gap_and_a_stream_without_an_audit_are_errors() {
    let (folder, _) = archived();
    let (here, there) = (dir(), dir());
    let store = open(here.path(), audited());
    put(&store, 0..5);
    let error = store.archive(Archive::stream("ledger", folder.path())).unwrap_err();
    assert!(matches!(&error, ArchiveError::Other { .. }), "{error}");
    let error = store.archive(Archive::stream("none", there.path())).unwrap_err();
    assert!(matches!(&error, ArchiveError::NotAudited { .. }), "{error}");

    let here = dir();
    let term = Duration::from_secs(10);
    let stream =
        Stream::new("ledger").capture("#").audit(Audit::keep(term)).retention(Retention::forever().age(term));
    let store = open(here.path(), options().stream(stream));
    let put = |second: u64| {
        let now = at(i64::try_from(second).unwrap());
        store.put(store.entry(event("a", second, 8), false, now).unwrap()).unwrap();
    };
    (0..5).for_each(put);
    assert_eq!(store.archive(Archive::stream("ledger", there.path())).unwrap().records, 5);
    (5..60).for_each(put);
    let error = store.archive(Archive::stream("ledger", there.path())).unwrap_err();
    assert!(matches!(&error, ArchiveError::Gap { archived: 5, .. }), "{error}");
    assert!(verify_archive(there.path(), None).unwrap().is_sound());
}

#[test]
fn a_file_of_an_archive_is_what_it_was_in_every_version_before() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/archive-v1.jsonl");
    let folder = dir();
    let name = "ledger-0-00000000000000000000.jsonl";
    fs::copy(golden, folder.path().join(name)).unwrap();
    let verified = verify_archive(folder.path(), Some(&key())).unwrap();
    assert!(verified.is_sound() && verified.records == 3, "{verified:?}");
    // What is written today differs in the id of the store alone, and in what is made of it.
    let (here, there) = (dir(), dir());
    let store = open(
        here.path(),
        options().stream(Stream::new("ledger").capture("#").audit(Audit::forever().key(key()))),
    );
    put(&store, 0..3);
    let written = fs::read_to_string(&archive(&store, there.path())[0]).unwrap();
    let without_hashes = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let seal: serde_json::Value = serde_json::from_str(&lines.pop().unwrap()).unwrap();
        let mut seal = seal.as_object().unwrap().clone();
        let names: Vec<String> = seal.keys().cloned().collect();
        ["store", "chain", "seal"].iter().for_each(|name| drop(seal.remove(*name)));
        (lines, names, seal)
    };
    assert_eq!(without_hashes(&written), without_hashes(&fs::read_to_string(golden).unwrap()));
}

#[test]
fn a_stream_is_archived_into_a_folder_by_one_at_a_time() {
    let (here, there) = (dir(), dir());
    let stream = |name: &str, topic: &str| {
        Stream::new(name).capture(topic).partitions(2).audit(Audit::forever().key(key()))
    };
    let store = open(here.path(), options().stream(stream("ledger", "a")).stream(stream("other", "b")));
    put(&store, 0..50);
    let into = |stream: &str, folder: &str| Archive::stream(stream, there.path().join(folder)).records(10);
    let mut archiving = Archiving::begin(&store, into("ledger", "a")).unwrap();
    assert!(archiving.file(&store).unwrap());
    let error = store.archive(into("ledger", "a")).unwrap_err();
    assert!(
        matches!(&error, ArchiveError::Busy { folder, stream } if folder.ends_with("a") && stream == "ledger"),
        "{error}"
    );
    // Another folder, and another stream in the same one, are nothing to it.
    store.archive(into("ledger", "b")).unwrap();
    store.archive(into("other", "a")).unwrap();
    while archiving.file(&store).unwrap() {}
    drop(archiving);
    store.archive(into("ledger", "a")).unwrap();
    let verified = verify_archive(there.path().join("a"), Some(&key())).unwrap();
    assert!(verified.is_sound() && verified.records == 50, "{verified:?}");
}
