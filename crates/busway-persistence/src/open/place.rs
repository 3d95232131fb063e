//! Where a store may lie: on a file system of this machine, in a directory that this process can write.

use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags};
use rustix::io::Errno;

use super::OpenError;

/// Refuses a directory on a network file system and one that cannot be written. Creates nothing.
pub(super) fn check(dir: &Path) -> Result<(), OpenError> {
    check_file_system(dir)?;
    let mount = rustix::fs::statvfs(dir).map_err(|error| OpenError::io(dir, "examine", error))?;
    let read_only = mount.f_flag.contains(StatVfsMountFlags::RDONLY);
    judge_access(dir, read_only, rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK))
}

/// What the answers of the system mean. A superuser has every access except on a read-only file system, hence the
/// first question.
fn judge_access(dir: &Path, mounted_read_only: bool, access: Result<(), Errno>) -> Result<(), OpenError> {
    match access {
        Ok(()) if !mounted_read_only => Ok(()),
        Ok(()) | Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) => {
            Err(OpenError::ReadOnly { path: dir.to_owned() })
        }
        Err(error) => Err(OpenError::io(dir, "examine", error)),
    }
}

/// By the number that Linux gives each kind of file system.
fn check_file_system(dir: &Path) -> Result<(), OpenError> {
    match file_system_number(dir)? {
        Some(magic) => judge_file_system(dir, magic),
        None => Ok(()),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn file_system_number(dir: &Path) -> Result<Option<u32>, OpenError> {
    let stat = rustix::fs::statfs(dir).map_err(|error| OpenError::io(dir, "examine", error))?;
    // The numbers have 32 bits; the field is wider, and signed, on most machines.
    Ok(u32::try_from(stat.f_type & 0xFFFF_FFFF).ok())
}

/// Other systems give no such number; what their local disks are formatted with is fine.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature on every system")]
fn file_system_number(_dir: &Path) -> Result<Option<u32>, OpenError> {
    Ok(None)
}

fn judge_file_system(dir: &Path, magic: u32) -> Result<(), OpenError> {
    match FileSystem::of(magic) {
        FileSystem::Local => Ok(()),
        FileSystem::Remote(kind) => Err(OpenError::NetworkFileSystem { path: dir.to_owned(), kind }),
        FileSystem::Unknown => {
            tracing::warn!(
                path = %dir.display(),
                file_system = format_args!("{magic:#x}"),
                "a kind of file system that busway does not know; it must have coherent memory maps and honour sync"
            );
            Ok(())
        }
    }
}

/// What is known of a kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileSystem {
    /// Memory maps are coherent and locks are seen by every process that can see the file.
    Local,
    /// Another machine, or a process that can go away, stands behind it: a map of it can end in a signal, and a
    /// lock may bind nobody.
    Remote(&'static str),
    Unknown,
}

impl FileSystem {
    /// The numbers are those of Linux's `magic.h` and `statfs(2)`.
    const fn of(magic: u32) -> Self {
        match magic {
            // ext2 to ext4, xfs, btrfs, f2fs, bcachefs, zfs, reiserfs, jfs; tmpfs, ramfs; overlayfs, which is what
            // containers see and which passes maps on to the file system below.
            0xEF53 | 0x5846_5342 | 0x9123_683E | 0xF2F5_2010 | 0xCA45_1A4E | 0x2FC1_2FC1 | 0x5265_4973
            | 0x3153_464A | 0x0102_1994 | 0x8584_58F6 | 0x794C_7630 => Self::Local,
            0x6969 => Self::Remote("nfs"),
            0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Self::Remote("smb"),
            0x0102_1997 => Self::Remote("9p"),
            // virtiofs gives the same number.
            0x6573_5546 => Self::Remote("fuse or virtiofs"),
            0x00C3_6400 => Self::Remote("ceph"),
            0x5346_414F | 0x6B41_4653 => Self::Remote("afs"),
            0x7375_7245 => Self::Remote("coda"),
            0x564C => Self::Remote("ncp"),
            0x0BD0_0BD0 => Self::Remote("lustre"),
            0x786F_4256 => Self::Remote("a shared folder of VirtualBox"),
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_file_systems_are_allowed() {
        for magic in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1, 0xF2F5_2010] {
            assert_eq!(FileSystem::of(magic), FileSystem::Local, "{magic:#x}");
        }
        assert_eq!(FileSystem::of(0xCA45_1A4E), FileSystem::Local);
    }

    #[test]
    fn network_file_systems_are_refused_by_name() {
        let of = |magic| FileSystem::of(magic);
        assert_eq!(of(0x6969), FileSystem::Remote("nfs"));
        assert_eq!(of(0xFF53_4D42), FileSystem::Remote("smb"));
        assert_eq!(of(0x0102_1997), FileSystem::Remote("9p"));
        assert_eq!(of(0x6573_5546), FileSystem::Remote("fuse or virtiofs"));
        assert_eq!(of(0x00C3_6400), FileSystem::Remote("ceph"));
        assert_eq!(of(0x5346_414F), FileSystem::Remote("afs"));
    }

    #[test]
    fn a_remote_file_system_is_an_error_and_an_unknown_one_is_not() {
        let dir = Path::new("/x");
        judge_file_system(dir, 0xEF53).unwrap();
        judge_file_system(dir, 0x1234_5678).unwrap();
        let error = judge_file_system(dir, 0x6969).unwrap_err();
        assert!(matches!(error, OpenError::NetworkFileSystem { kind: "nfs", .. }), "{error:?}");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_read_only() {
        let dir = Path::new("/x");
        assert!(judge_access(dir, false, Ok(())).is_ok());
        assert!(matches!(judge_access(dir, true, Ok(())), Err(OpenError::ReadOnly { .. })));
        for errno in [Errno::ROFS, Errno::ACCESS, Errno::PERM] {
            assert!(matches!(judge_access(dir, false, Err(errno)), Err(OpenError::ReadOnly { .. })));
        }
        assert!(matches!(judge_access(dir, false, Err(Errno::IO)), Err(OpenError::Io { .. })));
    }

    #[test]
    fn a_directory_of_this_machine_is_fit_for_a_store() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the check creates nothing");
    }

    /// The kernel's own tree is no place to write for anybody, the superuser included.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_kernel_refuses_to_write_is_refused_here() {
        assert!(check(Path::new("/proc/self")).is_err());
    }
}
