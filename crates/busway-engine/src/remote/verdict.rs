//! What the broker is told: from how an event ended to a verdict.

use busway_event::Timestamp;
use busway_middleware::Outcome;
use busway_reliability::Retry;

use super::caution::UNSUSPICIOUS_MAX;
use crate::transport::{Letter, Verdict};

/// What a subscription does with what it could not handle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// For handlers whose events are not attempted again in their place: each attempt is a delivery of its own then.
    pub(super) again: Option<Retry>,
    /// Whether what is given up is kept.
    pub(super) keeps_letters: bool,
}

/// How an event ended.
#[derive(Debug)]
pub(super) struct End<'a> {
    pub(super) outcome: &'a Outcome,
    /// What its failure is called, redacted.
    pub(super) error: String,
    /// The how-manieth delivery of it this was.
    pub(super) delivery: u32,
    /// Attempts that were made of this delivery.
    pub(super) attempts: u32,
    /// Whether the subscription is being stopped: a failure may be that of the end.
    pub(super) is_stopping: bool,
    pub(super) now: Timestamp,
}

impl Policy {
    /// What the broker is told. `random` spreads delays.
    pub(super) fn verdict(&self, end: &End<'_>, subscription: &str, random: u64) -> Verdict {
        match end.outcome {
            Outcome::Done | Outcome::Skip => Verdict::Done,
            Outcome::Dead(_) => self.given_up(end, subscription),
            // Cut short by the end of the process: the attempt is not charged.
            _ if end.is_stopping => Verdict::Back,
            outcome => match (self.again.and_then(|retry| retry.after(end.delivery, random)), outcome) {
                (Some(_), Outcome::RetryAt(time)) => Verdict::Again(time.saturating_since(end.now)),
                (Some(delay), _) => Verdict::Again(delay),
                (None, _) => self.given_up(end, subscription),
            },
        }
    }

    fn given_up(&self, end: &End<'_>, subscription: &str) -> Verdict {
        let attempts = end.attempts.max(end.delivery);
        self.kept(Letter::new(&*end.error).attempts(attempts).handler(subscription))
    }

    /// Whether it was delivered oftener than one is that kills nobody.
    pub(super) fn is_suspicious(&self, delivery: u32) -> bool {
        let is_asked_for = self.again.is_some_and(|retry| !retry.is_exhausted(delivery - 1));
        delivery > UNSUSPICIOUS_MAX && !is_asked_for
    }

    /// What is given up is kept, or lost where that was written out.
    pub(super) fn kept(&self, letter: Letter) -> Verdict {
        match self.keeps_letters {
            true => Verdict::Dead(letter),
            false => Verdict::Done,
        }
    }
}

/// Of an event that was delivered too often: whoever had it before did not come to an end with it.
pub(super) fn delivered_too_often(deliveries: u32, max: u32, subscription: &str) -> Letter {
    let reason = format!(
        "delivered {deliveries} times and never settled, {max} deliveries are the most: its handler kills its process, or takes so long that it is delivered again"
    );
    Letter::new(reason).attempts(deliveries).handler(subscription)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn end(outcome: &Outcome) -> End<'_> {
        let now = Timestamp::from_nanos(0);
        End { outcome, error: "no stock".to_owned(), delivery: 2, attempts: 3, is_stopping: false, now }
    }

    const KEEPING: Policy = Policy { again: None, keeps_letters: true };

    #[test]
    fn what_is_done_or_skipped_is_settled() {
        for outcome in [Outcome::Done, Outcome::Skip] {
            assert_eq!(KEEPING.verdict(&end(&outcome), "stock", 0), Verdict::Done);
        }
    }

    #[test]
    fn a_failure_behind_the_last_attempt_is_a_letter_with_its_reason() {
        let verdict = KEEPING.verdict(&end(&Outcome::failed("no stock")), "stock", 0);
        assert_eq!(verdict, Verdict::Dead(Letter::new("no stock").attempts(3).handler("stock")));
        let discarding = Policy { keeps_letters: false, ..KEEPING };
        assert_eq!(discarding.verdict(&end(&Outcome::failed("no stock")), "stock", 0), Verdict::Done);
    }

    #[test]
    fn a_failure_of_the_end_goes_back_and_a_permanent_one_does_not() {
        let stopping = |outcome| End { is_stopping: true, ..end(outcome) };
        let (failed, dead) = (Outcome::failed("cut"), Outcome::dead("never"));
        assert_eq!(KEEPING.verdict(&stopping(&failed), "stock", 0), Verdict::Back);
        let dead = KEEPING.verdict(&stopping(&dead), "stock", 0);
        assert!(matches!(dead, Verdict::Dead(_)), "{dead:?}");
    }

    #[test]
    fn where_attempts_are_deliveries_the_broker_is_asked_for_another_one() {
        let policy = Policy { again: Some(Retry::default().attempts(3)), ..KEEPING };
        let again = policy.verdict(&end(&Outcome::failed("no stock")), "stock", u64::MAX);
        assert!(matches!(again, Verdict::Again(delay) if delay > Duration::ZERO), "{again:?}");
        let later = Outcome::RetryAt(Timestamp::from_nanos(7_000_000_000));
        assert_eq!(policy.verdict(&end(&later), "stock", 0), Verdict::Again(Duration::from_secs(7)));
        for outcome in [Outcome::failed("no stock"), later] {
            let verdict = policy.verdict(&End { delivery: 3, ..end(&outcome) }, "stock", 0);
            assert!(matches!(verdict, Verdict::Dead(_)), "{verdict:?}");
        }
    }

    #[test]
    fn where_attempts_are_made_in_their_place_the_last_one_is_the_last_whatever_it_asks_for() {
        let later = Outcome::RetryAt(Timestamp::from_nanos(7_000_000_000));
        let verdict = KEEPING.verdict(&end(&later), "stock", 0);
        assert!(matches!(verdict, Verdict::Dead(_)), "{verdict:?}");
    }
}
