//! What a run through the chain leaves behind: events to publish, who cut it short, whose failure it was, and times.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use busway_event::AnyDraft;

use super::Node;
use super::failure::HandlerFailures;
use super::trace::{ChainTrace, Timing};
use crate::delivery::Delivery;
use crate::outcome::{Outcome, Reply};

/// What one delivery's run through the chain left behind. A worker keeps one and uses it again and again.
#[derive(Default)]
pub struct Progress {
    phase: Phase,
    emits: Vec<AnyDraft>,
    cut_by: Option<Arc<str>>,
    /// How often any step went on inwards.
    steps_inwards: u64,
    handler_failures: HandlerFailures,
    clock: Option<Arc<dyn Fn() -> Instant + Send + Sync>>,
    timing: Option<Timing>,
    trace: Option<ChainTrace>,
}

/// Whether a run is under way, or was dropped in the middle: then what it has gathered is nobody's.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    Ended,
}

impl Progress {
    /// Nothing yet; times are not taken.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the time of each node with `clock` from the next run on, or no longer.
    pub fn time_with(&mut self, clock: Option<Arc<dyn Fn() -> Instant + Send + Sync>>) {
        self.clock = clock;
    }

    /// The events that the handler wants published, in order. Empty unless the run ended, and with `Done`.
    pub fn take_emits(&mut self) -> Vec<AnyDraft> {
        match self.phase {
            Phase::Ended => std::mem::take(&mut self.emits),
            Phase::Running => Vec::new(),
        }
    }

    /// Whether [`take_emits`](Self::take_emits) has something to take.
    #[must_use]
    #[inline]
    pub fn has_emits(&self) -> bool {
        self.phase == Phase::Ended && !self.emits.is_empty()
    }

    /// The node that cut the chain short: it did not go on inwards. Of a step that went inwards several times, the last
    /// time counts.
    #[must_use]
    #[inline]
    pub fn cut_by(&self) -> Option<&str> {
        self.cut_by.as_deref()
    }

    /// The times, when they were taken and the run ended.
    pub fn take_trace(&mut self) -> Option<ChainTrace> {
        self.trace.take()
    }

    #[inline]
    pub(super) fn begin(&mut self, delivery: &Delivery) {
        self.phase = Phase::Running;
        // Asked before it is written: most runs leave nothing, and dropping nothing has a price too.
        if !self.emits.is_empty() {
            self.emits.clear();
        }
        if self.cut_by.is_some() {
            self.cut_by = None;
        }
        if self.clock.is_some() || self.timing.is_some() || self.trace.is_some() {
            self.trace = None;
            self.timing = self.clock.is_some().then(|| Timing::new(delivery.event().id()));
        }
        self.handler_failures.clear();
    }

    #[inline]
    pub(super) fn end(&mut self, outcome: &Outcome) {
        self.phase = Phase::Ended;
        if !outcome.is_done() {
            self.emits.clear();
        }
        if self.takes_times()
            && let (Some(timing), Some(clock)) = (self.timing.take(), &self.clock)
        {
            self.trace = Some(timing.into_trace(clock(), self.cut_by.clone(), outcome.label()));
        }
    }

    /// Whether the times of this run are taken.
    #[inline]
    pub(super) const fn takes_times(&self) -> bool {
        self.timing.is_some()
    }

    /// Whether [`take_trace`](Self::take_trace) has something to take.
    #[must_use]
    #[inline]
    pub const fn has_trace(&self) -> bool {
        self.trace.is_some()
    }

    /// A step goes on inwards; what an earlier time inwards left is forgotten.
    pub(super) fn go_inwards(&mut self) {
        self.steps_inwards += 1;
        self.emits.clear();
        self.cut_by = None;
    }

    pub(super) const fn steps_inwards(&self) -> u64 {
        self.steps_inwards
    }

    /// Takes what the handler replied.
    #[inline]
    pub(super) fn keep(&mut self, reply: Reply) -> Outcome {
        if !reply.emits.is_empty() {
            self.emits = reply.emits;
        }
        self.handler_failures.remember(&reply.outcome);
        reply.outcome
    }

    /// What a node answers in the handler's place.
    pub(super) fn answer(&mut self, reply: Reply) -> Outcome {
        self.emits = reply.emits;
        reply.outcome
    }

    /// What is to be published as far as is known now.
    pub(super) fn gathered(&self) -> &[AnyDraft] {
        &self.emits
    }

    /// Remembers who cut the chain short, and puts its name on a failure.
    pub(super) fn cut(&mut self, node: &Node, outcome: Outcome) -> Outcome {
        self.cut_by = Some(Arc::clone(&node.name));
        self.name(node, outcome)
    }

    /// The outcome of an async node, before which `before` steps inwards had been made.
    pub(super) fn judge(&mut self, node: &Node, before: u64, outcome: Outcome) -> Outcome {
        match self.steps_inwards == before {
            true => self.cut(node, outcome),
            false => self.name(node, outcome),
        }
    }

    /// Puts the node's name on a failure of its own: one that bears no name and is not the handler's.
    #[inline]
    pub(super) fn name(&self, node: &Node, outcome: Outcome) -> Outcome {
        self.handler_failures.name(node, outcome)
    }

    /// Notes that a node is entered; the answer is for [`leave`](Self::leave).
    #[inline]
    pub(super) fn enter(&mut self, node: &str) -> Option<usize> {
        let (Some(timing), Some(clock)) = (&mut self.timing, &self.clock) else { return None };
        Some(timing.enter(node, clock()))
    }

    #[inline]
    pub(super) fn leave(&mut self, entered: Option<usize>) {
        let (Some(timing), Some(clock), Some(entered)) = (&mut self.timing, &self.clock, entered) else {
            return;
        };
        timing.leave(entered, clock());
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("phase", &self.phase)
            .field("cut_by", &self.cut_by)
            .field("trace", &self.trace)
            .finish_non_exhaustive()
    }
}
