//! What opening promises, against real LMDB files.

use std::fs;

use tempfile::TempDir;

use super::lmdb_file::{MAP_SIZE, MAX_READERS, Tail};
use super::*;

const NEEDS: Needs = Needs { max_readers: MAX_READERS, free_for_new: 1, free_for_existing: 0 };

fn directory() -> (TempDir, PathBuf) {
    let guard = tempfile::tempdir().unwrap();
    let dir = guard.path().canonicalize().unwrap();
    (guard, dir)
}

/// A finished store with data in it, closed.
fn store() -> (TempDir, PathBuf) {
    let (guard, dir) = directory();
    let mut claimed = claim(&dir, &NEEDS).unwrap();
    lmdb_file::fill(&dir, Tail::Newest);
    claimed.ready().unwrap();
    (guard, dir)
}

/// Names in the directory, in order.
fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Asserts that claiming fails in the way that `$pattern` says and gives the error.
macro_rules! refused {
    ($dir:expr, $pattern:pat) => {{
        let error = claim($dir, &NEEDS).unwrap_err();
        assert!(matches!(&error, $pattern), "{error:?}");
        error
    }};
}

#[test]
fn a_missing_directory_becomes_a_fresh_store() {
    let (_guard, above) = directory();
    let claimed = claim(&above.join("var/store"), &NEEDS).unwrap();
    assert_eq!(claimed.state, State::Fresh);
    assert_eq!(claimed.dir, above.join("var/store"));
    assert_eq!(claimed.store_id.get_version_num(), 4);
    assert_eq!(listing(&claimed.dir), ["busway.lock", "lock.mdb", "manifest"]);
}

#[test]
fn an_empty_directory_becomes_a_fresh_store_whatever_a_crash_left_in_it() {
    for left in [&[][..], &["busway.lock"], &["busway.lock", "manifest.new"], &["lost+found"]] {
        let (_guard, dir) = directory();
        left.iter().for_each(|name| fs::write(dir.join(name), "left behind").unwrap());
        assert_eq!(claim(&dir, &NEEDS).unwrap().state, State::Fresh, "{left:?}");
    }
}

#[test]
fn two_fresh_stores_have_two_ids() {
    let ((_one, one), (_two, two)) = (directory(), directory());
    assert_ne!(claim(&one, &NEEDS).unwrap().store_id, claim(&two, &NEEDS).unwrap().store_id);
}

#[test]
fn a_finished_store_is_found_again_with_its_id_and_what_lmdb_says_of_itself() {
    let (_guard, dir) = directory();
    let mut claimed = claim(&dir, &NEEDS).unwrap();
    let store_id = claimed.store_id;
    lmdb_file::fill(&dir, Tail::Newest);
    claimed.ready().unwrap();
    let State::Existing(declared) = claimed.state else { panic!("{:?}", claimed.state) };
    drop(claimed);

    let claimed = claim(&dir, &NEEDS).unwrap();
    assert_eq!(claimed.store_id, store_id);
    let State::Existing(header) = claimed.state else { panic!("{:?}", claimed.state) };
    assert_eq!(header, declared);
    let env = lmdb_file::open(&dir).unwrap();
    let info = env.info();
    assert_eq!(header.map_size, MAP_SIZE as u64);
    assert_eq!(header.last_txn, info.last_txn_id as u64);
    assert_eq!(header.last_page, info.last_page_number as u64);
    assert_eq!(header.page_size, env.unnamed_database_stat().page_size);
    assert!(!header.short);
    assert!(info.maximum_number_of_readers >= MAX_READERS);
}

/// LMDB lengthens a file that is too short, which makes the hole that must not be.
#[test]
fn lmdb_finds_its_lock_file_long_enough() {
    for max_readers in [1, 2, 113, 126, 127, 1000] {
        let (_guard, dir) = directory();
        let _claimed = claim(&dir, &Needs { max_readers, ..NEEDS }).unwrap();
        let before = fs::metadata(dir.join("lock.mdb")).unwrap().len();
        let env = lmdb_file::open_for(&dir, max_readers).unwrap();
        assert_eq!(fs::metadata(dir.join("lock.mdb")).unwrap().len(), before);
        assert!(env.info().maximum_number_of_readers >= max_readers);
    }
}

#[test]
fn an_lmdb_file_of_another_program_is_left_alone() {
    let (_guard, dir) = directory();
    lmdb_file::fill(&dir, Tail::Newest);
    let before = (listing(&dir), fs::read(dir.join("data.mdb")).unwrap());
    refused!(&dir, OpenError::Foreign { .. });
    assert_eq!((listing(&dir), fs::read(dir.join("data.mdb")).unwrap()), before);
}

#[test]
fn a_directory_with_other_things_in_it_is_left_alone_and_one_is_named() {
    let (_guard, dir) = directory();
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    fs::create_dir(dir.join("photos")).unwrap();
    let error = refused!(&dir, OpenError::NotAStore { .. });
    assert!(error.to_string().contains("it holds notes.txt;"), "{error}");
    assert_eq!(listing(&dir), ["notes.txt", "photos"]);
}

#[test]
fn a_file_is_no_place_for_a_store() {
    let (_guard, dir) = directory();
    fs::write(dir.join("file"), "").unwrap();
    refused!(&dir.join("file"), OpenError::Io { doing: "list", .. });
}

#[test]
fn a_creation_cut_short_goes_on_under_the_same_id() {
    let (_guard, dir) = directory();
    let store_id = claim(&dir, &NEEDS).unwrap().store_id;
    lmdb_file::fill(&dir, Tail::Newest);
    let sound = fs::read(dir.join("data.mdb")).unwrap();
    let left = [&[][..], &[0; 8192], b"half a page", &sound[..5000]];
    for data in left {
        fs::write(dir.join("data.mdb"), data).unwrap();
        let claimed = claim(&dir, &NEEDS).unwrap();
        assert_eq!((claimed.store_id, claimed.state), (store_id, State::Fresh));
        assert!(!dir.join("data.mdb").exists(), "{} bytes", data.len());
    }
    let claimed = claim(&dir, &NEEDS).unwrap();
    assert_eq!((claimed.store_id, claimed.state), (store_id, State::Fresh), "without a data file");
}

#[test]
fn a_sound_file_of_a_creation_cut_short_is_kept() {
    let (_guard, dir) = directory();
    let store_id = claim(&dir, &NEEDS).unwrap().store_id;
    lmdb_file::fill(&dir, Tail::Newest);
    let mut claimed = claim(&dir, &NEEDS).unwrap();
    assert_eq!(claimed.store_id, store_id);
    assert!(matches!(claimed.state, State::Unfinished(header) if header.last_txn > 0));
    claimed.ready().unwrap();
    drop(claimed);
    assert!(matches!(claim(&dir, &NEEDS).unwrap().state, State::Existing(_)));
}

#[test]
fn a_store_without_a_sound_file_is_not_declared_ready() {
    let (_guard, dir) = directory();
    let mut claimed = claim(&dir, &NEEDS).unwrap();
    assert!(matches!(claimed.ready(), Err(OpenError::DataMissing { .. })));
    fs::write(dir.join("data.mdb"), "").unwrap();
    assert!(matches!(claimed.ready(), Err(OpenError::DataEmpty { .. })));
    drop(claimed);
    assert_eq!(claim(&dir, &NEEDS).unwrap().state, State::Fresh);
}

#[test]
fn lost_data_is_an_error_and_never_an_empty_store() {
    let (_guard, dir) = store();
    let data = dir.join("data.mdb");
    let sound = fs::read(&data).unwrap();
    fs::remove_file(&data).unwrap();
    refused!(&dir, OpenError::DataMissing { .. });
    assert!(!data.exists(), "nothing takes its place");
    fs::write(&data, "").unwrap();
    refused!(&dir, OpenError::DataEmpty { .. });
    for damaged in [&[0; 10_000][..], b"short", &sound[..4096]] {
        fs::write(&data, damaged).unwrap();
        refused!(&dir, OpenError::DataDamaged { .. });
        assert_eq!(fs::read(&data).unwrap(), damaged, "what is left of it stays");
    }
    fs::write(&data, &sound).unwrap();
    assert!(matches!(claim(&dir, &NEEDS).unwrap().state, State::Existing(_)));
}

#[test]
fn a_data_file_that_is_none_is_damaged_or_refused() {
    let (_guard, dir) = store();
    fs::remove_file(dir.join("data.mdb")).unwrap();
    fs::create_dir(dir.join("data.mdb")).unwrap();
    refused!(&dir, OpenError::Io { doing: "open", .. });
    fs::remove_dir(dir.join("data.mdb")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.join("data.mdb")).unwrap();
    refused!(&dir, OpenError::DataDamaged { .. });
}

#[test]
fn a_lost_or_damaged_manifest_is_an_error() {
    let (_guard, dir) = store();
    let manifest = fs::read(dir.join("manifest")).unwrap();
    fs::write(dir.join("manifest"), &manifest[1..]).unwrap();
    refused!(&dir, OpenError::ManifestDamaged { .. });
    fs::remove_file(dir.join("manifest")).unwrap();
    refused!(&dir, OpenError::Foreign { .. });
    fs::write(dir.join("manifest"), &manifest).unwrap();
    claim(&dir, &NEEDS).unwrap();
}

#[test]
fn a_page_size_that_is_not_the_manifests_is_damage() {
    let (_guard, dir) = store();
    let manifest = Manifest::read(&dir).unwrap().unwrap();
    assert!(manifest.page_size.is_some());
    Manifest { page_size: Some(512), ..manifest }.write(&dir).unwrap();
    let error = refused!(&dir, OpenError::DataDamaged { .. });
    assert!(error.to_string().contains("the manifest says 512"), "{error}");
}

#[test]
fn a_store_is_open_once_by_whatever_path() {
    let (_guard, dir) = store();
    let held = claim(&dir, &NEEDS).unwrap();
    refused!(&dir, OpenError::Locked { pid: Some(_), .. });
    let (_other, elsewhere) = directory();
    std::os::unix::fs::symlink(&dir, elsewhere.join("link")).unwrap();
    refused!(&elsewhere.join("link"), OpenError::Locked { pid: Some(_), .. });
    drop(held);
    assert_eq!(claim(&elsewhere.join("link"), &NEEDS).unwrap().dir, dir);
}

#[test]
fn a_hard_link_to_the_data_is_no_second_store() {
    let (_guard, dir) = store();
    let (_copy, copy_dir) = directory();
    fs::copy(dir.join("manifest"), copy_dir.join("manifest")).unwrap();
    fs::hard_link(dir.join("data.mdb"), copy_dir.join("data.mdb")).unwrap();
    let held = claim(&dir, &NEEDS).unwrap();
    let error = refused!(&copy_dir, OpenError::Locked { pid: None, .. });
    assert!(error.to_string().contains("data.mdb: the store is open in another process"), "{error}");
    drop(held);
    claim(&copy_dir, &NEEDS).unwrap();
}

#[test]
fn space_is_asked_for_before_a_store_is_made_and_as_much_as_is_said_for_one_that_exists() {
    let (_guard, dir) = directory();
    let greedy = Needs { free_for_new: u64::MAX, ..NEEDS };
    assert!(matches!(claim(&dir, &greedy), Err(OpenError::NoSpace { needed: u64::MAX, .. })));
    assert_eq!(listing(&dir), ["busway.lock"], "no store was begun");
    let (_guard, dir) = store();
    claim(&dir, &greedy).unwrap();
    let greedy = Needs { free_for_existing: u64::MAX, ..NEEDS };
    assert!(matches!(claim(&dir, &greedy), Err(OpenError::NoSpace { needed: u64::MAX, .. })));
}

/// A superuser may write everywhere, so that the refusal itself is tested by its pure part in `place`.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_made_where_nothing_may_be_written() {
    refused!(Path::new("/proc/busway/store"), OpenError::ReadOnly { .. } | OpenError::Io { .. });
}
