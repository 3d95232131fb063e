//! Files whose names and seals say offsets that are none: sealed as they should be, by who has no key to need.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::path_of;
use super::seal::Content;
use super::*;
use crate::audit::chain::Hashing;
use crate::{Audit, Store, StoreOptions, Stream};

/// A file of one line, sealed as the records `first` to `last` of a stream.
fn sealed(folder: &Path, store: &Store, first: u64, last: u64) -> PathBuf {
    let line = b"{}\n";
    let (store, stream) = (store.id(), "ledger".to_owned());
    let lines = *blake3::hash(line).as_bytes();
    let content =
        Content { store, stream, partition: 0, first, last, lines, chain: [0; 32], previous: [0; 32] };
    let (seal, _) = content.seal().line(&Hashing::new(None));
    let path = path_of(folder, "ledger", 0, first);
    std::fs::write(&path, [&line[..], &seal].concat()).unwrap();
    path
}

fn store(dir: &Path) -> Store {
    let audit = Audit::forever().heads(10, Duration::from_secs(1));
    let stream = Stream::new("ledger").capture("#").audit(audit);
    Store::open(dir, StoreOptions::new().map_bytes(1 << 20).reserve_bytes(0).stream(stream)).unwrap()
}

#[test]
fn a_file_that_says_the_last_offset_there_can_be_is_a_problem_of_it_and_of_who_goes_on_behind_it() {
    for first in [1, 7, u64::MAX - 1, u64::MAX] {
        let (dir, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = store(dir.path());
        let path = sealed(folder.path(), &store, first, u64::MAX);
        let verified = verify_archive(folder.path(), None).unwrap();
        assert!(!verified.is_sound() && verified.problems[0].path == path, "{first}: {verified:?}");
        assert_eq!((verified.files, verified.records), (0, 0));
        let error = store.archive(Archive::stream("ledger", folder.path())).unwrap_err();
        assert!(matches!(&error, ArchiveError::Other { path: named, .. } if *named == path), "{error}");
        // The one behind it follows nothing.
        let next = sealed(folder.path(), &store, u64::MAX, u64::MAX);
        let verified = verify_archive(folder.path(), None).unwrap();
        assert!(verified.problems.iter().any(|problem| problem.path == next), "{first}: {verified:?}");
    }
}
