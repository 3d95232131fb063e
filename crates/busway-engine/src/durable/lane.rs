//! The lane of an event as it is stored with a parked event: a number, the same in every program and for ever.

use busway_event::{Header, Priority};
use busway_reliability::Order;
use busway_router::KeyHash;

/// The lane of an event; `None` when it is a lane of its own.
///
/// A hash of 64 bits: two lanes that share one wait for each other, and lose nothing but time. A parked event keeps the lane
/// that it was parked under, also when the order of its subscription was changed since; a dead letter that is given again has the lane of who has it
/// now (`replays`).
pub(crate) fn lane_of(order: Order, event: &Header) -> Option<u64> {
    let key = event.key()?;
    let lane = order.lane(Some(key.as_str()), event.priority())?;
    Some(number(lane.key(), lane.priority()))
}

/// The lanes of the event of a dead letter under each order: its subscription may not run, and then nobody knows which it will have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lanes {
    lane: u64,
    key: u64,
}

impl Lanes {
    /// Of an event that is nobody's neighbour.
    pub(crate) const NONE: Self = Self { lane: NO_LANE, key: NO_LANE };

    pub(crate) fn of(event: &Header) -> Self {
        let under = |order| lane_of(order, event).unwrap_or(NO_LANE);
        Self { lane: under(Order::Lane), key: under(Order::Key) }
    }

    /// The lane as it is stored.
    pub(crate) const fn under(self, order: Order) -> u64 {
        match order {
            Order::Lane => self.lane,
            Order::Key => self.key,
            Order::None => NO_LANE,
        }
    }
}

/// What sticks to one member of a group: the key, whatever the priority; `None` for an event that is a lane of its own.
pub(crate) fn home_of(order: Order, event: &Header) -> Option<KeyHash> {
    let key = event.key().filter(|_| order != Order::None)?;
    Some(KeyHash::of(key.as_str()))
}

/// Stands for "a lane of its own" in what is stored.
pub(crate) const NO_LANE: u64 = 0;

/// FNV-1a (Fowler, Noll, Vo) over the key, a byte that no text has, and the priority. Never [`NO_LANE`].
fn number(key: &str, priority: Option<Priority>) -> u64 {
    let priority = priority.map_or(ALL_PRIORITIES, |priority| u8::try_from(priority.index()).unwrap_or(0));
    let bytes = key.bytes().chain([0xff, priority]);
    let hash = bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    hash.max(NO_LANE + 1)
}

const ALL_PRIORITIES: u8 = 0xfe;
const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_the_same_for_ever_and_differs_by_key_and_priority() {
        assert_eq!(number("A-1", Some(Priority::P2)), 0x7b35_16e6_8f6a_55db);
        assert_ne!(number("A-1", Some(Priority::P2)), number("A-1", Some(Priority::P3)));
        assert_ne!(number("A-1", Some(Priority::P2)), number("A-1", None));
        assert_ne!(number("A-1", None), number("A-2", None));
    }
}
