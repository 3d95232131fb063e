//! Where a program of another project lies.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::process::find_program;

/// A program of another project that some step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    /// The name of its file.
    pub(crate) file: &'static str,
    /// The environment variable that may name its file.
    pub(crate) variable: &'static str,
}

/// `nats-server` with `JetStream`.
pub(crate) const NATS: Program = Program { file: "nats-server", variable: "BUSWAY_NATS_SERVER" };
/// The `nats-server` of Debian 12, 2.9: the oldest that has to do.
pub(crate) const OLD_NATS: Program =
    Program { file: "nats-server-debian", variable: "BUSWAY_NATS_SERVER_DEBIAN" };
/// `redis-server` with an append-only file.
pub(crate) const REDIS: Program = Program { file: "redis-server", variable: "BUSWAY_REDIS_SERVER" };
/// The server that scrapes metrics.
pub(crate) const PROMETHEUS: Program = Program { file: "prometheus", variable: "BUSWAY_PROMETHEUS" };
/// What checks its rules.
pub(crate) const PROMTOOL: Program = Program { file: "promtool", variable: "BUSWAY_PROMTOOL" };

/// The program: what its variable names, else what `.ci/servers` has put down, else what is on the `PATH`. `None` where there is none.
///
/// # Errors
///
/// The variable names no file: what was asked for by name is never replaced by something else.
pub(crate) fn find(program: Program) -> Result<Option<PathBuf>> {
    let named = env::var_os(program.variable).map(PathBuf::from);
    let folder = folder(env::var_os(FOLDER), env::var_os("XDG_CACHE_HOME"), env::home_dir());
    Ok(one_of(program, named, folder.as_deref())?.or_else(|| find_program(program.file)))
}

/// What a step says when there is none.
pub(crate) fn missing(program: Program) -> String {
    let Program { file, variable } = program;
    format!("{file} is not here; `.ci/servers` installs it, or name it in {variable}")
}

fn one_of(program: Program, named: Option<PathBuf>, folder: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(named) = named {
        if !named.is_file() {
            bail!("{} names {}, which is no file", program.variable, named.display());
        }
        return Ok(Some(named));
    }
    let installed = folder.map(|folder| folder.join(program.file));
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
        assert_eq!(one_of(REDIS, None, Some(&folder)).unwrap(), None);
        fs::write(&installed, "").unwrap();
        assert_eq!(one_of(REDIS, None, Some(&folder)).unwrap(), Some(installed.clone()));
        assert_eq!(one_of(NATS, None, Some(&folder)).unwrap(), None);
        let own = folder.join("own");
        let error = one_of(REDIS, Some(own.clone()), Some(&folder)).unwrap_err().to_string();
        assert!(error.contains("BUSWAY_REDIS_SERVER names"), "{error}");
        fs::write(&own, "").unwrap();
        assert_eq!(one_of(REDIS, Some(own.clone()), Some(&folder)).unwrap(), Some(own));
        fs::remove_dir_all(&folder).unwrap();
    }
}
