//! Room on the disk: asked about before anything is made, and taken for the one file that must not run out of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::{OpenError, files};

/// Refuses a place with fewer than `needed` bytes free.
pub(super) fn require(dir: &Path, needed: u64) -> Result<(), OpenError> {
    match free(dir)? {
        Some(free) if free < needed => Err(OpenError::NoSpace { path: dir.to_owned(), free, needed }),
        _ => Ok(()),
    }
}

/// Bytes that this process may still use on the file system of `dir`; `None` if it does not tell.
pub(super) fn free(dir: &Path) -> Result<Option<u64>, OpenError> {
    let stat = rustix::fs::statvfs(dir).map_err(|error| OpenError::io(dir, "examine", error))?;
    Ok(free_of(stat.f_blocks, stat.f_bavail, stat.f_frsize))
}

/// The same, where nobody can be told of an error.
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    free(dir).ok().flatten()
}

/// A file system without a bound (a tmpfs of size 0) says that it has no blocks at all.
const fn free_of(blocks: u64, available: u64, block_size: u64) -> Option<u64> {
    if blocks == 0 { None } else { Some(available.saturating_mul(block_size)) }
}

/// Gives LMDB's lock file all the disk that it will use, before LMDB maps it.
///
/// LMDB makes the file by moving its end: a hole, mapped for writing. On a full disk the first write into a hole
/// cannot be stored, and the kernel says so by `SIGBUS`. With the blocks there, no write to the map can fail.
///
/// Call this only while no environment is open on the file, in this process or another (the lock of the store
/// proves that): closing the file again drops every `fcntl` lock that this process holds on it, LMDB's own too.
/// What is in the file does not matter then: LMDB starts it anew.
pub(super) fn allocate_lock_file(path: &Path, max_readers: u32) -> Result<(), OpenError> {
    let file = files::open_or_create(path)?;
    let metadata = file.metadata().map_err(|error| OpenError::io(path, "examine", error))?;
    // LMDB takes a longer file as it is and maps all of it, so that all of it has to be there.
    let len = lock_file_len(max_readers).max(metadata.len());
    // A block counts 512 bytes here, whatever the file system's own blocks are. Fewer than the length: holes.
    if metadata.len() == len && metadata.blocks().saturating_mul(512) >= len {
        return Ok(());
    }
    match allocate(&file, len) {
        Ok(()) => Ok(()),
        Err(error) if is_full(&error) => {
            let free = path.parent().map_or(Ok(None), free)?.unwrap_or_default();
            Err(OpenError::NoSpace { path: path.to_owned(), free, needed: len })
        }
        Err(error) => Err(OpenError::io(path, "allocate", error)),
    }
}

/// How long LMDB makes a lock file at most: `(max_readers - 1) * sizeof(MDB_reader) + sizeof(MDB_txninfo)`, each
/// reader a cache line of 64 bytes. The header holds two mutexes, whose size is the C library's affair, and takes
/// 128 bytes on x86-64 and 192 on aarch64 with glibc; 512 hold any. A longer file is room for a few more readers.
pub(super) const fn lock_file_len(max_readers: u32) -> u64 {
    const HEADER: u64 = 512;
    const READER: u64 = 64;
    const PAGE: u64 = 4096;
    // The widening is lossless; `u64::from` is not const.
    let len = HEADER + READER * max_readers as u64;
    let rounded = len.next_multiple_of(PAGE);
    if rounded < 2 * PAGE { 2 * PAGE } else { rounded }
}

fn allocate(file: &File, len: u64) -> io::Result<()> {
    match reserve(file, len) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => fill(file, len),
        result => result,
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn reserve(file: &File, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};

    rustix::io::retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, len)).map_err(Into::into)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn reserve(_file: &File, _len: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Where blocks cannot be reserved they are written.
fn fill(file: &File, len: u64) -> io::Result<()> {
    const ZEROES: [u8; 4096] = [0; 4096];
    let mut at = 0;
    while at < len {
        let size = usize::try_from(len - at).map_or(ZEROES.len(), |left| left.min(ZEROES.len()));
        let (chunk, _) = ZEROES.split_at(size);
        file.write_all_at(chunk, at)?;
        at += size as u64;
    }
    // Some file systems find out that they are full only now.
    file.sync_all()
}

/// A full disk, a used up quota and a limit on the length of files are one fault to whoever needs the bytes.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_lock_file_holds_its_header_and_every_reader() {
        assert_eq!(lock_file_len(0), 8192);
        assert_eq!(lock_file_len(1), 8192);
        assert_eq!(lock_file_len(120), 8192);
        assert_eq!(lock_file_len(126), 12_288, "126 readers and a header of 128 bytes would fit exactly");
        assert!(lock_file_len(u32::MAX) > u64::from(u32::MAX) * 64);
    }

    #[test]
    fn a_lock_file_has_its_blocks_before_it_is_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock.mdb");
        allocate_lock_file(&path, 500).unwrap();
        let made = fs::metadata(&path).unwrap();
        assert_eq!(made.len(), lock_file_len(500));
        assert!(made.blocks() * 512 >= made.len(), "{} blocks", made.blocks());
    }

    #[test]
    fn a_short_lock_file_grows_and_a_longer_one_keeps_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock.mdb");
        fs::write(&path, [1; 100]).unwrap();
        allocate_lock_file(&path, 1).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 8192);
        fs::write(&path, [1; 10_000]).unwrap();
        allocate_lock_file(&path, 1).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 10_000);
    }

    #[test]
    fn the_holes_of_a_lock_file_are_filled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock.mdb");
        files::open_or_create(&path).unwrap().set_len(1 << 20).unwrap();
        allocate_lock_file(&path, 1).unwrap();
        let filled = fs::metadata(&path).unwrap();
        assert_eq!(filled.len(), 1 << 20);
        assert!(filled.blocks() * 512 >= filled.len(), "{} blocks", filled.blocks());
    }

    #[test]
    fn writing_serves_where_reserving_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock.mdb");
        let file = files::open_or_create(&path).unwrap();
        fill(&file, 10_000).unwrap();
        let filled = fs::metadata(&path).unwrap();
        assert_eq!(filled.len(), 10_000);
        assert!(filled.blocks() * 512 >= filled.len(), "{} blocks", filled.blocks());
    }

    #[test]
    fn too_little_space_is_told_in_bytes() {
        let dir = tempfile::tempdir().unwrap();
        require(dir.path(), 1).unwrap();
        let error = require(dir.path(), u64::MAX).unwrap_err();
        assert!(matches!(error, OpenError::NoSpace { needed: u64::MAX, .. }), "{error:?}");
        assert!(error.is_transient());
    }

    #[test]
    fn a_file_system_without_a_bound_is_not_a_full_one() {
        assert_eq!(free_of(0, 0, 4096), None);
        assert_eq!(free_of(10, 0, 4096), Some(0));
        assert_eq!(free_of(10, 3, 4096), Some(12_288));
    }

    #[test]
    fn the_faces_of_a_full_disk_are_known() {
        for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT, rustix::io::Errno::FBIG] {
            assert!(is_full(&errno.into()), "{errno:?}");
        }
        assert!(!is_full(&rustix::io::Errno::IO.into()));
    }
}
