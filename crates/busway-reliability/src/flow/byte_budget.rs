//! The bound in bytes: a shared counter that small events never touch.

use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;

/// How many bytes of events may wait, shared by those who put them in and those who take them out.
///
/// An event lighter than [`WEIGHT_FLOOR_BYTES`] weighs nothing here: it neither reads nor writes the shared
/// counter, which keeps a cache line from travelling between cores for every small event. Such events are
/// bounded by number instead, so that a queue of `capacity` events holds at most **`capacity` × 1 KiB + the
/// budget** bytes of events (64 KiB + the budget at the default capacity of 64).
///
/// The budget is exact for all others: the sum of what is reserved and not released never exceeds the limit,
/// however many threads reserve at once. The counter guards no other memory, so that its accesses need no
/// ordering: events travel through queues, which bring their own.
///
/// ```
/// use busway_reliability::ByteBudget;
///
/// let budget = ByteBudget::new(10_000);
/// budget.try_reserve(6_000)?;
/// let refused = budget.try_reserve(5_000).unwrap_err();
/// assert_eq!((refused.weight, refused.used, refused.limit), (5_000, 6_000, 10_000));
/// assert!(budget.try_reserve(200).is_ok(), "small events weigh nothing");
/// budget.release(6_000);
/// budget.try_reserve(5_000)?;
/// # Ok::<(), busway_reliability::OverBudget>(())
/// ```
#[derive(Debug)]
pub struct ByteBudget {
    limit: usize,
    used: AtomicUsize,
}

impl ByteBudget {
    /// A budget of `limit_bytes`, all of it free. At 0, only events lighter than [`WEIGHT_FLOOR_BYTES`] pass.
    pub const fn new(limit_bytes: usize) -> Self {
        Self { limit: limit_bytes, used: AtomicUsize::new(0) }
    }

    /// Reserves `weight` bytes for one event: all of them or none. Whoever takes the event out
    /// [`release`](Self::release)s the same weight.
    ///
    /// Several events at once: reserve the sum of what each of them [counts](Self::counted).
    ///
    /// # Errors
    ///
    /// [`OverBudget`] if `weight` does not fit beside what is reserved; nothing is reserved then.
    #[inline]
    pub fn try_reserve(&self, weight: usize) -> Result<(), OverBudget> {
        if Self::counted(weight) == 0 {
            return Ok(());
        }
        let fits = |used: usize| used.checked_add(weight).filter(|sum| *sum <= self.limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(used) => Err(OverBudget { weight, used, limit: self.limit }),
        }
    }

    /// Gives `weight` bytes back. Never below zero: giving back what was not reserved must not wrap round to
    /// a budget that is used up for ever.
    #[inline]
    pub fn release(&self, weight: usize) {
        if Self::counted(weight) == 0 {
            return;
        }
        let less = |used: usize| Some(used.saturating_sub(weight));
        // The closure never declines, so neither does the update.
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// What an event of `weight` bytes takes from a budget: all of it, or nothing below
    /// [`WEIGHT_FLOOR_BYTES`].
    #[inline]
    pub const fn counted(weight: usize) -> usize {
        if weight < WEIGHT_FLOOR_BYTES { 0 } else { weight }
    }

    /// How many bytes are reserved now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How many bytes may be reserved in all.
    pub const fn limit(&self) -> usize {
        self.limit
    }
}

/// An event did not fit into a [`ByteBudget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[error("{weight} bytes do not fit into a budget of {limit} bytes with {used} in use")]
pub struct OverBudget {
    /// What the event weighs, in bytes.
    pub weight: usize,
    /// What was reserved when it was refused, in bytes.
    pub used: usize,
    /// The whole budget, in bytes.
    pub limit: usize,
}

impl OverBudget {
    /// Whether the event would fit once enough was released. If not, it is heavier than the whole budget:
    /// neither waiting nor dropping others would ever make room for it, so that no policy may try.
    pub const fn is_transient(&self) -> bool {
        self.weight <= self.limit
    }
}

/// Events lighter than this weigh nothing in a [`ByteBudget`].
///
/// Most events are lighter, and would pay for a bound that their number already gives.
pub const WEIGHT_FLOOR_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{ByteBudget, OverBudget, WEIGHT_FLOOR_BYTES};

    #[test]
    fn what_is_released_can_be_reserved_again() {
        let budget = ByteBudget::new(4_096);
        assert_eq!(budget.try_reserve(4_096), Ok(()));
        assert_eq!(budget.try_reserve(1_024), Err(OverBudget { weight: 1_024, used: 4_096, limit: 4_096 }));
        budget.release(4_096);
        assert_eq!(budget.try_reserve(1_024), Ok(()));
        assert_eq!(budget.used(), 1_024);
    }

    #[test]
    fn small_events_pass_a_budget_that_is_used_up_and_are_not_counted() {
        let budget = ByteBudget::new(0);
        for _ in 0..1_000 {
            assert_eq!(budget.try_reserve(WEIGHT_FLOOR_BYTES - 1), Ok(()));
        }
        assert_eq!(budget.used(), 0);
        assert!(budget.try_reserve(WEIGHT_FLOOR_BYTES).is_err());
    }

    #[test]
    fn an_event_heavier_than_the_whole_budget_is_told_apart_from_one_that_has_to_wait() {
        let budget = ByteBudget::new(4_096);
        assert_eq!(budget.try_reserve(3_000), Ok(()));
        assert!(budget.try_reserve(4_096).unwrap_err().is_transient());
        assert!(!budget.try_reserve(4_097).unwrap_err().is_transient());
    }

    #[test]
    fn releasing_too_much_leaves_an_empty_budget_and_not_a_full_one() {
        let budget = ByteBudget::new(4_096);
        budget.release(2_048);
        budget.release(usize::MAX);
        assert_eq!(budget.used(), 0);
        assert_eq!(budget.try_reserve(4_096), Ok(()));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let budget = ByteBudget::new(usize::MAX);
        assert_eq!(budget.try_reserve(usize::MAX - 1), Ok(()));
        assert!(budget.try_reserve(usize::MAX).is_err());
        assert_eq!(budget.used(), usize::MAX - 1);
    }

    #[test]
    fn the_refusal_says_the_numbers() {
        let refused = OverBudget { weight: 5_000, used: 6_000, limit: 10_000 };
        assert_eq!(
            refused.to_string(),
            "5000 bytes do not fit into a budget of 10000 bytes with 6000 in use"
        );
    }

    #[test]
    fn threads_that_reserve_at_once_never_exceed_the_budget_together() {
        let budget = ByteBudget::new(5 * 2_000);
        thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..20_000 {
                        if budget.try_reserve(2_000).is_ok() {
                            assert!(budget.used() <= budget.limit());
                            budget.release(2_000);
                        }
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }

    proptest! {
        #[test]
        fn the_bytes_that_wait_stay_below_a_kibibyte_an_event_plus_the_budget(
            capacity in 1_usize..20,
            limit in 0_usize..20_000,
            weights in vec(0_usize..4_000, 0..100),
        ) {
            let budget = ByteBudget::new(limit);
            let mut queue = std::collections::VecDeque::new();
            for weight in weights {
                if queue.len() < capacity && budget.try_reserve(weight).is_ok() {
                    queue.push_back(weight);
                } else if let Some(oldest) = queue.pop_front() {
                    budget.release(oldest);
                }
                prop_assert!(budget.used() <= limit);
                prop_assert!(queue.iter().sum::<usize>() <= capacity * WEIGHT_FLOOR_BYTES + limit);
            }
            queue.drain(..).for_each(|weight| budget.release(weight));
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
