//! What a watcher has seen and done.

use std::collections::VecDeque;
use std::fmt;

use crate::diff::Diff;
use crate::problem::ConfigError;

/// What a watcher has seen and done.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct WatchStatus {
    /// How often the file was read.
    pub looks: u64,
    /// How often it was applied, of those.
    pub applied: u64,
    /// How often it was refused, of those.
    pub refused: u64,
    /// Why what the file says now is not in force; `None` when it is.
    pub last_error: Option<ConfigError>,
    /// What differed with the last reloads, oldest first: as many as are kept.
    pub history: VecDeque<Reload>,
}

/// What became of a file that said something else than before.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reload {
    /// It was applied; this differed.
    Applied(Diff),
    /// It was refused; nothing has changed.
    Refused(ConfigError),
}

/// For people: what differed, or what was wrong.
impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied(diff) => write!(f, "applied:\n{diff}"),
            Self::Refused(error) => write!(f, "refused:\n{error}"),
        }
    }
}
