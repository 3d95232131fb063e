//! A record of one delivery's way through a chain: which node took how long, and who cut it short.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use busway_event::EventId;

/// One delivery's way through a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainTrace {
    /// The event.
    pub event: EventId,
    /// The nodes in the order in which they were entered, outermost first. What a retry runs again is there again.
    pub nodes: Vec<NodeTime>,
    /// The node that did not go on inwards, when one did not.
    pub cut_by: Option<Arc<str>>,
    /// The final outcome's word, see [`Outcome::label`](crate::Outcome::label).
    pub outcome: &'static str,
}

/// How long a node took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTime {
    /// The node's name; `handler` for the handler.
    pub node: Arc<str>,
    /// From entering the node to leaving it, what is inside included. A node that was dropped in the middle (by a
    /// timeout, say) was left with the node that dropped it.
    pub elapsed: Duration,
}

impl fmt::Display for ChainTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.event, self.outcome)?;
        if let Some(node) = &self.cut_by {
            write!(f, ", cut short by {node}")?;
        }
        self.nodes.iter().try_for_each(|time| write!(f, " > {} {:?}", time.node, time.elapsed))
    }
}

/// A trace in the making.
#[derive(Debug)]
pub(super) struct Timing {
    event: EventId,
    marks: Vec<Mark>,
}

#[derive(Debug)]
struct Mark {
    node: Arc<str>,
    entered: Instant,
    left: Option<Instant>,
}

impl Timing {
    pub(super) const fn new(event: EventId) -> Self {
        Self { event, marks: Vec::new() }
    }

    /// Enters a node; the answer is for [`leave`](Self::leave).
    pub(super) fn enter(&mut self, node: &str, now: Instant) -> usize {
        self.marks.push(Mark { node: node.into(), entered: now, left: None });
        self.marks.len() - 1
    }

    /// Leaves a node, and with it what is still open inside of it.
    pub(super) fn leave(&mut self, entered: usize, now: Instant) {
        let inside = self.marks.iter_mut().skip(entered);
        inside.for_each(|mark| _ = mark.left.get_or_insert(now));
    }

    pub(super) fn into_trace(
        mut self,
        now: Instant,
        cut_by: Option<Arc<str>>,
        outcome: &'static str,
    ) -> ChainTrace {
        self.leave(0, now);
        let time = |mark: Mark| {
            let left = mark.left.unwrap_or(now);
            NodeTime { node: mark.node, elapsed: left.saturating_duration_since(mark.entered) }
        };
        let nodes = self.marks.into_iter().map(time).collect();
        ChainTrace { event: self.event, nodes, cut_by, outcome }
    }
}
