//! What goes on while a file is copied. The copy goes into a pipe, and lasts until that is read.

use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use busway_event::{Event, EventId, Metadata, Raw, Stamp, Timestamp};

use super::*;
use crate::{Store, StoreOptions, Stream};

/// A store whose file is larger than a pipe.
fn store(dir: &Path) -> Store {
    let options = StoreOptions::new().map_bytes(2 << 20).reserve_bytes(0);
    let store = Store::open(dir, options.stream(Stream::new("all").capture("#"))).unwrap();
    let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
    let metadata = Metadata::draft("test", 1).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("test", "1"), now, &metadata);
    let event = Event::new("a", Raw::from(vec![7; 500_000])).finish(&stamp).unwrap();
    let (answer, answered) = mpsc::channel();
    let entry = store.entry(event.into(), false, now).unwrap();
    store.append(entry, Box::new(move |result| answer.send(result.map(drop)).unwrap())).unwrap();
    answered.recv().unwrap().unwrap();
    assert!(store.shared().gate.used_bytes() > 500_000);
    store
}

/// Copies into a pipe, and says when it has begun.
fn copy_into_pipe(store: &Store, begun: &mpsc::Sender<PipeReader>) {
    let copying = store.shared().gate.begin_copy();
    let (reader, writer) = io::pipe().unwrap();
    let mut first = reader.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            first.read_exact(&mut [0; 16]).unwrap();
            begun.send(reader).unwrap();
        });
        copying.copy(&mut File::from(OwnedFd::from(writer))).unwrap();
    });
}

/// Runs `work` while a copy is made, and looks whether all others read on meanwhile.
fn reads_go_on_beside(store: &Store, work: impl FnOnce() + Send) {
    let (starts, started) = mpsc::channel();
    let (reads, has_read) = mpsc::channel();
    let (begun, copied) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || copy_into_pipe(store, &begun));
        let mut pipe = copied.recv().unwrap();
        scope.spawn(move || {
            starts.send(()).unwrap();
            work();
        });
        started.recv().unwrap();
        scope.spawn(move || {
            for _ in 0..20_000 {
                drop(store.shared().gate.read().unwrap());
                thread::yield_now();
            }
            reads.send(()).unwrap();
        });
        let has_read = has_read.recv_timeout(Duration::from_secs(60));
        // Ends the copy, so that all ends if they do not.
        io::copy(&mut pipe, &mut io::sink()).unwrap();
        has_read.unwrap();
    });
}

#[test]
fn a_growth_of_the_map_waits_for_a_copy_and_keeps_no_reader_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let gate = &store.shared().gate;
    reads_go_on_beside(&store, || gate.grow(4 << 20).unwrap());
    assert_eq!(gate.map_size(), 4 << 20, "behind the copy it has grown");
}

#[test]
fn a_backup_waits_for_another_one_and_keeps_no_reader_waiting() {
    let (dir, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = store(dir.path());
    assert!(store.shared().gate.map_size() < HEADROOM_MIN, "it makes headroom");
    reads_go_on_beside(&store, || drop(store.backup(there.path()).unwrap()));
}

#[test]
fn backups_into_one_directory_at_a_time_replace_none() {
    let (dir, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = store(dir.path());
    let made = thread::scope(|scope| {
        let backups: Vec<_> =
            (0..4).map(|_| scope.spawn(|| store.backup(there.path().join("copy")))).collect();
        backups.into_iter().map(|backup| backup.join().unwrap()).collect::<Vec<_>>()
    });
    let refused = made.iter().filter(|made| matches!(made, Err(BackupError::NotEmpty { .. }))).count();
    assert_eq!((made.iter().filter(|made| made.is_ok()).count(), refused), (1, 3), "{made:?}");
}

#[test]
fn a_backup_beside_a_read_that_stays_is_made_and_holds_up_nobody() {
    let (dir, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = store(dir.path());
    let snapshot = store.snapshot().unwrap();
    let (ends, ended) = mpsc::channel();
    let made = thread::scope(|scope| {
        scope.spawn(|| ends.send(store.backup(there.path().join("copy"))).unwrap());
        let made = ended.recv_timeout(Duration::from_secs(60));
        drop(snapshot);
        made
    });
    made.unwrap().unwrap();
}
