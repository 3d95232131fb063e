//! Why something of the schedule came to nothing.

use std::time::Duration;

use busway_event::Invalid;
use busway_persistence::{EntryError, ReadError, RequestError};

use super::cron::CronError;
use crate::bus::Refused;

/// Why something of the schedule came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The bus has no store.
    #[error("a schedule has to be stored, and this bus lives in memory: begin with Bus::open(path)")]
    NoStore,
    /// The store is closed, or the bus is about to.
    #[error("the bus is closed")]
    Closed,
    /// The expression is none.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// It never comes to pass.
    #[error("\"{expression}\" is at no time within 40 years: there is no such day")]
    Never {
        /// The expression.
        expression: String,
    },
    /// The interval is too short or too long.
    #[error("an interval of {interval:?}, of {min:?} to {max:?} that there may be")]
    Interval {
        /// The interval.
        interval: Duration,
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// There is no such time zone on this machine.
    #[error("there is no time zone \"{zone}\" on this machine: a name like Europe/Berlin, or UTC ({reason})")]
    Zone {
        /// The name that was given.
        zone: String,
        /// What the system said.
        reason: String,
    },
    /// It does not say when.
    #[error(
        "schedule \"{name}\" does not say when: add .cron(\"30 3 * * 1-5\") or .every(Duration::from_secs(60))"
    )]
    NoRule {
        /// Its name.
        name: String,
    },
    /// What it publishes breaks a rule.
    #[error("what it publishes is not valid")]
    Invalid(#[from] Invalid),
    /// What it publishes goes to a topic that no stream captures.
    #[error(
        "what a schedule publishes has to be stored, and no stream captures \"{topic}\": declare one with .stream(Stream::new(…).capture(…))"
    )]
    NotCaptured {
        /// The topic.
        topic: String,
    },
    /// What it publishes is refused.
    #[error("what it publishes is refused")]
    Refused(#[from] Refused),
    /// What it publishes cannot be a record of the log.
    #[error("what it publishes cannot be stored")]
    Unstorable(#[from] EntryError),
    /// The store refuses, or has failed.
    #[error(transparent)]
    Store(#[from] RequestError),
    /// The store cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}
