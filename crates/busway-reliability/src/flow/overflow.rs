//! The overflow policies of a subscription, and the action that each comes down to.

use std::time::Duration;

/// What a full ephemeral subscription does with one more event.
///
/// An event heavier than the whole byte budget is dropped and counted under every policy
/// ([`OverBudget::is_transient`](crate::OverBudget::is_transient)): there is no room to make for it.
///
/// No policy fails the publish, and every event that is lost counts as dropped in the subscription's
/// [`Tally`](crate::Tally); the subscriber is told how many were.
///
/// | policy | lost | counted as dropped | who waits |
/// |---|---|---|---|
/// | `Block(None)` | nothing | nothing | the publisher, until there is room |
/// | `Block(Some(d))` | the incoming event, after `d` | 1 | the publisher, up to `d` |
/// | `DropNewest` | the incoming event | 1 | nobody |
/// | `DropOldest` | the oldest waiting events | each | nobody |
/// | `Coalesce` | the waiting event of the same key | 1 | nobody |
/// | `Disconnect` | the incoming event, and the subscription | 1 | nobody |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overflow {
    /// The publisher waits for room: up to this long, or without a deadline for `None`.
    ///
    /// Past the deadline the incoming event is dropped for this subscription, and counted; the publish goes
    /// on to the other subscriptions and stays `Ok`. This is the only policy by which one subscriber slows
    /// others down. A publisher that may not wait (see [`MayWait`]) loses the event at once.
    Block(Option<Duration>),
    /// The incoming event is dropped and counted: what waits already is the older promise. The default.
    #[default]
    DropNewest,
    /// Waiting events are dropped and counted, oldest first, until the incoming one fits: the latest matters
    /// most.
    DropOldest,
    /// The incoming event takes the place of the waiting event of the same key, which is dropped and counted:
    /// the subscriber sees the latest state of each key, in the order in which the keys came up.
    ///
    /// The engine does so whenever one waits, not only when the queue is full: otherwise one busy key would fill it.
    /// If the event has no key, or none of its key waits and the queue is full, it is dropped and counted as under
    /// [`DropNewest`](Self::DropNewest). How an event's key is found is not part of the policy: the engine
    /// knows.
    Coalesce,
    /// The subscription is closed, and the incoming event is dropped and counted. What waits already is still
    /// handled, unless the subscription is paused: then it is abandoned. Nothing more is offered.
    Disconnect,
}

/// Whether the publisher can be made to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MayWait {
    /// A publish that is awaited.
    Yes,
    /// A publish that must return at once, and one from a handler of the same subscription, which would wait
    /// for itself.
    No,
}

/// What to do with the event that did not fit. Decided by [`on_full`].
#[must_use = "the incoming event is neither queued nor dropped yet"]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FullAction {
    /// Wait for room, for at most `deadline` counted from the first try (`None` = as long as it takes), then
    /// try again; past the deadline, drop the incoming event and count it.
    Wait {
        /// How long in all.
        deadline: Option<Duration>,
    },
    /// Drop the incoming event and count it.
    DropIncoming,
    /// Drop the oldest waiting event, count it and try again; with none left to drop, drop the incoming one.
    DropOldest,
    /// Put the incoming event in the place of the waiting one of the same key, and count that one as dropped;
    /// without such a one, drop the incoming event and count it.
    Replace,
    /// Drop the incoming event, count it, and close the subscription to further events.
    Close,
}

/// What a full subscription does with the incoming event.
///
/// A `Block` that cannot wait, because the publisher may not or the deadline is zero, is past its deadline at
/// once.
///
/// ```
/// use std::time::Duration;
/// use busway_reliability::{FullAction, MayWait, Overflow, on_full};
///
/// let block = Overflow::Block(Some(Duration::from_millis(50)));
/// assert_eq!(on_full(block, MayWait::Yes), FullAction::Wait { deadline: Some(Duration::from_millis(50)) });
/// assert_eq!(on_full(block, MayWait::No), FullAction::DropIncoming);
/// assert_eq!(on_full(Overflow::default(), MayWait::Yes), FullAction::DropIncoming);
/// ```
pub const fn on_full(overflow: Overflow, may_wait: MayWait) -> FullAction {
    match (overflow, may_wait) {
        (Overflow::Block(Some(Duration::ZERO)), _) | (Overflow::Block(_), MayWait::No) => {
            FullAction::DropIncoming
        }
        (Overflow::Block(deadline), MayWait::Yes) => FullAction::Wait { deadline },
        (Overflow::DropNewest, _) => FullAction::DropIncoming,
        (Overflow::DropOldest, _) => FullAction::DropOldest,
        (Overflow::Coalesce, _) => FullAction::Replace,
        (Overflow::Disconnect, _) => FullAction::Close,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FullAction, MayWait, Overflow, on_full};

    const SOON: Option<Duration> = Some(Duration::from_millis(5));

    #[test]
    fn the_default_drops_the_newest() {
        assert_eq!(Overflow::default(), Overflow::DropNewest);
    }

    #[test]
    fn only_a_blocking_policy_makes_a_publisher_wait() {
        assert_eq!(on_full(Overflow::Block(SOON), MayWait::Yes), FullAction::Wait { deadline: SOON });
        assert_eq!(on_full(Overflow::Block(None), MayWait::Yes), FullAction::Wait { deadline: None });
        let others = [Overflow::DropNewest, Overflow::DropOldest, Overflow::Coalesce, Overflow::Disconnect];
        for overflow in others {
            assert!(!matches!(on_full(overflow, MayWait::Yes), FullAction::Wait { .. }), "{overflow:?}");
        }
    }

    #[test]
    fn a_publisher_that_may_not_wait_never_does() {
        for deadline in [None, SOON] {
            assert_eq!(on_full(Overflow::Block(deadline), MayWait::No), FullAction::DropIncoming);
        }
    }

    #[test]
    fn a_deadline_of_zero_is_past_at_once() {
        assert_eq!(on_full(Overflow::Block(Some(Duration::ZERO)), MayWait::Yes), FullAction::DropIncoming);
    }

    #[test]
    fn each_losing_policy_has_its_own_action_whoever_publishes() {
        for may_wait in [MayWait::Yes, MayWait::No] {
            assert_eq!(on_full(Overflow::DropNewest, may_wait), FullAction::DropIncoming);
            assert_eq!(on_full(Overflow::DropOldest, may_wait), FullAction::DropOldest);
            assert_eq!(on_full(Overflow::Coalesce, may_wait), FullAction::Replace);
            assert_eq!(on_full(Overflow::Disconnect, may_wait), FullAction::Close);
        }
    }
}
