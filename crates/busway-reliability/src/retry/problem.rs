//! What is wrong with a way of retrying, found when a subscription is built.

use std::time::Duration;

use thiserror::Error;

use super::schedule::DELAYS_MAX;

/// What is wrong with a [`Retry`](super::Retry) or a [`RetryBudget`](crate::RetryBudget).
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RetryProblem {
    /// An event that is never attempted is never handled.
    #[error("retry has 0 attempts, and the first one counts: give it 1 for no further one")]
    NoAttempts,
    /// A delay that is shorter than a timer: all attempts would follow each other at once.
    #[error("retry waits {delay:?} behind attempt {failed}: a delay has a millisecond at least")]
    DelayTooShort {
        /// The delay.
        delay: Duration,
        /// The attempt that it lies behind.
        failed: u32,
    },
    /// A list without a delay.
    #[error("retry has an empty list of delays: give it one at least, or 1 attempt")]
    NoDelays,
    /// A list that is too long.
    #[error(
        "retry lists {delays} delays, of {DELAYS_MAX} at most: the last one is repeated, or use a function"
    )]
    TooManyDelays {
        /// As many.
        delays: usize,
    },
    /// It goes on for longer than events are kept.
    #[error(
        "retry may go on for {span:?}, and stream \"{stream}\" keeps events for {kept:?}: fewer attempts, shorter delays, or a longer retention"
    )]
    LongerThanRetention {
        /// All delays together, at their longest.
        span: Duration,
        /// The stream.
        stream: String,
        /// For how long it keeps events.
        kept: Duration,
    },
    /// A budget that never lets anything be attempted again.
    #[error(
        "the retry budget of 0 % and 0 a second never lets an event be attempted again: raise one of them"
    )]
    NoBudget,
    /// A budget of more than all.
    #[error("the retry budget is {percent} % of the traffic, of 1,000 % at most")]
    BudgetTooLarge {
        /// As many.
        percent: u32,
    },
}
