//! Where a server's program lies.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::Kind;
use crate::process::find_program;

/// The program: what its variable names, else what `.ci/servers` has put down, else what is on the `PATH`. `None` where there is none.
///
/// # Errors
///
/// The variable names no file: what was asked for by name is never replaced by something else.
pub(crate) fn find(kind: Kind) -> Result<Option<PathBuf>> {
    let named = env::var_os(kind.variable()).map(PathBuf::from);
    let folder = folder(env::var_os(FOLDER), env::var_os("XDG_CACHE_HOME"), env::home_dir());
    Ok(one_of(kind, named, folder.as_deref())?.or_else(|| find_program(kind.program())))
}

/// What a step says when there is none.
pub(crate) fn missing(kind: Kind) -> String {
    let (program, variable) = (kind.program(), kind.variable());
    format!("{program} is not here; `.ci/servers` installs it, or name it in {variable}")
}

fn one_of(kind: Kind, named: Option<PathBuf>, folder: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(named) = named {
        if !named.is_file() {
            bail!("{} names {}, which is no file", kind.variable(), named.display());
        }
        return Ok(Some(named));
    }
    let installed = folder.map(|folder| folder.join(kind.program()));
    Ok(installed.filter(|file| file.is_file()))
}

/// The same folder as in `.ci/servers`: outside of the clone, so that the next one finds them too.
fn folder(
    named: Option<impl Into<PathBuf>>,
    cache: Option<impl Into<PathBuf>>,
    home: Option<PathBuf>,
) -> Option<PathBuf> {
    let in_cache =
        || Some(cache.map(Into::into).or_else(|| Some(home?.join(".cache")))?.join("busway/servers"));
    named.map(Into::into).or_else(in_cache)
}

/// Names the folder with the programs.
const FOLDER: &str = "BUSWAY_SERVERS";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_folder_is_the_one_that_is_named_or_lies_in_the_cache() {
        let home = || Some(PathBuf::from("/own"));
        assert_eq!(folder(Some("/servers"), Some("/cache"), home()), Some(PathBuf::from("/servers")));
        assert_eq!(
            folder(None::<&str>, Some("/cache"), home()),
            Some(PathBuf::from("/cache/busway/servers"))
        );
        let in_home = Some(PathBuf::from("/own/.cache/busway/servers"));
        assert_eq!(folder(None::<&str>, None::<&str>, home()), in_home);
        assert_eq!(folder(None::<&str>, None::<&str>, None), None);
    }

    #[test]
    fn what_is_named_comes_before_what_is_installed_and_is_never_replaced() {
        let folder = env::temp_dir().join(format!("busway-servers-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let installed = folder.join("redis-server");
        assert_eq!(one_of(Kind::Redis, None, Some(&folder)).unwrap(), None);
        fs::write(&installed, "").unwrap();
        assert_eq!(one_of(Kind::Redis, None, Some(&folder)).unwrap(), Some(installed.clone()));
        assert_eq!(one_of(Kind::Nats, None, Some(&folder)).unwrap(), None);
        let own = folder.join("own");
        let error = one_of(Kind::Redis, Some(own.clone()), Some(&folder)).unwrap_err().to_string();
        assert!(error.contains("BUSWAY_REDIS_SERVER names"), "{error}");
        fs::write(&own, "").unwrap();
        assert_eq!(one_of(Kind::Redis, Some(own.clone()), Some(&folder)).unwrap(), Some(own));
        fs::remove_dir_all(&folder).unwrap();
    }
}
