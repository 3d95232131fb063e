//! Where the files of a lap lie: a fresh folder on a real disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fs};

use anyhow::{Context, Result, ensure};

/// A folder that was empty when the lap began. It goes, with all that is in it, when this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes one, and waits until the disk is done with what came before, so that a lap does not pay for its predecessor.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn fresh(contender: &str) -> Result<Self> {
        static LAPS: AtomicU64 = AtomicU64::new(0);
        let lap = LAPS.fetch_add(1, Ordering::Relaxed);
        let path = parent()?.join(format!("{contender}-{}-{lap}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let folder = Self { path };
        system::settle(&folder.path)?;
        Ok(folder)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file system that the folders lie on, by name.
    ///
    /// # Errors
    /// It keeps its files in memory: nothing there is ever synced, so there is nothing to measure.
    pub fn file_system() -> Result<String> {
        let parent = parent()?;
        let name = system::name(&parent)?;
        ensure!(
            !IN_MEMORY.contains(&name.as_str()),
            "{} lies in memory ({name}), where syncing does nothing; set CARGO_TARGET_DIR to a folder on a disk",
            parent.display()
        );
        Ok(name)
    }
}

/// Whether the disk of the folders has room for so many bytes, and for as much again. Says so where it has not.
///
/// # Errors
/// The system does not say.
pub fn has_room(suite: &str, bytes: u64) -> Result<bool> {
    let Some(free) = system::free(&parent()?)? else { return Ok(true) };
    if free < bytes.saturating_mul(2) {
        eprintln!(
            "{suite}: left out: it needs {bytes} bytes and leaves as many free, and the disk has {free}"
        );
        return Ok(false);
    }
    Ok(true)
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Below the target folder, which lies where builds are written: on a disk.
fn parent() -> Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from(TARGET), PathBuf::from);
    let parent = target.join("bench").join("tmp");
    fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", parent.display()))?;
    Ok(parent)
}

/// That of the workspace.
const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");

const IN_MEMORY: &[&str] = &["tmpfs", "ramfs"];

#[cfg(target_os = "linux")]
mod system {
    use std::fs::File;
    use std::path::Path;

    use anyhow::{Context, Result};
    use nix::sys::statfs::statfs;
    use nix::unistd::syncfs;

    /// Waits until everything that this file system was given is on its disk.
    pub(super) fn settle(folder: &Path) -> Result<()> {
        let opened = File::open(folder).with_context(|| format!("cannot open {}", folder.display()))?;
        syncfs(opened).with_context(|| format!("cannot sync the file system of {}", folder.display()))
    }

    pub(super) fn free(folder: &Path) -> Result<Option<u64>> {
        let stated = nix::sys::statvfs::statvfs(folder);
        let stated = stated.with_context(|| format!("no file system at {}", folder.display()))?;
        Ok(Some(stated.blocks_available().saturating_mul(stated.fragment_size())))
    }

    pub(super) fn name(folder: &Path) -> Result<String> {
        let stated = statfs(folder).with_context(|| format!("no file system at {}", folder.display()))?;
        // The type's width differs from platform to platform; the magic numbers have 32 bits.
        let magic = i128::from(stated.filesystem_type().0) & 0xffff_ffff;
        let known = MAGIC.iter().find(|(known, _)| *known == magic);
        Ok(known.map_or_else(|| format!("file system {magic:#x}"), |(_, name)| (*name).to_owned()))
    }

    /// From statfs(2) and the kernel's `magic.h`; ext2 and ext3 share ext4's.
    const MAGIC: &[(i128, &str)] = &[
        (0xef53, "ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0xf2f5_2010, "f2fs"),
        (0x2fc1_2fc1, "zfs"),
        (0x794c_7630, "overlayfs"),
        (0x6969, "nfs"),
        (0x0102_1994, "tmpfs"),
        (0x8584_58f6, "ramfs"),
    ];
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::Path;

    use anyhow::Result;

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(super) fn settle(_: &Path) -> Result<()> {
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(super) fn free(_: &Path) -> Result<Option<u64>> {
        Ok(None)
    }

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(super) fn name(_: &Path) -> Result<String> {
        Ok("an unnamed file system".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_empty_at_first_and_gone_at_last() {
        let folder = Folder::fresh("test").unwrap();
        let path = folder.path().to_owned();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        fs::write(path.join("data"), "x").unwrap();
        assert_ne!(Folder::fresh("test").unwrap().path(), path);
        drop(folder);
        assert!(!path.exists());
    }
}
