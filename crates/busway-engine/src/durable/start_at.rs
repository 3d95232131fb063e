//! Where a durable subscription begins that the store does not know yet.

use busway_event::Timestamp;
use busway_persistence::Store;

/// Where a *new* durable subscription begins in each partition. One that the store knows goes on where it stands, whatever is
/// said here: starting a program again must not handle everything again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StartAt {
    /// Where it stands in the store; a new one begins with what is published from now on. The default.
    #[default]
    Stored,
    /// A new one begins with what is published from now on.
    Latest,
    /// A new one begins with the oldest event that is kept.
    Earliest,
    /// A new one begins at this offset of each partition; where that is not kept any more, or not there yet, at the nearest
    /// that is.
    Offset(u64),
    /// A new one begins with the first event that the store took at this time or later, by the publishers' clocks.
    Time(Timestamp),
}

impl StartAt {
    /// The offset in a partition. May read a few records.
    pub(crate) fn offset(self, store: &Store, partition: u32) -> u64 {
        match self {
            Self::Earliest => 0,
            Self::Offset(offset) => offset,
            // Where that cannot be told it begins too early rather than too late.
            Self::Time(time) => store.offset_at(partition, time).unwrap_or_else(|error| {
                tracing::error!(partition, %error, "a subscription begins with the oldest event");
                0
            }),
            // The store brings it into the bounds of the log when it registers the subscription.
            Self::Stored | Self::Latest => u64::MAX,
        }
    }
}
