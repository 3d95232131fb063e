//! Panics of user code: caught where they happen, told as outcomes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::builtin::log_text;
use crate::outcome::Outcome;

/// A panic of user code, caught.
#[derive(Debug, thiserror::Error)]
#[error("{node} panicked: {message}")]
pub(crate) struct Panicked {
    node: Box<str>,
    message: String,
}

impl Panicked {
    /// The outcome of a node that panicked.
    pub(crate) fn in_node(node: &str, panic: &(dyn Any + Send)) -> Outcome {
        Outcome::Failed(Self { node: node.into(), message: message_of(panic) }.into())
    }
}

/// Runs user code. What it was working on is dropped or started afresh after a panic, so nothing that is half done is
/// seen again.
pub(crate) fn contain<T>(work: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(work))
}

/// Runs user code that belongs to nobody's outcome, as drops do: a panic in it is logged and ends there.
#[inline]
pub fn contained(code: impl FnOnce()) {
    if let Err(panic) = contain(code) {
        tracing::error!(
            panic = log_text(&message_of(&*panic)),
            "what belongs to the program panicked while it was dropped"
        );
    }
}

/// Drops user code.
pub fn drop_contained<T>(code: T) {
    contained(|| drop(code));
}

/// What the panic said, when it said so in a text.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
