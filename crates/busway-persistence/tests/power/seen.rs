//! The shim, tried on the calls that it has to see: those of the standard library and those of `rustix`.
//!
//! `rustix` makes its system calls by itself where it can, past every shim; the crate's dev-dependencies turn on its
//! `use-libc`. Without that the first test here fails.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{IoSlice, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread;

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::ReadWriteFlags;

use crate::log::Entry;
use crate::recording::{Recording, Syncs};
use crate::scenario::{Acker, Scenario, Verdict};

/// Every way to change a file, once.
pub(crate) const CALLS: Scenario =
    Scenario { name: "calls", work, verify: |_, _| Verdict::Fine, mapped: &[] };

fn work(directory: &Path, acker: &Acker) {
    positions(directory);
    durability(directory);
    lengths(directory);
    names(directory);
    acker.ack(1);
    through_rustix(directory);
    acker.ack(2);
    two_threads(directory);
}

fn positions(directory: &Path) {
    let mut file = File::create(directory.join("positions")).unwrap();
    file.write_all(b"abc").unwrap();
    file.write_all(b"de").unwrap();
    file.seek(SeekFrom::Start(1)).unwrap();
    assert_eq!(file.write_vectored(&[IoSlice::new(b"BC"), IoSlice::new(b"DE")]).unwrap(), 4);
    file.write_all_at(b"far", 1000).unwrap();
    // A second descriptor with the same position, and one that always writes at the end.
    file.try_clone().unwrap().write_all(b"f").unwrap();
    drop(file);
    let mut end = OpenOptions::new().append(true).open(directory.join("positions")).unwrap();
    end.write_all(b"!").unwrap();
    // Elsewhere: not in the log.
    fs::write(directory.join("../outside"), b"outside").unwrap();
}

fn durability(directory: &Path) {
    let path = directory.join("durability");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"1").unwrap();
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    let flag = i32::try_from(OFlags::DSYNC.bits()).unwrap();
    let second = OpenOptions::new().write(true).custom_flags(flag).open(&path).unwrap();
    second.write_all_at(b"2", 7).unwrap();
    File::open(directory).unwrap().sync_all().unwrap();
}

fn lengths(directory: &Path) {
    let path = directory.join("lengths");
    let file = File::create(&path).unwrap();
    file.set_len(900).unwrap();
    drop(file);
    // Emptied by the opening.
    File::create(&path).unwrap();
}

fn names(directory: &Path) {
    fs::create_dir(directory.join("folder")).unwrap();
    fs::write(directory.join("folder/one"), b"1").unwrap();
    fs::copy(directory.join("folder/one"), directory.join("two")).unwrap();
    fs::rename(directory.join("two"), directory.join("folder/two")).unwrap();
    fs::remove_file(directory.join("folder/one")).unwrap();
    File::open(directory.join("folder")).unwrap().sync_all().unwrap();
    fs::create_dir(directory.join("empty")).unwrap();
    fs::remove_dir(directory.join("empty")).unwrap();
}

fn through_rustix(directory: &Path) {
    let folder = rustix::fs::open(directory, OFlags::DIRECTORY, Mode::empty()).unwrap();
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let file = rustix::fs::openat(&folder, "rustix", flags, Mode::RUSR | Mode::WUSR).unwrap();
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 64).unwrap();
    assert_eq!(rustix::io::pwrite(&file, b"12", 1).unwrap(), 2);
    assert_eq!(rustix::io::pwritev(&file, &[IoSlice::new(b"34")], 3).unwrap(), 2);
    let durable = ReadWriteFlags::DSYNC;
    assert_eq!(rustix::io::pwritev2(&file, &[IoSlice::new(b"56")], 5, durable).unwrap(), 2);
    rustix::fs::fdatasync(&file).unwrap();
    rustix::fs::renameat(&folder, "rustix", &folder, "libc").unwrap();
    rustix::fs::fsync(&folder).unwrap();
}

fn two_threads(directory: &Path) {
    thread::scope(|scope| {
        for name in ["left", "right"] {
            scope.spawn(move || {
                let mut file = File::create(directory.join(name)).unwrap();
                for number in 0..100_u64 {
                    file.write_all(&number.to_le_bytes()).unwrap();
                    file.sync_data().unwrap();
                }
            });
        }
    });
}

#[test]
fn every_call_is_seen_in_its_order() {
    let recording = Recording::of(&CALLS, Syncs::Recorded);
    let lines = lines(&recording.log);
    // The threads come last, in any order; that each byte of theirs is there, the recording has compared.
    let count = |name: &str| lines.iter().filter(|line| line.ends_with(name)).count();
    assert_eq!((count(" left"), count(" right")), (201, 201));
    let expected = EXPECTED.trim().lines().map(str::trim).collect::<Vec<_>>();
    assert_eq!(lines[..expected.len()], expected);
    assert_eq!(lines.len(), expected.len() + 2 * 201);
}

#[test]
fn swallowed_syncs_are_not_in_the_log() {
    let recording = Recording::of(&CALLS, Syncs::Swallowed);
    let durable = |entry: &&Entry| matches!(entry, Entry::Sync { .. } | Entry::Write { durable: true, .. });
    assert_eq!(recording.log.iter().find(durable), None);
}

/// A line an entry, with the name that a file was made with for its number.
fn lines(log: &[Entry]) -> Vec<String> {
    let mut files: BTreeMap<u64, &str> = BTreeMap::new();
    let mut lines = Vec::new();
    for entry in log {
        lines.push(match entry {
            Entry::Create { file, path } => {
                files.insert(*file, path);
                format!("create {path}")
            }
            Entry::MakeDir { path } => format!("make dir {path}"),
            Entry::Write { file, at, bytes, durable } => {
                let kind = if *durable { "durable write" } else { "write" };
                format!("{kind} {at}+{} {}", bytes.len(), files[file])
            }
            Entry::Truncate { file, len } => format!("truncate {len} {}", files[file]),
            Entry::Sync { file } => format!("sync {}", files[file]),
            Entry::SyncDir { path } => format!("sync dir {path:?}"),
            Entry::Rename { from, to } => format!("rename {from} {to}"),
            Entry::Unlink { path } => format!("unlink {path}"),
            Entry::Ack(number) => format!("ack {number}"),
        });
    }
    lines
}

const EXPECTED: &str = r#"
    create positions
    write 0+3 positions
    write 3+2 positions
    write 1+4 positions
    write 1000+3 positions
    write 5+1 positions
    write 1003+1 positions
    create durability
    write 0+1 durability
    sync durability
    sync durability
    durable write 7+1 durability
    sync dir ""
    create lengths
    truncate 900 lengths
    truncate 0 lengths
    make dir folder
    create folder/one
    write 0+1 folder/one
    create two
    write 0+1 two
    rename two folder/two
    unlink folder/one
    sync dir "folder"
    make dir empty
    unlink empty
    ack 1
    create rustix
    truncate 64 rustix
    write 1+2 rustix
    write 3+2 rustix
    durable write 5+2 rustix
    sync rustix
    rename rustix libc
    sync dir ""
    ack 2
"#;
