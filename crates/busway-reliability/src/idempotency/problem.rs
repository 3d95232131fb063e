//! What is wrong with an idempotency.

use std::time::Duration;

use busway_event::Metadata;

use super::pointer::PointerError;

/// One thing that is wrong with an [`Idempotency`](super::Idempotency).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdempotencyProblem {
    /// A pointer is none.
    #[error("{0}")]
    Pointer(PointerError),
    /// No field or pointer was named.
    #[error("its idempotency key has no parts: name a field or a pointer at least")]
    NoParts,
    /// No event has such a field.
    #[error("its idempotency key \"{}\" can be in no metadata: {reason}", name.escape_debug())]
    Field {
        /// The name.
        name: String,
        /// The rule that it breaks.
        reason: String,
    },
    /// A field is named twice.
    #[error("its idempotency key names \"{name}\" twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A time is out of bounds.
    #[error("its idempotency {setting} is {value:?}: it is 1 ms at least and {most:?} at most")]
    Time {
        /// Which.
        setting: &'static str,
        /// As asked for.
        value: Duration,
        /// The longest.
        most: Duration,
    },
    /// Too many keys, or none.
    #[error("its idempotency keys_max is {keys}: it is 1 at least and {most} at most")]
    Keys {
        /// As asked for.
        keys: usize,
        /// The most.
        most: usize,
    },
    /// A cache without room.
    #[error("its idempotency local_capacity is 0: it is 1 at least")]
    NoLocalCapacity,
}

/// What is wrong with names of metadata.
pub(super) fn names_problems(names: &[Box<str>]) -> Vec<IdempotencyProblem> {
    if names.is_empty() {
        return vec![IdempotencyProblem::NoParts];
    }
    let mut problems = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if names.iter().take(at).any(|before| before == name) {
            problems.push(IdempotencyProblem::Twice { name: name.to_string() });
        }
        let mut metadata = Metadata::draft("busway", 1);
        metadata.set(name, "1");
        // Fixed fields are set by other means, and are there.
        let is_fixed = matches!(&**name, "producer" | "version" | "trace_id" | "traceparent" | "tracestate");
        if let Err(error) = metadata.build()
            && !is_fixed
        {
            problems.push(IdempotencyProblem::Field { name: name.to_string(), reason: error.to_string() });
        }
    }
    problems
}
