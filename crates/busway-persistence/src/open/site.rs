//! Where a store's directory is, or will be: found by one name, and made to stay.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{OpenError, files};

/// A directory that may not exist yet, and the ground that it stands on.
#[derive(Debug)]
pub(super) struct Site {
    /// The directory. As the system itself names it if it exists, absolute if not.
    pub(super) dir: PathBuf,
    /// The directory, or the nearest one above it that exists.
    pub(super) ground: PathBuf,
}

impl Site {
    /// Finds `dir`. Creates nothing.
    pub(super) fn find(dir: &Path) -> Result<Self, OpenError> {
        match fs::canonicalize(dir) {
            Ok(dir) => Ok(Self { ground: dir.clone(), dir }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let dir = std::path::absolute(dir).map_err(|error| OpenError::io(dir, "find", error))?;
                let ground = dir.ancestors().skip(1).find_map(|above| fs::canonicalize(above).ok());
                let ground = ground.ok_or_else(|| OpenError::io(&dir, "find", error))?;
                Ok(Self { dir, ground })
            }
            Err(error) => Err(OpenError::io(dir, "find", error)),
        }
    }

    /// Makes the directory if it does not exist, durably, and gives its one name: without symbolic links, so that
    /// whoever keeps a list of open stores by path finds this one in it.
    pub(super) fn make(&self) -> Result<PathBuf, OpenError> {
        let failed = |error| OpenError::io(&self.dir, "create", error);
        if self.dir != self.ground {
            fs::create_dir_all(&self.dir).map_err(failed)?;
        }
        let dir = fs::canonicalize(&self.dir).map_err(failed)?;
        let made = dir.ancestors().skip(1).take_while(|above| above.starts_with(&self.ground));
        made.into_iter().try_for_each(files::sync_directory)?;
        Ok(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_stands_on_the_nearest_one_above() {
        let above = tempfile::tempdir().unwrap();
        let ground = above.path().canonicalize().unwrap();
        let site = Site::find(&ground.join("a/b")).unwrap();
        assert_eq!(site.ground, ground);
        assert!(!ground.join("a").exists(), "finding it makes nothing");
        assert_eq!(site.make().unwrap(), ground.join("a/b"));
        assert!(ground.join("a/b").is_dir());
    }

    #[test]
    fn a_directory_has_one_name_however_it_is_come_to() {
        let above = tempfile::tempdir().unwrap();
        let ground = above.path().canonicalize().unwrap();
        fs::create_dir_all(ground.join("real/store")).unwrap();
        std::os::unix::fs::symlink(ground.join("real"), ground.join("link")).unwrap();
        for way in ["real/store", "link/store", "link/../real/./store"] {
            let site = Site::find(&ground.join(way)).unwrap();
            assert_eq!(site.dir, ground.join("real/store"), "{way}");
            assert_eq!(site.make().unwrap(), ground.join("real/store"), "{way}");
        }
        let site = Site::find(&ground.join("link/new")).unwrap();
        assert_eq!(site.make().unwrap(), ground.join("real/new"));
    }

    #[test]
    fn a_path_through_a_file_leads_nowhere() {
        let above = tempfile::tempdir().unwrap();
        fs::write(above.path().join("file"), "").unwrap();
        let error = Site::find(&above.path().join("file/store")).unwrap_err();
        assert!(matches!(error, OpenError::Io { doing: "find", .. }), "{error:?}");
    }
}
