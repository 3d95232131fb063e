//! The lock of a store: one owner at a time, and everybody else is told who it is.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{OpenError, files};

/// The name of the lock file.
pub(super) const NAME: &str = "busway.lock";

/// A held lock of a store's directory, on a file of our own. It is not LMDB's lock file, which must not be opened while
/// the environment is open.
///
/// The file is never deleted: if it were, one process could hold the lock of the deleted file and another one that
/// of its successor. It contains the owner's process id in decimal; that is for people and says nothing once the lock
/// is free.
#[derive(Debug)]
pub(crate) struct LockFile {
    _held: Held,
}

impl LockFile {
    /// Takes the lock of `dir`, at once or not at all.
    ///
    /// # Errors
    ///
    /// [`OpenError::Locked`] with the owner if it is held.
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(NAME);
        let file = files::open_or_create(&path)?;
        let held = match Held::take(file) {
            Ok(Ok(held)) => held,
            Ok(Err(file)) => return Err(OpenError::Locked { pid: owner(&file), path }),
            Err(error) => return Err(OpenError::io(&path, "lock", error)),
        };
        // The id is worth a line in an error message and no more: a full disk must not keep a store closed over it.
        if let Err(error) = sign(held.file()) {
            tracing::debug!(path = %path.display(), %error, "the owner's process id could not be written");
        }
        Ok(Self { _held: held })
    }
}

/// A file with an exclusive `flock`: held by the open file, so that a second open in this same process is refused as well, by
/// whichever path it comes, and given back by the kernel however the process ends.
///
/// A child process shares the open file from its fork until it runs another program. So dropping this gives the lock back in so many
/// words, not only by closing the file: else a store that is closed while another thread starts a program would stay locked for some
/// moments. A child that was forked without running another program gives nothing back that is its parent's, and keeps the lock of
/// a parent that died until it ends too.
#[derive(Debug)]
pub(crate) struct Held {
    file: File,
    /// The process that took it.
    owner: u32,
}

impl Held {
    /// Locks a file at once, or gives it back when it is locked elsewhere.
    pub(crate) fn take(file: File) -> io::Result<Result<Self, File>> {
        match file.try_lock() {
            Ok(()) => Ok(Ok(Self { file, owner: std::process::id() })),
            Err(TryLockError::WouldBlock) => Ok(Err(file)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            // Should this fail, closing the file gives it back.
            _ = self.file.unlock();
        }
    }
}

/// Written over what was there and then cut: a file that has a block keeps it, even when the disk is full.
fn sign(file: &File) -> io::Result<()> {
    let line = format!("{}\n", std::process::id());
    file.write_all_at(line.as_bytes(), 0)?;
    file.set_len(line.len() as u64)
}

/// The first line, if it is a number. Whoever has just taken the lock may not have written it yet.
fn owner(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.lines().next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_lock_is_held_by_one_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let held = LockFile::take(dir.path()).unwrap();
        let error = LockFile::take(dir.path()).unwrap_err();
        let own = std::process::id();
        assert!(matches!(&error, OpenError::Locked { pid: Some(pid), .. } if *pid == own), "{error:?}");
        drop(held);
        LockFile::take(dir.path()).unwrap();
        assert!(dir.path().join(NAME).exists(), "the file stays");
    }

    fn take(dir: &Path) -> Held {
        Held::take(files::open_or_create(&dir.join(NAME)).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn a_lock_that_was_given_back_is_free_while_a_child_still_has_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let held = take(dir.path());
        // As a child has it between its fork and the program that it runs.
        let inherited = held.file().try_clone().unwrap();
        assert!(matches!(LockFile::take(dir.path()), Err(OpenError::Locked { .. })));
        drop(held);
        let _held = LockFile::take(dir.path()).unwrap();
        drop(inherited);
        assert!(matches!(LockFile::take(dir.path()), Err(OpenError::Locked { .. })));
    }

    #[test]
    fn a_child_that_was_forked_does_not_give_its_parents_lock_back() {
        let dir = tempfile::tempdir().unwrap();
        let held = take(dir.path());
        // As a child has it that was forked and runs no other program.
        let of_the_child = Held { file: held.file().try_clone().unwrap(), owner: held.owner + 1 };
        drop(of_the_child);
        assert!(matches!(LockFile::take(dir.path()), Err(OpenError::Locked { .. })));
    }

    #[test]
    fn a_lock_is_the_same_through_a_symbolic_link() {
        let dir = tempfile::tempdir().unwrap();
        let (home, link) = (dir.path().join("home"), dir.path().join("link"));
        fs::create_dir(&home).unwrap();
        std::os::unix::fs::symlink(&home, &link).unwrap();
        let _held = LockFile::take(&home).unwrap();
        assert!(matches!(LockFile::take(&link), Err(OpenError::Locked { .. })));
    }

    #[test]
    fn an_owner_that_cannot_be_read_is_not_invented() {
        let dir = tempfile::tempdir().unwrap();
        let _held = LockFile::take(dir.path()).unwrap();
        for text in ["", "soon", "-1", "99999999999999"] {
            fs::write(dir.path().join(NAME), text).unwrap();
            let error = LockFile::take(dir.path()).unwrap_err();
            assert!(matches!(error, OpenError::Locked { pid: None, .. }), "{text}: {error:?}");
        }
    }

    #[test]
    fn a_longer_id_of_an_earlier_owner_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), "4294967295 and more\n").unwrap();
        let _held = LockFile::take(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join(NAME)).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    /// Runs itself again as the other process, which finds the directory in its environment.
    #[test]
    fn another_process_is_kept_out_and_its_death_gives_the_lock_back() {
        const DIRECTORY: &str = "BUSWAY_TEST_LOCK_DIRECTORY";
        const NAMED: &str =
            "open::lock::tests::another_process_is_kept_out_and_its_death_gives_the_lock_back";
        if let Some(dir) = std::env::var_os(DIRECTORY) {
            match LockFile::take(Path::new(&dir)) {
                // No destructor runs: only the kernel can give the lock back.
                Ok(_held) => std::process::exit(77),
                Err(error) => {
                    println!("{error}");
                    return;
                }
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let other = || {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", NAMED, "--nocapture"])
                .env(DIRECTORY, dir.path())
                .output()
                .unwrap()
        };
        let held = LockFile::take(dir.path()).unwrap();
        let refused = other();
        let said = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert!(refused.status.success(), "{said}");
        assert!(said.contains(&format!("the store is open in process {};", std::process::id())), "{said}");
        drop(held);
        assert_eq!(other().status.code(), Some(77), "it takes the lock and dies with it");
        LockFile::take(dir.path()).unwrap();
    }
}
