//! Backups: a copy of a store that is in use is that store as it was; what was cut short is told as such.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use busway_persistence::{BackupError, OpenError, Store, Stream};

use crate::world::{MAP, Waiting, dir, entry, one, open, options};

#[test]
fn a_backup_of_a_store_that_is_written_to_is_the_store_as_it_was_at_one_moment() {
    let (here, there) = (dir(), dir());
    let to = there.path().join("deep/copy");
    let streams = || options().map_bytes(MAP).stream(Stream::new("all").capture("#").partitions(3));
    let store = open(here.path(), streams());
    let before = 500;
    store.put_all((0..before).map(|number| entry(&store, "a", number)).collect()).unwrap();
    let registered = store.join("worker", "#", vec![(0, 1)]).unwrap();
    let is_done = AtomicBool::new(false);
    let backup = thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = before;
            while !is_done.load(Ordering::Relaxed) {
                // One commit, of several partitions.
                store
                    .put_all((number..number + 7).map(|number| entry(&store, "a", number)).collect())
                    .unwrap();
                number += 7;
            }
        });
        let backup = store.backup(&to);
        is_done.store(true, Ordering::Relaxed);
        backup.unwrap()
    });
    let written: u64 = (0..3).map(|partition| store.bounds(partition).unwrap().1).sum();
    assert_eq!(backup.bytes, fs::metadata(to.join("data.mdb")).unwrap().len());
    let copy = open(&to, streams());
    assert_eq!(copy.id(), store.id());
    let held: u64 = (0..3).map(|partition| copy.bounds(partition).unwrap().1).sum();
    assert!((before..=written).contains(&held) && (held - before).is_multiple_of(7), "{held} of {written}");
    let verified = copy.verify().unwrap();
    assert!(verified.is_sound() && verified.events == held, "{verified:?}");
    assert_eq!(copy.join("worker", "#", vec![(0, 0)]).unwrap().number, registered.number);
    // Both go on, each for itself.
    copy.put(entry(&copy, "a", 1)).unwrap();
    store.put(entry(&store, "a", 1)).unwrap();
}

#[test]
fn a_backup_replaces_nothing_and_leaves_nothing_where_it_cannot_be() {
    let (here, there) = (dir(), dir());
    let store = open(here.path(), one());
    store.backup(there.path()).unwrap();
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(there.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let made = names();
    assert_eq!(made, ["data.mdb", "manifest"]);
    let error = store.backup(there.path()).unwrap_err();
    assert!(matches!(&error, BackupError::NotEmpty { found, .. } if found.ends_with("data.mdb")), "{error}");
    assert_eq!(names(), made);
    // A file is no directory, and the kernel's own file systems take no files of ours.
    let error = store.backup(there.path().join("manifest/copy")).unwrap_err();
    assert!(matches!(&error, BackupError::Target(OpenError::Io { .. })), "{error}");
    let error = store.backup("/proc/busway-copy").unwrap_err();
    assert!(
        matches!(
            &error,
            BackupError::Target(
                OpenError::Io { .. } | OpenError::ReadOnly { .. } | OpenError::NoSpace { .. }
            )
        ),
        "{error}"
    );
}

#[test]
fn a_backup_that_was_cut_short_is_told_as_such_and_is_no_store() {
    let (here, there) = (dir(), dir());
    let store = open(here.path(), one());
    store.put(entry(&store, "a", 7)).unwrap();
    let to = |name: &str| there.path().join(name);
    store.backup(to("whole")).unwrap();
    // What lies there before each rename, see the table of the module.
    let states: [&[(&str, &str)]; 3] = [
        &[("data.mdb", "data.mdb.partial")],
        &[("data.mdb", "data.mdb.partial"), ("manifest", "manifest.partial")],
        &[("data.mdb", "data.mdb"), ("manifest", "manifest.partial")],
    ];
    for (number, state) in states.into_iter().enumerate() {
        let path = to(&number.to_string());
        fs::create_dir(&path).unwrap();
        for (from, name) in state {
            fs::copy(to("whole").join(from), path.join(name)).unwrap();
        }
        let error = Store::open(&path, one()).unwrap_err();
        assert!(matches!(&error, OpenError::BackupCutShort { .. }), "{error}");
        assert_eq!(fs::read_dir(&path).unwrap().count(), state.len(), "nothing is made, nothing removed");
        let error = store.backup(&path).unwrap_err();
        assert!(matches!(&error, BackupError::NotEmpty { .. }), "{error}");
    }
    assert_eq!(open(&to("whole"), one()).all(0, 0).unwrap(), [(0, 7)]);
}

#[test]
fn a_store_grows_while_it_is_copied_and_afterwards() {
    let (here, there) = (dir(), dir());
    let store = open(here.path(), one().bytes_max(64 << 20));
    store.backup(there.path().join("1")).unwrap();
    for number in 0..3 {
        let batch = (0..1_000).map(|inner| {
            store
                .entry(crate::world::event("a", number * 1_000 + inner, 3_000), false, crate::world::at(0))
                .unwrap()
        });
        store.put_all(batch.collect()).unwrap();
    }
    store.backup(there.path().join("2")).unwrap();
    assert_eq!(open(&there.path().join("2"), one()).bounds(0), Some((0, 3_000)));
}
