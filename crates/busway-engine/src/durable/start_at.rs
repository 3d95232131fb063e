//! Where a durable subscription begins that the store does not know yet.

use busway_event::Timestamp;
use busway_persistence::{ReadLimits, Store};

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
    pub(super) fn offset(self, store: &Store, partition: u32) -> u64 {
        match self {
            Self::Earliest => 0,
            Self::Offset(offset) => offset,
            Self::Time(time) => first_from(store, partition, time),
            // The store brings it into the bounds of the log when it registers the subscription.
            Self::Stored | Self::Latest => u64::MAX,
        }
    }
}

/// The first offset from that time on: a binary search, since the times of a partition rise as its offsets do, but for clocks
/// that differ.
fn first_from(store: &Store, partition: u32, time: Timestamp) -> u64 {
    let Some((mut low, mut high)) = store.bounds(partition) else { return u64::MAX };
    let end = high;
    let one = ReadLimits { events: 1, bytes: 1 };
    while low < high {
        let middle = low + (high - low) / 2;
        let event =
            store.read(partition, middle, None, one).ok().and_then(|page| page.events.into_iter().next());
        // What cannot be read is taken for earlier: its neighbours decide.
        match event.is_some_and(|event| event.appended >= time) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    low.min(end)
}
