//! Concurrency: how many handlers of a subscription may run at once, in all and at each priority.
//!
//! Two limits hold together. The subscription's own is the number of handlers that it runs at once; each
//! priority's keeps a flood at one level from taking all of them. With the default limits and a concurrency
//! of 64, as many as 64 events of P0 run at once but only 8 of P2, however many wait: the other 56 places
//! stay open to other priorities.

use std::num::NonZeroU32;

use busway_event::Priority;

use crate::per_priority::PerPriority;

/// How many handlers of one priority may run at once in a subscription. Never zero: a priority that may not
/// run would hold its events for ever.
///
/// Defaults: P0 128, P1 16, P2 8, P3 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PriorityLimits {
    limits: PerPriority<NonZeroU32>,
}

impl PriorityLimits {
    /// The same limits, with another one for `priority`. Unit: running handlers; from 1 to `u32::MAX`.
    #[must_use]
    pub const fn with(mut self, priority: Priority, limit: NonZeroU32) -> Self {
        *self.limits.of_mut(priority) = limit;
        self
    }

    /// The limit of `priority`.
    pub const fn of(&self, priority: Priority) -> NonZeroU32 {
        *self.limits.of(priority)
    }
}

impl Default for PriorityLimits {
    fn default() -> Self {
        Self {
            limits: PerPriority {
                p0: DEFAULT_LIMIT_P0,
                p1: DEFAULT_LIMIT_P1,
                p2: DEFAULT_LIMIT_P2,
                p3: DEFAULT_LIMIT_P3,
            },
        }
    }
}

/// What [`Running::try_start`] decided.
#[must_use = "a granted start has to be finished; a refused one has to wait"]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Start {
    /// There was room, and it is taken: start the handler, and call [`Running::finish`] when it has stopped.
    Granted,
    /// As many handlers of this priority run as may. Other priorities may still have room.
    PriorityFull {
        /// The limit of this priority.
        limit: NonZeroU32,
    },
    /// As many handlers run as the subscription may run. No priority has room.
    SubscriptionFull {
        /// The limit of the subscription.
        limit: NonZeroU32,
    },
}

/// Counts the running handlers of one subscription against its limits.
///
/// For any sequence of calls, no more than the limit of a priority and no more than the limit of the
/// subscription were granted and are not yet finished. Both limits may change while handlers run: lowering
/// one stops nobody, it only lets nobody start until enough have finished.
///
/// ```
/// use std::num::NonZeroU32;
/// use busway_event::Priority;
/// use busway_reliability::{PriorityLimits, Running, Start};
///
/// let two = NonZeroU32::MIN.saturating_add(1);
/// let mut running = Running::new(PriorityLimits::default(), two);
/// assert_eq!(running.try_start(Priority::P2), Start::Granted);
/// assert_eq!(running.try_start(Priority::P0), Start::Granted);
/// assert_eq!(running.try_start(Priority::P0), Start::SubscriptionFull { limit: two });
/// running.finish(Priority::P2);
/// assert_eq!(running.try_start(Priority::P0), Start::Granted);
/// ```
#[derive(Debug, Clone)]
pub struct Running {
    limits: PriorityLimits,
    concurrency: NonZeroU32,
    counts: PerPriority<u32>,
    /// The sum of `counts`, kept beside it: it is asked for at every start.
    total: u32,
}

impl Running {
    /// Nothing runs yet. `concurrency` is the subscription's own limit, [`DEFAULT_CONCURRENCY`] unless it was
    /// set.
    pub fn new(limits: PriorityLimits, concurrency: NonZeroU32) -> Self {
        Self { limits, concurrency, counts: PerPriority::default(), total: 0 }
    }

    /// Takes a place for a handler at `priority`, if both limits leave one.
    ///
    /// The subscription's limit is looked at first: if that is the one in the way, no other priority needs
    /// trying.
    pub fn try_start(&mut self, priority: Priority) -> Start {
        if self.total >= self.concurrency.get() {
            return Start::SubscriptionFull { limit: self.concurrency };
        }
        let limit = self.limits.of(priority);
        let running = self.counts.of_mut(priority);
        if *running >= limit.get() {
            return Start::PriorityFull { limit };
        }
        *running += 1;
        self.total += 1;
        Start::Granted
    }

    /// Gives the place of a stopped handler back. Does nothing if none runs at `priority`: giving back what
    /// was not taken must not let more start than may.
    pub const fn finish(&mut self, priority: Priority) {
        let running = self.counts.of_mut(priority);
        if let Some(fewer) = running.checked_sub(1) {
            *running = fewer;
            self.total -= 1;
        }
    }

    /// Whether [`try_start`](Self::try_start) would be granted now: to be asked before an event is taken out
    /// of its queue.
    pub const fn has_room(&self, priority: Priority) -> bool {
        self.total < self.concurrency.get() && self.at(priority) < self.limits.of(priority).get()
    }

    /// How many handlers run, over all priorities.
    pub const fn total(&self) -> u32 {
        self.total
    }

    /// How many handlers run at `priority`.
    pub const fn at(&self, priority: Priority) -> u32 {
        *self.counts.of(priority)
    }

    /// Sets both limits anew. What runs goes on running, also above a lowered limit.
    pub const fn set_limits(&mut self, limits: PriorityLimits, concurrency: NonZeroU32) {
        self.limits = limits;
        self.concurrency = concurrency;
    }
}

/// The subscription's own limit unless it was set: one handler at a time, so that nobody meets concurrency
/// who did not ask for it.
pub const DEFAULT_CONCURRENCY: NonZeroU32 = NonZeroU32::MIN;

/// Urgent work is rare and must not queue behind itself.
const DEFAULT_LIMIT_P0: NonZeroU32 = NonZeroU32::new(128).unwrap();
const DEFAULT_LIMIT_P1: NonZeroU32 = NonZeroU32::new(16).unwrap();
/// The default priority: about what a pool of database connections bears.
const DEFAULT_LIMIT_P2: NonZeroU32 = NonZeroU32::new(8).unwrap();
/// As many as the level above: background work is held back by its share of the starts, not by fewer places.
const DEFAULT_LIMIT_P3: NonZeroU32 = NonZeroU32::new(8).unwrap();

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use busway_event::Priority;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::{DEFAULT_CONCURRENCY, PriorityLimits, Running, Start};

    fn count(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn the_defaults_are_128_16_8_8_and_one_at_a_time() {
        let limits = PriorityLimits::default();
        assert_eq!(Priority::ALL.map(|priority| limits.of(priority).get()), [128, 16, 8, 8]);
        assert_eq!(DEFAULT_CONCURRENCY.get(), 1);
    }

    #[test]
    fn a_full_priority_leaves_room_to_the_others() {
        let limits = PriorityLimits::default().with(Priority::P2, count(1));
        let mut running = Running::new(limits, count(3));
        assert_eq!(running.try_start(Priority::P2), Start::Granted);
        assert_eq!(running.try_start(Priority::P2), Start::PriorityFull { limit: count(1) });
        assert_eq!(running.try_start(Priority::P3), Start::Granted);
        assert_eq!((running.total(), running.at(Priority::P2), running.at(Priority::P3)), (2, 1, 1));
    }

    #[test]
    fn the_subscription_limit_holds_over_all_priorities() {
        let mut running = Running::new(PriorityLimits::default(), count(2));
        assert_eq!(running.try_start(Priority::P3), Start::Granted);
        assert_eq!(running.try_start(Priority::P2), Start::Granted);
        assert_eq!(running.try_start(Priority::P0), Start::SubscriptionFull { limit: count(2) });
    }

    #[test]
    fn finishing_what_never_started_makes_no_room() {
        let mut running = Running::new(PriorityLimits::default(), count(1));
        assert_eq!(running.try_start(Priority::P1), Start::Granted);
        running.finish(Priority::P2);
        assert_eq!(running.try_start(Priority::P1), Start::SubscriptionFull { limit: count(1) });
        running.finish(Priority::P1);
        running.finish(Priority::P1);
        assert_eq!(running.total(), 0);
    }

    #[test]
    fn a_lowered_limit_lets_nobody_start_until_enough_have_finished() {
        let mut running = Running::new(PriorityLimits::default(), count(3));
        for _ in 0..3 {
            assert_eq!(running.try_start(Priority::P0), Start::Granted);
        }
        running.set_limits(PriorityLimits::default(), count(1));
        assert_eq!(running.total(), 3);
        running.finish(Priority::P0);
        running.finish(Priority::P0);
        assert!(!running.has_room(Priority::P0));
        running.finish(Priority::P0);
        assert_eq!(running.try_start(Priority::P0), Start::Granted);
    }

    proptest! {
        #[test]
        fn no_limit_is_ever_exceeded_and_none_refuses_while_there_is_room(
            limits in [1_u32..4, 1_u32..4, 1_u32..4, 1_u32..4],
            concurrency in 1_u32..8,
            calls in vec((select(Priority::ALL.to_vec()), any::<bool>()), 0..100),
        ) {
            let settings = Priority::ALL.into_iter().zip(limits).fold(
                PriorityLimits::default(),
                |settings, (priority, limit)| settings.with(priority, count(limit)),
            );
            let mut running = Running::new(settings, count(concurrency));
            let mut model = [0_u32; 4];
            for (priority, starts) in calls {
                let at = priority.index();
                if starts {
                    let room = model[at] < limits[at] && model.iter().sum::<u32>() < concurrency;
                    prop_assert_eq!(running.has_room(priority), room);
                    prop_assert_eq!(running.try_start(priority) == Start::Granted, room);
                    model[at] += u32::from(room);
                } else {
                    running.finish(priority);
                    model[at] = model[at].saturating_sub(1);
                }
                prop_assert_eq!(Priority::ALL.map(|priority| running.at(priority)), model);
                prop_assert_eq!(running.total(), model.iter().sum::<u32>());
            }
        }
    }
}
