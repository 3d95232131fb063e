//! How much of a subscription's traffic may be retries, so that an outage does not double the load on whom it hits.
//!
//! In each ten seconds, counted by whole seconds, retries are at most the budget's part of the first attempts that ended in these ten
//! seconds, and its number a second on top, so that the last event of a subscription without traffic is attempted again too (the idea is
//! that of Finagle's `RetryBudget`). What is over it waits for the next second, and costs its event no attempt. One in ten seconds is
//! allowed in any case: the traffic that would allow more may itself wait behind what is over.

use std::fmt;
use std::time::{Duration, Instant};

use super::problem::RetryProblem;

/// Retries that a subscription may make, as a part of its traffic. There is none by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    percent: u32,
    per_second: u32,
}

impl RetryBudget {
    /// So many retries for each hundred first attempts of the last ten seconds, and one a second on top. At most 1,000.
    pub const fn percent(percent: u32) -> Self {
        Self { percent, per_second: 1 }
    }

    /// So many retries a second whatever the traffic. Default 1; 0 only where the percentage is not, and then it is one in ten seconds.
    pub const fn at_least(mut self, per_second: u32) -> Self {
        self.per_second = per_second;
        self
    }

    /// Everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<RetryProblem> {
        match *self {
            Self { percent: 0, per_second: 0 } => vec![RetryProblem::NoBudget],
            Self { percent, .. } if percent > PERCENT_MAX => vec![RetryProblem::BudgetTooLarge { percent }],
            _ => Vec::new(),
        }
    }
}

/// `20 % of the traffic, and 1 a second`.
impl fmt::Display for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} % of the traffic, and {} a second", self.percent, self.per_second)
    }
}

/// What a subscription has used of its [`RetryBudget`]. Time comes in as an argument; one that turns back is taken for the latest.
#[derive(Debug, Clone)]
pub struct RetryMeter {
    budget: RetryBudget,
    began: Option<Instant>,
    /// The second that each slot is of, first attempts and retries in it.
    slots: [(u64, u64, u64); SLOTS],
    latest: u64,
}

impl RetryMeter {
    /// Nothing is used yet.
    #[must_use]
    pub const fn new(budget: RetryBudget) -> Self {
        Self { budget, began: None, slots: [(0, 0, 0); SLOTS], latest: 0 }
    }

    /// A first attempt has ended.
    pub fn attempted(&mut self, now: Instant) {
        let slot = self.slot(now);
        slot.1 = slot.1.saturating_add(1);
    }

    /// Uses one retry of the budget.
    ///
    /// # Errors
    /// There is none left: when to ask again.
    pub fn try_retry(&mut self, now: Instant) -> Result<(), Instant> {
        self.slot(now);
        let oldest = self.latest.saturating_sub(SLOTS as u64 - 1);
        let within = self.slots.iter().filter(|(second, ..)| *second >= oldest);
        let (first, retries) =
            within.fold((0_u64, 0_u64), |(first, retries), slot| (first + slot.1, retries + slot.2));
        let floor = u64::from(self.budget.per_second) * SLOTS as u64;
        let allowed = (first.saturating_mul(u64::from(self.budget.percent)) / 100 + floor).max(1);
        if retries >= allowed {
            let next = Duration::from_secs(self.latest + 1);
            return Err(self.began.and_then(|began| began.checked_add(next)).unwrap_or(now));
        }
        self.slot(now).2 += 1;
        Ok(())
    }

    fn slot(&mut self, now: Instant) -> &mut (u64, u64, u64) {
        let began = *self.began.get_or_insert(now);
        self.latest = self.latest.max(now.saturating_duration_since(began).as_secs());
        let at = usize::try_from(self.latest % SLOTS as u64).unwrap_or(0);
        let Some(slot) = self.slots.get_mut(at) else {
            unreachable!("a remainder is smaller than its divisor")
        };
        if slot.0 != self.latest {
            *slot = (self.latest, 0, 0);
        }
        slot
    }
}

/// Seconds that count.
const SLOTS: usize = 10;
const PERCENT_MAX: u32 = 1_000;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any moment will do")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn second(start: Instant, second: u64) -> Instant {
        start + Duration::from_secs(second)
    }

    #[test]
    fn retries_are_a_part_of_the_traffic_and_a_few_more() {
        let start = Instant::now();
        let mut meter = RetryMeter::new(RetryBudget::percent(20).at_least(1));
        (0..100).for_each(|_| meter.attempted(start));
        let granted = (0..100).filter(|_| meter.try_retry(start).is_ok()).count();
        assert_eq!(granted, 20 + 10);
        assert_eq!(meter.try_retry(start), Err(second(start, 1)));
        assert_eq!(meter.try_retry(second(start, 9)), Err(second(start, 10)), "they count for ten seconds");
        assert!(meter.try_retry(second(start, 10)).is_ok());
    }

    #[test]
    fn without_traffic_the_floor_is_left() {
        let start = Instant::now();
        let mut meter = RetryMeter::new(RetryBudget::percent(50).at_least(2));
        let granted =
            (0..100).map(|at| (0..9).filter(|_| meter.try_retry(second(start, at)).is_ok()).count());
        assert_eq!(granted.sum::<usize>(), 2 * 100, "20 in each ten seconds");
    }

    #[test]
    fn without_a_floor_one_in_ten_seconds_is_left() {
        let start = Instant::now();
        let mut meter = RetryMeter::new(RetryBudget::percent(50).at_least(0));
        meter.attempted(start);
        let granted = (0..100).filter(|at| meter.try_retry(second(start, *at)).is_ok()).count();
        assert_eq!(granted, 10, "what would make traffic may wait for this");
    }

    #[test]
    fn what_allows_nothing_or_all_is_a_problem() {
        assert_eq!(RetryBudget::percent(0).at_least(0).problems(), [RetryProblem::NoBudget]);
        assert_eq!(RetryBudget::percent(1_001).problems(), [RetryProblem::BudgetTooLarge { percent: 1_001 }]);
        assert_eq!(RetryBudget::percent(0).problems(), []);
    }

    proptest! {
        #[test]
        fn no_ten_seconds_have_more_than_their_part(
            percent in 0_u32..300, per_second in 0_u32..3,
            steps in proptest::collection::vec((0_u64..4, 0_u64..30, 0_u64..30), 1..60),
        ) {
            let start = Instant::now();
            let mut meter = RetryMeter::new(RetryBudget { percent, per_second });
            let (mut at, mut seconds) = (0, Vec::new());
            for (pause, first, wanted) in steps {
                at += pause;
                (0..first).for_each(|_| meter.attempted(second(start, at)));
                let granted = (0..wanted).filter(|_| meter.try_retry(second(start, at)).is_ok()).count() as u64;
                seconds.push((at, first, granted));
                let within = seconds.iter().filter(|(second, ..)| second + 10 > at);
                let (first, all) = within.fold((0, 0), |sum, one| (sum.0 + one.1, sum.1 + one.2));
                if granted > 0 {
                    let part = first * u64::from(percent) / 100 + u64::from(per_second) * 10;
                    prop_assert!(all <= part.max(1));
                }
            }
        }
    }
}
