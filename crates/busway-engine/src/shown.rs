//! What is shown of failures, and who is said to have done something: texts of errors are the program's own, and may quote what nobody should read.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use busway_event::Filter;
use busway_middleware::builtin::log_text;
use busway_middleware::{ModeKind, Outcome, Scope, States};
use busway_observability::Redactor;
use busway_observability::audit::{self, Action, Ending};

/// How a bus shows itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    pub(crate) redactor: Redactor,
    /// The producer's name, under which is done what nobody else says to have done.
    pub(crate) producer: Arc<str>,
}

impl Shown {
    /// What is kept of an outcome that is no good one: its word and its error.
    pub(crate) fn failure_text(&self, outcome: &Outcome) -> String {
        labelled(outcome, &self.error_text(outcome))
    }

    /// The error of an outcome, with its causes.
    pub(crate) fn error_text(&self, outcome: &Outcome) -> String {
        let text = self.said(|| outcome.error_text().unwrap_or_else(|| outcome.to_string()));
        text.unwrap_or_else(|| PANICKED.to_owned())
    }

    /// The scope of a subscription, in which middleware shows texts as the bus does.
    pub(crate) fn scope(&self, name: &Arc<str>, filter: Filter, mode: ModeKind, states: States) -> Scope {
        let scope = Scope::new(Arc::clone(name), filter, mode, states);
        if self.redactor.is_empty() {
            return scope;
        }
        let redactor = self.redactor.clone();
        scope.with_redaction(move |text| redactor.text(text).into_owned())
    }

    /// A text as it may be shown.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.redactor.text(text)
    }

    /// A text for a log line.
    pub(crate) fn log_text(&self, text: &str) -> String {
        log_text(&self.redactor.text(text))
    }

    /// The user's own code writes the text: its panic must not keep the event from being counted and settled. Redacted as a whole, before anybody cuts it.
    fn said(&self, text: impl FnOnce() -> String) -> Option<String> {
        let text = catch_unwind(AssertUnwindSafe(text)).ok()?;
        match self.redactor.text(&text) {
            Cow::Owned(shown) => Some(shown),
            Cow::Borrowed(_) => Some(text),
        }
    }

    /// Writes the audit line of something that was done, or was not.
    pub(crate) fn audit(&self, action: Action, subject: &str, by: Option<&str>, ending: &Ending) {
        audit::record(action, subject, by.unwrap_or(&self.producer), ending);
    }

    /// Writes the audit line of a subscription that was paused, or goes on; not so, because it has ended.
    pub(crate) fn audit_turn(&self, action: Action, subscription: &str, is_done: bool) {
        let ending = match is_done {
            true => Ending::Done { count: None },
            false => Ending::Refused { reason: "it has ended, or ends".to_owned() },
        };
        self.audit(action, &format!("subscription {subscription}"), None, &ending);
    }

    /// Begins something whose end is not known yet.
    pub(crate) fn begin_audit(&self, action: Action, subject: String, by: Option<&str>) -> audit::Audit {
        audit::begin(action, subject, by.unwrap_or(&self.producer))
    }

    /// The end of something that was not done.
    pub(crate) fn refused(&self, reason: &dyn std::error::Error) -> Ending {
        Ending::Refused { reason: self.redactor.text(&reason.to_string()).into_owned() }
    }

    /// The end of something that was begun.
    pub(crate) fn failed(&self, reason: &dyn std::error::Error) -> Ending {
        Ending::Failed { reason: self.redactor.text(&reason.to_string()).into_owned() }
    }
}

/// The word of an outcome before the text of its error, if it has one; as much of it as is kept.
pub(crate) fn labelled(outcome: &Outcome, error: &str) -> String {
    let mut text = match outcome.error() {
        Some(_) => [outcome.label(), ": ", error].concat(),
        None => error.to_owned(),
    };
    // As many characters are as many bytes at least.
    if text.len() > FAILURE_CHARS_MAX
        && let Some((end, _)) = text.char_indices().nth(FAILURE_CHARS_MAX)
    {
        text.truncate(end);
    }
    text
}

const PANICKED: &str = "its error panicked when it was asked for its text";
/// An error is kept for people to read, not as an archive.
const FAILURE_CHARS_MAX: usize = 512;
