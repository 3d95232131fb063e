//! What the tests share: an event type, drafts of it, and the sum that must always hold.

use busway_engine::SubscriptionStats;
use busway_event::{Draft, Event, EventType};
use busway_reliability::Tally;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Number {
    pub(crate) n: u32,
}

impl EventType for Number {
    const NAME: &'static str = "number";
}

/// An event on `topic`.
pub(crate) fn number(topic: &str, n: u32) -> Draft<Number> {
    Event::new(topic, Number { n })
}

/// offered = delivered + dropped + expired + abandoned, with nothing left that waits.
#[track_caller]
pub(crate) fn assert_settled(stats: &SubscriptionStats) {
    assert_eq!(stats.tally.offered, stats.tally.settled(), "{stats}");
    assert_eq!(stats.running, 0, "{stats}");
    assert_eq!(stats.tally.delivered, stats.done + stats.failed + stats.dead + stats.skipped);
}

/// The account as an array: offered, delivered, dropped, expired, abandoned.
pub(crate) fn account(tally: &Tally) -> [u64; 5] {
    [tally.offered, tally.delivered, tally.dropped, tally.expired, tally.abandoned]
}
