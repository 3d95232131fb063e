//! The model of the disk, tried on logs written by hand.

use std::collections::BTreeSet;

use crate::images::{Image, Survivors};
use crate::log::Entry;
use crate::volume::Volume;

fn create(file: u64, path: &str) -> Entry {
    Entry::Create { file, path: path.to_owned() }
}

fn write(file: u64, at: u64, bytes: &[u8]) -> Entry {
    Entry::Write { file, at, bytes: bytes.into(), durable: false }
}

fn durable_write(file: u64, at: u64, bytes: &[u8]) -> Entry {
    Entry::Write { file, at, bytes: bytes.into(), durable: true }
}

fn sync_dir(path: &str) -> Entry {
    Entry::SyncDir { path: path.to_owned() }
}

fn rename(from: &str, to: &str) -> Entry {
    Entry::Rename { from: from.to_owned(), to: to.to_owned() }
}

fn played(log: &[Entry]) -> Volume {
    let mut volume = Volume::new();
    log.iter().try_for_each(|entry| volume.apply(entry)).unwrap();
    volume
}

/// A file's bytes in the worst image.
fn worst(volume: &Volume, path: &str) -> Option<Vec<u8>> {
    Image::of(volume, Survivors::Nothing).0.remove(path).flatten()
}

fn best(volume: &Volume, path: &str) -> Option<Vec<u8>> {
    Image::of(volume, Survivors::Everything).0.remove(path).flatten()
}

/// All that a file was in 2,000 images; `None` is missing.
fn all(volume: &Volume, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    let some = |seed| Image::of(volume, Survivors::Some(seed)).0.remove(path).flatten();
    (0..2_000).map(some).collect()
}

/// Sectors filled with these bytes.
fn sectors(fills: &[u8]) -> Vec<u8> {
    fills.iter().flat_map(|fill| [*fill; 512]).collect()
}

#[test]
fn a_write_that_is_torn_reaches_the_disk_in_any_part_of_its_sectors() {
    let volume = played(&[create(1, "a"), sync_dir("")]);
    let torn = volume.torn(&write(1, 0, &sectors(b"wxyz")), 3).unwrap();
    assert_eq!(worst(&torn, "a").unwrap(), b"");
    assert_eq!(best(&torn, "a").unwrap(), sectors(b"wxy"));
    let parts = [&b""[..], b"w", b"\0x", b"wx", b"\0\0y", b"w\0y", b"\0xy", b"wxy"];
    assert_eq!(all(&torn, "a"), parts.map(|part| Some(sectors(part))).into());
}

#[test]
fn a_write_through_o_dsync_that_is_torn_is_not_durable() {
    let volume = played(&[create(1, "a"), sync_dir("")]);
    let torn = volume.torn(&durable_write(1, 0, &sectors(b"xy")), 1).unwrap();
    assert_eq!(worst(&torn, "a").unwrap(), b"");
    assert_eq!(best(&torn, "a").unwrap(), sectors(b"x"));
}

#[test]
fn what_is_synced_survives_and_what_follows_is_at_risk() {
    let log =
        [create(1, "a"), sync_dir(""), write(1, 0, b"old"), Entry::Sync { file: 1 }, write(1, 0, b"new")];
    let volume = played(&log);
    assert_eq!(worst(&volume, "a").unwrap(), b"old");
    assert_eq!(all(&volume, "a"), [b"old", b"new"].map(|bytes| Some(bytes.to_vec())).into());
}

#[test]
fn a_newer_write_never_reaches_a_sector_without_the_older_one() {
    let volume = played(&[create(1, "a"), sync_dir(""), write(1, 0, b"abcd"), write(1, 1, b"X")]);
    assert_eq!(all(&volume, "a"), [&b""[..], b"abcd", b"aXcd"].map(|bytes| Some(bytes.to_vec())).into());
}

#[test]
fn a_write_through_o_dsync_is_durable_at_once_with_its_sector_and_nothing_else() {
    let mut log = vec![create(1, "a"), sync_dir(""), write(1, 0, &sectors(b"xy"))];
    log.push(durable_write(1, 512, b"!"));
    let volume = played(&log);
    let mut expected = sectors(b"\0y");
    expected[512] = b'!';
    assert_eq!(worst(&volume, "a").unwrap(), expected);
    expected[..512].fill(b'x');
    assert_eq!(best(&volume, "a").unwrap(), expected);
}

#[test]
fn a_name_is_durable_after_a_sync_of_its_folder_and_not_of_its_file() {
    let mut log = vec![create(1, "a"), write(1, 0, b"x"), Entry::Sync { file: 1 }];
    let volume = played(&log);
    assert_eq!(worst(&volume, "a"), None);
    assert_eq!(all(&volume, "a"), [None, Some(b"x".to_vec())].into());
    log.push(sync_dir("elsewhere"));
    assert_eq!(worst(&played(&log), "a"), None);
    log.push(sync_dir(""));
    assert_eq!(worst(&played(&log), "a").unwrap(), b"x");
}

#[test]
fn a_rename_without_a_sync_of_the_folder_may_be_undone_and_is_never_half_done() {
    let mut log = vec![create(1, "a"), write(1, 0, b"old"), Entry::Sync { file: 1 }, sync_dir("")];
    log.extend([create(2, "a.new"), write(2, 0, b"new"), Entry::Sync { file: 2 }, rename("a.new", "a")]);
    let volume = played(&log);
    assert_eq!(worst(&volume, "a").unwrap(), b"old");
    assert_eq!(all(&volume, "a"), [b"old", b"new"].map(|bytes| Some(bytes.to_vec())).into());
    log.push(sync_dir(""));
    let volume = played(&log);
    assert_eq!(worst(&volume, "a").unwrap(), b"new");
    assert_eq!(worst(&volume, "a.new"), None);
}

#[test]
fn a_renamed_file_that_was_not_synced_may_be_empty() {
    let mut log = vec![create(1, "a"), write(1, 0, b"old"), Entry::Sync { file: 1 }, sync_dir("")];
    log.extend([create(2, "a.new"), write(2, 0, b"new"), rename("a.new", "a"), sync_dir("")]);
    assert_eq!(worst(&played(&log), "a").unwrap(), b"");
}

#[test]
fn a_removed_name_may_come_back_until_its_folder_is_synced() {
    let mut log = vec![create(1, "a"), write(1, 0, b"x"), Entry::Sync { file: 1 }, sync_dir("")];
    log.push(Entry::Unlink { path: "a".to_owned() });
    // The number is used again, for another file.
    log.extend([create(1, "b"), write(1, 0, b"y")]);
    assert_eq!(worst(&played(&log), "a").unwrap(), b"x");
    log.push(sync_dir(""));
    assert_eq!(worst(&played(&log), "a"), None);
    assert_eq!(worst(&played(&log), "b").unwrap(), b"");
}

#[test]
fn a_file_in_a_folder_that_is_not_durable_is_not_found() {
    let mut log = vec![Entry::MakeDir { path: "d".to_owned() }, create(1, "d/a"), sync_dir("d")];
    assert_eq!(worst(&played(&log), "d/a"), None);
    log.push(sync_dir(""));
    assert_eq!(worst(&played(&log), "d/a").unwrap(), b"");
}

#[test]
fn a_file_that_moved_to_another_folder_is_in_one_of_them() {
    let mut log =
        vec![Entry::MakeDir { path: "d".to_owned() }, sync_dir(""), create(1, "a"), rename("a", "d/a")];
    log.push(sync_dir("d"));
    let volume = played(&log);
    assert_eq!((worst(&volume, "a"), worst(&volume, "d/a")), (None, Some(Vec::new())));
    assert_eq!((best(&volume, "a"), best(&volume, "d/a")), (None, Some(Vec::new())));
    assert_eq!(all(&volume, "a"), [None].into());
}

#[test]
fn what_was_written_after_a_late_truncation_is_not_there() {
    let mut log = vec![create(1, "a"), sync_dir(""), write(1, 0, &sectors(b"xyz")), Entry::Sync { file: 1 }];
    log.extend([Entry::Truncate { file: 1, len: 512 }, write(1, 512, b"new")]);
    let volume = played(&log);
    let mut whole = sectors(b"x");
    let cut = whole.clone();
    whole.extend(b"new");
    assert_eq!(all(&volume, "a"), [sectors(b"xyz"), cut, whole].map(Some).into());
}

#[test]
fn a_file_that_was_made_longer_may_still_be_short() {
    let log = [create(1, "a"), sync_dir(""), Entry::Truncate { file: 1, len: 1024 }, write(1, 0, b"x")];
    let whole = [b"x".to_vec(), vec![0; 1023]].concat();
    let states = [Vec::new(), vec![0; 1024], b"x".to_vec(), whole];
    assert_eq!(all(&played(&log), "a"), states.map(Some).into());
}

#[test]
fn a_write_through_o_dsync_takes_an_earlier_truncation_along() {
    let mut log = vec![create(1, "a"), sync_dir(""), write(1, 0, &sectors(b"xyz"))];
    log.extend([Entry::Truncate { file: 1, len: 600 }, durable_write(1, 0, b"!")]);
    let volume = played(&log);
    let mut expected = sectors(b"x");
    expected[0] = b'!';
    expected.resize(600, 0);
    assert_eq!(worst(&volume, "a").unwrap(), expected);
    expected[512..].fill(b'y');
    assert_eq!(best(&volume, "a").unwrap(), expected);
}

#[test]
fn acknowledgements_count_from_one_without_gaps() {
    let mut volume = played(&[1, 3, 4].map(Entry::Ack));
    assert_eq!((volume.acked(), volume.acks_are_complete()), (1, false));
    volume.apply(&Entry::Ack(2)).unwrap();
    assert_eq!((volume.acked(), volume.acks_are_complete()), (4, true));
    assert_eq!(volume.apply(&Entry::Ack(2)).unwrap_err(), "2 is acknowledged twice");
}

#[test]
fn a_file_that_the_log_did_not_see_made_is_an_error() {
    assert_eq!(Volume::new().apply(&write(7, 0, b"x")).unwrap_err(), "inode 7 was never made");
}

#[test]
fn an_image_is_read_back_as_it_was_written() {
    let log = [Entry::MakeDir { path: "d".to_owned() }, create(1, "d/a"), write(1, 3, b"x"), create(2, "b")];
    let image = Image::of(&played(&log), Survivors::Everything);
    let place = tempfile::TempDir::new().unwrap();
    image.write_to(&place.path().join("image"));
    let mut found = Image::read_from(&place.path().join("image"));
    assert_eq!(found, image);
    found.0.insert("b".to_owned(), Some(b"y".to_vec()));
    found.0.remove("d/a");
    assert_eq!(image.differences(&found, &[]), ["b", "d/a"]);
    assert_eq!(found.differences(&image, &["b"]), ["d/a"]);
}
