//! Audit lines: what somebody did to a bus, or was refused, for who has to know later.
//!
//! One line an operation, written when it has ended, however it has: done, refused, failed, stopped, or cut short because who asked for it went away. Its target is
//! [`TARGET`], so that a collector of security logs takes these and nothing else, and it passes the filter of [`Logs`](crate::log) whatever
//! that says, unless a directive names the target. All lines are written here, and by whoever acts: the engine for dead letters, cursors, breakers, pauses.
//!
//! | field | is |
//! |---|---|
//! | `action` | what was asked for: a word of [`Action`] |
//! | `subject` | on what: `subscription stock`, `dead letter stock/orders/0/17`, `channel stock on orders.created` |
//! | `by` | who asked: as said with `.by(…)`, else the producer name of the bus |
//! | `outcome` | a word of [`Ending`] |
//! | `count` | events or letters that it was done with, where that is a number |
//! | `reason` | why it was refused, failed or stopped |
//!
//! Done is told at level INFO, everything else at WARN. Names are said by who acts, in the process: a line says what a program did, it does not prove who sat before it.
//! An audit that nobody can change is an [audit stream](https://docs.rs/busway).

use std::fmt;

/// The target of audit lines.
pub const TARGET: &str = "busway::audit";

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Dead letters are to be given again.
    Redrive,
    /// A dead letter is to be given again with another payload.
    Edit,
    /// Dead letters are to be let go.
    Discard,
    /// Dead letters that are too old are to be let go.
    Expire,
    /// A circuit is to be forced, or let go.
    ForceBreaker,
    /// A durable subscription is to be sent elsewhere.
    Seek,
    /// A durable subscription is to be removed from the store.
    Remove,
    /// A subscription is to pause.
    Pause,
    /// A subscription is to go on.
    Resume,
    /// Access to a topic.
    Access,
    /// A configuration is to be put in force.
    Reload,
}

impl Action {
    /// Its word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Edit => "edit",
            Self::Discard => "discard",
            Self::Expire => "expire",
            Self::ForceBreaker => "force_breaker",
            Self::Seek => "seek",
            Self::Remove => "remove",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Access => "access",
            Self::Reload => "reload",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Well. With so many events or letters, where that is a number.
    Done {
        /// As many.
        count: Option<u64>,
    },
    /// It was not begun.
    Refused {
        /// Why.
        reason: String,
    },
    /// It was begun, and could not be ended.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was ended before all was done.
    Stopped {
        /// Letters that it was done with.
        count: u64,
        /// Why.
        reason: String,
    },
    /// Who asked for it went away before it had ended. What was done stays done.
    CutShort,
}

impl Ending {
    /// Its word.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::Stopped { .. } => "stopped",
            Self::CutShort => "cut_short",
        }
    }
}

/// An operation that has begun: its line is written when it ends, and when this is dropped before that.
#[must_use = "its line is written when it ends"]
#[derive(Debug)]
pub struct Audit {
    action: Action,
    subject: String,
    by: String,
    is_open: bool,
}

/// Begins an operation.
pub fn begin(action: Action, subject: impl Into<String>, by: impl Into<String>) -> Audit {
    Audit { action, subject: subject.into(), by: by.into(), is_open: true }
}

/// Writes the line of an operation that begins and ends at once.
pub fn record(action: Action, subject: &str, by: &str, ending: &Ending) {
    let (outcome, action) = (ending.label(), action.label());
    let (count, reason) = match ending {
        Ending::Done { count } => (*count, None),
        Ending::Refused { reason } | Ending::Failed { reason } => (None, Some(reason.as_str())),
        Ending::Stopped { count, reason } => (Some(*count), Some(reason.as_str())),
        Ending::CutShort => (None, None),
    };
    match ending {
        Ending::Done { .. } => {
            tracing::info!(target: TARGET, action, subject, by, outcome, count, reason, "audit");
        }
        _ => tracing::warn!(target: TARGET, action, subject, by, outcome, count, reason, "audit"),
    }
}

impl Audit {
    /// Writes its line.
    pub fn end(mut self, ending: &Ending) {
        self.is_open = false;
        record(self.action, &self.subject, &self.by, ending);
    }

    /// Ends it without a line: it turned out that there was nothing to be done.
    pub fn was_nothing(mut self) {
        self.is_open = false;
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if self.is_open {
            record(self.action, &self.subject, &self.by, &Ending::CutShort);
        }
    }
}
