//! The books of a subscription: every event that it was offered, and what became of it.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// What became of the events that a subscription was offered.
///
/// The promise is `offered = delivered + dropped + expired + abandoned + waiting`, always. Four of the five
/// are counted; [`waiting`](Self::waiting) is what is left, so that the books balance by construction while
/// they move.
///
/// To copy moving counters into a tally, read `offered` *last*: an event is offered before it is settled, so
/// that a copy made in this order never shows more settled than offered.
///
/// ```
/// use busway_reliability::Tally;
///
/// let tally = Tally { offered: 10, delivered: 7, dropped: 1, ..Tally::default() };
/// assert_eq!(tally.waiting(), 2);
/// assert_eq!(
///     tally.to_string(),
///     "10 offered = 7 delivered + 1 dropped + 0 expired + 0 abandoned + 2 waiting",
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tally {
    /// Events that were routed to the subscription.
    pub offered: u64,
    /// Events whose handling ended, whatever its outcome: done, skipped, or given up as a dead letter.
    pub delivered: u64,
    /// Events that the [`Overflow`](crate::Overflow) policy lost.
    pub dropped: u64,
    /// Events whose time to live ended while they waited.
    pub expired: u64,
    /// Events that were left when the subscription or the bus stopped.
    pub abandoned: u64,
}

impl Tally {
    /// Events that were offered and are not settled: queued, held in a lane, running, or waiting for a retry.
    ///
    /// Zero rather than negative, should more be settled than offered; [`is_settled`](Self::is_settled)
    /// tells.
    pub const fn waiting(&self) -> u64 {
        self.offered.saturating_sub(self.settled())
    }

    /// Events that are finished, in whichever of the four ways.
    pub const fn settled(&self) -> u64 {
        self.delivered
            .saturating_add(self.dropped)
            .saturating_add(self.expired)
            .saturating_add(self.abandoned)
    }

    /// Whether every offered event is finished, exactly once. More settled than offered is a miscount, and
    /// not settled.
    pub const fn is_settled(&self) -> bool {
        self.offered == self.settled()
    }
}

/// Sums saturate: a counter at its end must not become a small one.
impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            offered: self.offered.saturating_add(other.offered),
            delivered: self.delivered.saturating_add(other.delivered),
            dropped: self.dropped.saturating_add(other.dropped),
            expired: self.expired.saturating_add(other.expired),
            abandoned: self.abandoned.saturating_add(other.abandoned),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), Add::add)
    }
}

impl<'a> Sum<&'a Self> for Tally {
    fn sum<I: Iterator<Item = &'a Self>>(tallies: I) -> Self {
        tallies.copied().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offered, delivered, dropped, expired, abandoned } = self;
        let waiting = self.waiting();
        write!(
            f,
            "{offered} offered = {delivered} delivered + {dropped} dropped + {expired} expired + \
             {abandoned} abandoned + {waiting} waiting"
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Tally;

    #[test]
    fn nothing_offered_is_settled() {
        assert!(Tally::default().is_settled());
    }

    #[test]
    fn a_tally_is_settled_when_the_last_event_is() {
        let mut tally = Tally { offered: 4, delivered: 1, dropped: 1, expired: 1, abandoned: 0 };
        assert_eq!((tally.settled(), tally.waiting(), tally.is_settled()), (3, 1, false));
        tally.abandoned = 1;
        assert_eq!((tally.settled(), tally.waiting(), tally.is_settled()), (4, 0, true));
    }

    #[test]
    fn a_miscount_neither_goes_negative_nor_passes_as_settled() {
        let tally = Tally { offered: 1, delivered: 2, ..Tally::default() };
        assert_eq!((tally.waiting(), tally.is_settled()), (0, false));
    }

    #[test]
    fn tallies_of_several_subscriptions_add_up() {
        let tallies = [
            Tally { offered: 3, delivered: 1, dropped: 2, expired: 0, abandoned: 0 },
            Tally { offered: 5, delivered: 1, dropped: 0, expired: 1, abandoned: 1 },
        ];
        let sum = Tally { offered: 8, delivered: 2, dropped: 2, expired: 1, abandoned: 1 };
        assert_eq!(tallies.iter().sum::<Tally>(), sum);
        assert_eq!(tallies.into_iter().sum::<Tally>(), sum);
        assert_eq!(sum.waiting(), 2);
        let mut total = Tally::default();
        for tally in tallies {
            total += tally;
        }
        assert_eq!(total, sum);
    }

    proptest! {
        #[test]
        fn the_books_balance_for_any_ending_of_any_event(ends in proptest::collection::vec(0..5, 0..200)) {
            let mut tally = Tally::default();
            let mut waiting = 0;
            for end in ends {
                tally.offered += 1;
                match end {
                    0 => tally.delivered += 1,
                    1 => tally.dropped += 1,
                    2 => tally.expired += 1,
                    3 => tally.abandoned += 1,
                    _ => waiting += 1,
                }
                prop_assert_eq!(tally.waiting(), waiting);
                prop_assert_eq!(tally.settled() + tally.waiting(), tally.offered);
                prop_assert_eq!(tally.is_settled(), waiting == 0);
            }
        }

        #[test]
        fn no_numbers_overflow(a: [u64; 5], b: [u64; 5]) {
            let of = |[offered, delivered, dropped, expired, abandoned]: [u64; 5]| {
                Tally { offered, delivered, dropped, expired, abandoned }
            };
            let sum = of(a) + of(b);
            prop_assert_eq!(sum.offered, a[0].saturating_add(b[0]));
            prop_assert!(sum.waiting() <= sum.offered);
        }
    }
}
