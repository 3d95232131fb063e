//! Whose failure an outcome is: a step's own bears the step's name, the handler's stays as it is.
//!
//! What the chain makes itself, a panic or a failure that bears a name, is known by its type. The handler's error
//! bears no mark, so that middleware and callers can recognize it: it is known by the place where it lies and by what
//! it says. The place alone would not do: an error that is made after the handler's was dropped often lies in the same
//! place.

use std::error::Error;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use super::Node;
use super::panicked::{Panicked, contain};
use crate::failure::Failure;
use crate::outcome::{BoxError, Outcome};

/// The handler's failures of one run, the last [`FAILURES_MAX`] of them: a step that makes several attempts may hand
/// on any.
#[derive(Debug, Default)]
pub(super) struct HandlerFailures {
    seen: Vec<Seen>,
}

impl HandlerFailures {
    #[inline]
    pub(super) fn clear(&mut self) {
        if !self.seen.is_empty() {
            self.seen.clear();
        }
    }

    /// Remembers the handler's outcome when it is a failure.
    #[inline]
    pub(super) fn remember(&mut self, outcome: &Outcome) {
        if let Outcome::Failed(error) = outcome {
            self.remember_error(error.inner());
        }
    }

    #[cold]
    fn remember_error(&mut self, error: &BoxError) {
        if self.seen.len() >= FAILURES_MAX {
            self.seen.remove(0);
        }
        self.seen.push(Seen { place: place_of(error), text: text_of(error) });
    }

    fn contains(&self, error: &BoxError) -> bool {
        let place = place_of(error);
        // The text is asked for only where the place fits.
        let at_place = || self.seen.iter().filter(|seen| seen.place == place);
        if at_place().next().is_none() {
            return false;
        }
        let text = text_of(error);
        at_place().any(|seen| seen.text == text)
    }

    /// The outcome of `node`, with its name on a failure of its own.
    #[inline]
    pub(super) fn name(&self, node: &Node, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Failed(error) => Outcome::Failed(self.name_error(node, error)),
            outcome => outcome,
        }
    }

    #[cold]
    fn name_error(&self, node: &Node, error: Failure) -> Failure {
        if error.is::<Panicked>() || error.is::<NodeFailed>() || self.contains(error.inner()) {
            return error;
        }
        NodeFailed { node: Arc::clone(&node.name), source: error.into_inner() }.into()
    }
}

/// What tells an error from others. The place is never read from.
#[derive(Debug)]
struct Seen {
    place: usize,
    text: u64,
}

fn place_of(error: &BoxError) -> usize {
    std::ptr::from_ref::<dyn Error>(&**error).cast::<()>().addr()
}

/// A hash of the error's text and those of its causes. A panic in a text is where that text ends.
fn text_of(error: &BoxError) -> u64 {
    let mut text = TextHash(DefaultHasher::new());
    let mut cause: Option<&dyn Error> = Some(&**error);
    while let Some(error) = cause {
        _ = contain(|| write!(text, "{error}"));
        cause = contain(|| error.source()).unwrap_or_default();
    }
    text.0.finish()
}

struct TextHash(DefaultHasher);

impl Write for TextHash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// A middleware failed by itself.
#[derive(Debug, thiserror::Error)]
#[error("middleware {node} failed")]
struct NodeFailed {
    node: Arc<str>,
    source: BoxError,
}

/// Failures that are remembered of a run, so that a step which tries for ever does not fill the memory. What a step hands on
/// later than that is taken for its own.
const FAILURES_MAX: usize = 16;
