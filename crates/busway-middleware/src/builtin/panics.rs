//! What a panic means for its event.

use crate::chain::Panicked;
use crate::delivery::Delivery;
use crate::middleware::SyncMiddleware;
use crate::outcome::Outcome;

/// Decides what becomes of an event whose handler panicked.
///
/// The chain contains every panic without this: it is a `Failed` outcome that names the node, and neither the
/// subscription nor the process notices. This step, placed outside of the handler, makes something else of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsolatePanics {
    outcome: PanicOutcome,
}

/// What a panic becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PanicOutcome {
    /// A failure like any other: worth another attempt.
    #[default]
    Failed,
    /// No further attempt: a panic is a bug, and the same event would meet it again.
    Dead,
}

impl IsolatePanics {
    /// Panics become this outcome.
    #[must_use]
    pub const fn new(outcome: PanicOutcome) -> Self {
        Self { outcome }
    }
}

impl SyncMiddleware for IsolatePanics {
    fn after(&self, _delivery: &Delivery, outcome: Outcome) -> Outcome {
        match (self.outcome, outcome) {
            (PanicOutcome::Dead, Outcome::Failed(error)) if error.is::<Panicked>() => Outcome::Dead(error),
            (_, outcome) => outcome,
        }
    }
}
