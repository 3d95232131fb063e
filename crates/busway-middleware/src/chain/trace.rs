//! A record of one delivery's way through a chain: which node took how long, and who cut it short.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use busway_event::EventId;

/// One delivery's way through a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainTrace {
    /// The event.
    pub event: EventId,
    /// The nodes that were entered, outermost first; the last one is the handler when it was reached.
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
    /// From entering the node to leaving it, what is inside included.
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
