//! What an event survives.

use std::fmt;

/// What an accepted event survives, weakest first: what a publisher asks for, and what a receipt says was reached.
///
/// | | the publish returns when | lost by |
/// |---|---|---|
/// | `Memory` | a queue of this process has it | the end of the process before it was stored, if it is to be stored at all |
/// | `Written` | something beside this process has it | loss of power, at a transport that does not sync |
/// | `Synced` | it was forced to storage | loss of the device |
///
/// No wish is exceeded silently: what was reached stands in the receipt. It is never less than what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it is in this process's memory.
    Memory,
    /// The death of this process: a transport took it. A store inside the process has nothing between memory and synced, and serves this as
    /// [`Synced`](Self::Synced).
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
