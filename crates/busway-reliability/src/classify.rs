//! What kind of failure an error is.

use busway_event::Timestamp;

/// What kind of failure an error is: what a subscription's `.classify(f)` says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureClass {
    /// It may pass: another attempt after the delay of the schedule. What every error is unless somebody says otherwise.
    Transient,
    /// It will not pass: no further attempt.
    Permanent,
    /// Not before this time, wall clock; an attempt like any other.
    RetryAt(Timestamp),
}
