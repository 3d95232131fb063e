//! What a run through the chain leaves behind: events to publish, who cut it short, whose failure it was, and times.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use busway_event::AnyDraft;

use super::Node;
use super::panicked::Panicked;
use super::trace::{ChainTrace, Timing};
use crate::delivery::Delivery;
use crate::outcome::{BoxError, Outcome, Reply};

/// What one delivery's run through the chain left behind. A worker keeps one and uses it again and again.
#[derive(Default)]
pub struct Progress {
    phase: Phase,
    emits: Vec<AnyDraft>,
    cut_by: Option<Arc<str>>,
    /// How often any step went on inwards.
    steps_inwards: u64,
    returned: Option<Returned>,
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

/// The last `next.run` that was not dropped in the middle: how many nodes it had inside of it, which tells it from those
/// of other nodes, and whether it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Returned {
    nodes_inside: usize,
    ended: Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Failed,
    Otherwise,
}

impl Ended {
    const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Failed(_) => Self::Failed,
            _ => Self::Otherwise,
        }
    }
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

    /// The node that cut the chain short: it did not go on inwards. Of a step that went inwards several times, the last
    /// time counts.
    #[must_use]
    pub fn cut_by(&self) -> Option<&str> {
        self.cut_by.as_deref()
    }

    /// The times, when they were taken and the run ended.
    pub fn take_trace(&mut self) -> Option<ChainTrace> {
        self.trace.take()
    }

    pub(super) fn begin(&mut self, delivery: &Delivery) {
        self.phase = Phase::Running;
        self.emits.clear();
        self.cut_by = None;
        self.returned = None;
        self.trace = None;
        self.timing = self.clock.is_some().then(|| Timing::new(delivery.event().id()));
    }

    pub(super) fn end(&mut self, outcome: &Outcome) {
        self.phase = Phase::Ended;
        if !outcome.is_done() {
            self.emits.clear();
        }
        if let (Some(timing), Some(clock)) = (self.timing.take(), &self.clock) {
            self.trace = Some(timing.into_trace(clock(), self.cut_by.clone(), outcome.label()));
        }
    }

    /// A step goes on inwards; what an earlier time inwards left is forgotten.
    pub(super) fn go_inwards(&mut self) {
        self.steps_inwards += 1;
        self.returned = None;
        self.emits.clear();
        self.cut_by = None;
    }

    pub(super) fn come_back(&mut self, nodes_inside: usize, outcome: &Outcome) {
        self.returned = Some(Returned { nodes_inside, ended: Ended::of(outcome) });
    }

    pub(super) const fn steps_inwards(&self) -> u64 {
        self.steps_inwards
    }

    pub(super) fn keep(&mut self, reply: Reply) -> Outcome {
        self.emits = reply.emits;
        reply.outcome
    }

    /// Remembers who cut the chain short, and puts its name on a failure.
    pub(super) fn cut(&mut self, node: &Node, outcome: Outcome) -> Outcome {
        self.cut_by = Some(Arc::clone(&node.name));
        own_failure(node, outcome)
    }

    /// The outcome of an async node with `nodes_inside`, after which `before` steps inwards had been made: names the node when
    /// the failure is its own and was not handed through from the inside.
    pub(super) fn judge(
        &mut self,
        node: &Node,
        nodes_inside: usize,
        before: u64,
        outcome: Outcome,
    ) -> Outcome {
        if self.steps_inwards == before {
            return self.cut(node, outcome);
        }
        match self.returned {
            Some(returned) if returned == (Returned { nodes_inside, ended: Ended::Failed }) => outcome,
            _ => own_failure(node, outcome),
        }
    }

    /// Notes that a node is entered; the answer is for [`leave`](Self::leave).
    pub(super) fn enter(&mut self, node: &str) -> Option<usize> {
        let (Some(timing), Some(clock)) = (&mut self.timing, &self.clock) else { return None };
        Some(timing.enter(node, clock()))
    }

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

/// Puts the node's name on its failure, unless one is on it already.
pub(super) fn own_failure(node: &Node, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed(source) if !source.is::<Panicked>() && !source.is::<NodeFailed>() => {
            Outcome::Failed(Box::new(NodeFailed { node: Arc::clone(&node.name), source }))
        }
        outcome => outcome,
    }
}

/// A middleware failed by itself: the handler was not reached, or had not failed.
#[derive(Debug, thiserror::Error)]
#[error("middleware {node} failed")]
struct NodeFailed {
    node: Arc<str>,
    source: BoxError,
}
