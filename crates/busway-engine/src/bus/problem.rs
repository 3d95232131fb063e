//! Why a bus did not start.

use std::fmt;

use busway_event::FilterError;
use busway_middleware::{BoxError, RegistryError};
use busway_persistence::{OpenError, StreamProblem};
use busway_reliability::RetryProblem;

use crate::settings::Origin;

/// Why a bus did not start: everything that is wrong.
#[derive(Debug)]
pub struct BuildError {
    pub(super) problems: Vec<BuildProblem>,
}

impl BuildError {
    /// All problems.
    #[must_use]
    pub fn problems(&self) -> &[BuildProblem] {
        &self.problems
    }

    /// Whether the same build may succeed later without a change.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.problems.iter().all(|problem| match problem {
            BuildProblem::Cancelled | BuildProblem::Hook { .. } => true,
            BuildProblem::Store(error) => error.is_transient(),
            _ => false,
        })
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bus did not start: ")?;
        list(f, &self.problems)
    }
}

impl std::error::Error for BuildError {}

impl From<BuildProblem> for BuildError {
    fn from(problem: BuildProblem) -> Self {
        Self { problems: vec![problem] }
    }
}

/// One thing that is wrong with a bus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildProblem {
    /// There is no tokio runtime.
    #[error("there is no tokio runtime here: start the bus inside of one")]
    NoRuntime,
    /// The producer's name breaks a rule.
    #[error("{0}")]
    Producer(busway_event::MetadataError),
    /// A filter of `filter_settings` breaks a rule.
    #[error("{0}")]
    Filter(FilterError),
    /// A setting of the bus or of a filter cannot be meant.
    #[error("settings of the {at}: {problem}")]
    Settings {
        /// Where it was given.
        at: Origin,
        /// What is wrong.
        problem: RetryProblem,
    },
    /// The metrics are those of another bus that is still there.
    #[error("the metrics are those of another bus: each bus has metrics of its own")]
    MetricsTaken,
    /// A middleware could not be added.
    #[error("{0}")]
    Middleware(RegistryError),
    /// A stream breaks a rule, or is not what the store holds.
    #[error("stream \"{stream}\": {problem}")]
    Stream {
        /// The stream's name.
        stream: String,
        /// The rule.
        problem: StreamProblem,
    },
    /// A stream needs a store.
    #[error("stream \"{stream}\": this bus lives in memory; begin with Bus::open(path)")]
    NoStore {
        /// The stream's name.
        stream: String,
    },
    /// A table needs a store.
    #[error("table \"{table}\": this bus lives in memory; begin with Bus::open(path)")]
    TableWithoutStore {
        /// The table's name.
        table: String,
    },
    /// Two were registered by one name.
    #[error("a {what} named \"{name}\" is registered twice; give one of them another name")]
    NamedTwice {
        /// What it is.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The store could not be opened.
    #[error("{0}")]
    Store(OpenError),
    /// A start hook failed.
    #[error("start hook \"{name}\" failed: {source}")]
    Hook {
        /// The hook.
        name: String,
        /// Why.
        source: BoxError,
    },
    /// The start was cancelled.
    #[error("the start was cancelled")]
    Cancelled,
}

/// Writes problems one after the other.
pub(crate) fn list<P: fmt::Display>(f: &mut fmt::Formatter<'_>, problems: &[P]) -> fmt::Result {
    problems.iter().enumerate().try_for_each(|(at, problem)| match at {
        0 => write!(f, "{problem}"),
        _ => write!(f, "; {problem}"),
    })
}
