//! The stages of handling, outermost first.

use std::fmt;

/// Where in the chain a middleware stands. The order of the variants is the order of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Sees everything, also what other stages refuse: traces, logs, metrics.
    Trace,
    /// Is the event what it should be: metadata, authorization, decoding.
    Decode,
    /// Was it handled already.
    Idempotency,
    /// Is what the handler depends on alive.
    Breaker,
    /// Another attempt at what is inside.
    Retry,
    /// A deadline for what is inside.
    Timeout,
    /// The application's own steps, next to the handler.
    User,
}

impl Stage {
    /// All stages, outermost first.
    pub const ALL: [Self; 7] =
        [Self::Trace, Self::Decode, Self::Idempotency, Self::Breaker, Self::Retry, Self::Timeout, Self::User];
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trace => "trace",
            Self::Decode => "decode",
            Self::Idempotency => "idempotency",
            Self::Breaker => "breaker",
            Self::Retry => "retry",
            Self::Timeout => "timeout",
            Self::User => "user",
        })
    }
}
