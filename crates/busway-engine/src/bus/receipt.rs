//! What a publisher gets for an accepted event.

use std::fmt;

use busway_event::{EventId, Timestamp};
use busway_middleware::Position;

/// An event was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The event.
    pub id: EventId,
    /// Subscriptions that were offered it: it waits in them, was handled, or was dropped by their policy and counted. Of an
    /// event in a stream: those that it matches now; they get it from the log.
    pub offered: usize,
    /// What the event survives from now on.
    pub durability: Durability,
    /// Where its stream holds it; `None` when no stream captures its topic, and while it waits to be due. Boxed: most receipts have none.
    pub position: Option<Box<Position>>,
    /// When it is published, of an event that was [delayed](busway_event::Draft::delay): it has no place in its stream before.
    pub due: Option<Timestamp>,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(due) = self.due {
            return write!(f, "synced, scheduled for {due}");
        }
        if let Some(position) = &self.position {
            return write!(f, "synced at {position}");
        }
        let plural = if self.offered == 1 { "" } else { "s" };
        write!(f, "in {}, offered to {} subscription{plural}", self.durability, self.offered)
    }
}

/// What an accepted event survives, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it is in this process's memory.
    Memory,
    /// The death of this process: a transport took it.
    Written,
    /// Loss of power: it was forced to storage.
    Synced,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Written => "a transport",
            Self::Synced => "storage",
        })
    }
}
