//! What a publisher gets for an accepted event.

use std::fmt;

use busway_event::EventId;

/// An event was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The event.
    pub id: EventId,
    /// Subscriptions that were offered it: it waits in them, was handled, or was dropped by their policy and counted.
    pub offered: usize,
    /// What the event survives from now on.
    pub durability: Durability,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
