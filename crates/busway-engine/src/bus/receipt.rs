//! What a publisher gets for an accepted event.

use std::fmt;

use busway_event::{Durability, EventId, Timestamp};
use busway_middleware::Position;

/// An event was accepted.
// In the order of the memory, without a gap: what is not there in most receipts, and gaps, are copied along with what lies beside them, and if that was
// written in another piece a moment ago the copy has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[repr(C)]
pub struct Receipt {
    /// The event.
    pub id: EventId,
    /// Subscriptions that were offered it: it waits in them, was handled, or was dropped by their policy and counted. Of an
    /// event in a stream: those that it matches now; they get it from the log.
    pub offered: usize,
    /// Where its stream holds it; `None` when no stream captures its topic, while it waits to be due, and when it was accepted in memory. Boxed: most receipts have none.
    pub position: Option<Box<Position>>,
    /// When it is published, of an event that was [delayed](busway_event::Draft::delay): it has no place in its stream before.
    pub due: Option<Timestamp>,
    /// What the event survives from now on. `Memory` of an event in a stream: it was accepted, and is stored with the next commit.
    pub durability: Durability,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(due) = self.due {
            return match self.durability {
                Durability::Memory => write!(f, "in memory, to be scheduled for {due}"),
                _ => write!(f, "synced, scheduled for {due}"),
            };
        }
        if let Some(position) = &self.position {
            return write!(f, "synced at {position}");
        }
        let plural = if self.offered == 1 { "" } else { "s" };
        write!(f, "in {}, offered to {} subscription{plural}", self.durability, self.offered)
    }
}
