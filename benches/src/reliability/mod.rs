//! Failures: what it costs to be ready for them, and what they cost others when they come.
//!
//! What readiness costs is told beside the same path without it, in the same run: `idempotency-local-hit` and `breaker-closed` as nanoseconds above it,
//! round by round, `idempotency-miss` as a rate. What failures cost others is told of those who have none: healthy keys beside failing ones, the other
//! channels beside an open one. Events, backlogs and folders are those of the [`consume`](crate::consume) suites.

pub mod breaker;
pub mod failing;
pub mod idempotency;
pub(crate) mod in_memory;
pub mod letters;
pub mod redis;

use crate::terms::Terms;

/// Rounds of suites whose runs take seconds: enough for a median.
const fn few_rounds(terms: &Terms) -> Terms {
    Terms { rounds: if terms.rounds < ROUNDS { terms.rounds } else { ROUNDS }, ..*terms }
}

const ROUNDS: usize = 7;
