//! When the server syncs, and what that makes of its word.

use busway_event::Durability;

/// When the server's streams sync to the disk, as its operator knows: a client cannot ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Syncing {
    /// Nobody has said. Taken for [`Now and then`](Self::Interval).
    #[default]
    Unknown,
    /// Now and then: the server's default is every two minutes. What was sent since is lost by a power cut.
    Interval,
    /// Before each answer: `sync_interval: always` of the server. What is sent is [synced](Durability::Synced) then.
    Always,
}

impl Syncing {
    /// What an event has reached when the server has answered.
    pub(crate) const fn durability(self) -> Durability {
        match self {
            Self::Always => Durability::Synced,
            Self::Unknown | Self::Interval => Durability::Written,
        }
    }
}
