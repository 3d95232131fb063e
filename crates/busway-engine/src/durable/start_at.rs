//! Where a durable subscription begins that the store does not know yet.

use std::sync::Arc;

use busway_event::Timestamp;
use busway_persistence::Store;

use crate::bus::Bus;
use crate::log::Log;

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

/// How far the log of each partition went at some moment: see [`DurableBuilder::start_behind`](super::DurableBuilder::start_behind).
#[derive(Debug, Clone, Default)]
pub struct LogEnds(Arc<[(u32, u64)]>);

impl LogEnds {
    /// Behind its end, where a partition was not there yet: as [`StartAt::Latest`].
    pub(crate) fn offset(&self, partition: u32) -> u64 {
        let known = self.0.iter().find(|(known, _)| *known == partition);
        known.map_or(u64::MAX, |(_, end)| *end)
    }
}

impl Bus {
    /// How far the log goes now; of a bus without a store, and of one that is closed, nothing is known.
    #[must_use]
    pub fn log_ends(&self) -> LogEnds {
        self.log_to(|_, _, end| end)
    }

    /// How far subscriptions in memory have been offered the log by now: at most as far as it [goes](Self::log_ends), less far while one of them blocks by its overflow policy. What comes behind
    /// is still to be offered to those that are there then; of the event right behind it some may have been offered it already.
    #[must_use]
    pub fn offered_ends(&self) -> LogEnds {
        self.log_to(|log, partition, end| log.relayed(partition).map_or(end, |next| next.min(end)))
    }

    /// Some offset of each partition, by where it ends.
    fn log_to(&self, offset: impl Fn(&Log, u32, u64) -> u64) -> LogEnds {
        let ends = self.core().log.as_ref().and_then(|log| {
            log.with(|store| {
                let partitions =
                    log.streams().filter_map(|(declared, ..)| log.partitions_named(declared.name()));
                let end = |partition| Some((partition, offset(log, partition, store.bounds(partition)?.1)));
                partitions.flatten().filter_map(end).collect()
            })
        });
        LogEnds(ends.unwrap_or_default())
    }
}
