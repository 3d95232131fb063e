//! From a file to a checked configuration.

use std::path::Path;
use std::sync::Arc;

use crate::check;
use crate::model::Config;
use crate::node::{Kind, Node};
use crate::overlay;
use crate::parse::{Format, parse};
use crate::problem::{ConfigError, Problem};
use crate::read::{Read, Reader};
use crate::secret;
use crate::source::{self, Source};

impl Config {
    /// Reads a file, YAML, TOML or JSON by its extension, with the environment of this process laid over it: `BUSWAY__SECTION__KEY=value`, see
    /// [`load_with`](Self::load_with).
    ///
    /// What can be known without a bus is checked: everything but the names of handlers and middleware, which [`check`](Self::check) compares with those of a
    /// bus.
    ///
    /// # Errors
    /// [`ConfigError`] lists everything that is wrong. It is found within bounds whatever the file is: 4 MiB of text, 24 levels, 200,000 values, of which
    /// aliases may repeat 20,000.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::load_with(path, environment())
    }

    /// As [`load`](Self::load), with these variables as the environment. Names are those of the file with two underscores between them, in any case:
    /// `BUSWAY__ROUTES__STOCK__LIMITS__CONCURRENCY`. Others than those that begin with `BUSWAY__` are left out.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(
        path: impl AsRef<Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (source, format) = Self::source(path.as_ref())?;
        Self::of(&source, format, environment)
    }

    /// What a file says, and in which format.
    pub(crate) fn source(path: &Path) -> Result<(Arc<Source>, Format), ConfigError> {
        let shown = crate::problem::escaped(&path.display().to_string());
        let Some(format) = Format::of(path) else {
            let message =
                format!("{shown}: its extension says no format; it has to be .yaml, .yml, .toml or .json");
            return Err(ConfigError::without_place(message));
        };
        let source =
            source::read(path).map_err(|error| ConfigError::without_place(format!("{shown}: {error}")))?;
        Ok((source, format))
    }

    /// Reads a text. Its places are in `name`, whatever that is. The environment is left out.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(name: &str, text: &str, format: Format) -> Result<Self, ConfigError> {
        Self::parse_with(name, text, format, [])
    }

    /// As [`parse`](Self::parse), with these variables as the environment.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse_with(
        name: &str,
        text: &str,
        format: Format,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if bytes > source::FILE_BYTES_MAX {
            let name = crate::problem::escaped(name);
            let error = source::ReadFileError::TooLarge { bytes };
            return Err(ConfigError::without_place(format!("{name}: {error}")));
        }
        Self::of(&Source::new(name, text), format, environment)
    }

    pub(crate) fn of(
        source: &Arc<Source>,
        format: Format,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut root = parse(source, format).map_err(ConfigError::of)?;
        if matches!(root.kind, Kind::Null) {
            // Nothing but comments, perhaps on purpose: but an empty file is what a failed copy leaves behind.
            let problem = Problem::at(&root.place, "it is empty").hint("for a bus without settings write {}");
            return Err(ConfigError::of(vec![problem]));
        }
        let mut problems = Vec::new();
        overlay::lay(&mut root, environment, &mut problems);
        secret::mark(&mut root, false);
        Self::checked(&root, problems)
    }

    fn checked(root: &Node, mut problems: Vec<Problem>) -> Result<Self, ConfigError> {
        let mut reader = Reader::default();
        let config = Self::read(root, &mut reader);
        problems.extend(reader.into_problems());
        match config {
            Some(config) => {
                problems.extend(check::problems(&config));
                ConfigError::unless_empty(problems)?;
                Ok(config)
            }
            None => Err(ConfigError::of(problems)),
        }
    }
}

/// The variables of this process that are text.
pub(crate) fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}
