//! What is to become of an event, by what its handler said.

use busway_event::Timestamp;
use busway_middleware::Outcome;
use busway_persistence::ERROR_BYTES_MAX;
use busway_reliability::{FailureClass, Retry};

use super::window::Verdict;

/// Decides behind the attempt of this number, from 1. What the subscription says of an error counts where that says nothing itself. `random` is
/// drawn anew for each. The error is its text, as it may be shown, where there is one.
pub(super) fn verdict(
    (outcome, class, error): (&Outcome, FailureClass, String),
    attempt: u32,
    retry: &Retry,
    random: u64,
    utc: Timestamp,
    handler: &str,
) -> Verdict {
    let handler = || handler.to_owned();
    let at = match (outcome, class) {
        (Outcome::Done | Outcome::Skip, _) => return Verdict::Settled,
        (Outcome::Dead(_), _) | (Outcome::Failed(_), FailureClass::Permanent) => {
            let reason = shortened(error);
            return Verdict::Dead { error: Some(reason.clone()), reason, handler: handler() };
        }
        (Outcome::RetryAt(time), _) => Some(*time),
        (Outcome::Failed(_), FailureClass::RetryAt(time)) => Some(time),
        _ => None,
    };
    let error = shortened(error);
    // Asking for a later time is an attempt like any other: an event must come to an end.
    match retry.after(attempt, random) {
        None => {
            let reason = shortened(format!("given up after {attempt} attempts: {error}"));
            Verdict::Dead { error: Some(error), reason, handler: handler() }
        }
        Some(delay) => Verdict::Park { error, delay: at.map_or(delay, |time| time.saturating_since(utc)) },
    }
}

/// As much of a text as the store keeps.
pub(super) fn shortened(text: String) -> String {
    shortened_to(text, ERROR_BYTES_MAX)
}

/// As much of a text as so many bytes hold, in whole characters.
pub(crate) fn shortened_to(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        // It may be kept for long, and what was cut off must not be.
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::time::Duration;

    use super::*;
    use crate::shown::Shown;

    const NOW: Timestamp = Timestamp::from_nanos(1_000_000_000);

    fn decide(outcome: &Outcome, attempt: u32) -> Verdict {
        let retry = Retry::default().attempts(3);
        let error = Shown::default().error_text(outcome);
        verdict((outcome, FailureClass::Transient, error), attempt, &retry, u64::MAX, NOW, "reserve")
    }

    #[test]
    fn each_outcome_has_its_verdict() {
        assert!(matches!(decide(&Outcome::Done, 1), Verdict::Settled));
        assert!(matches!(decide(&Outcome::Skip, 3), Verdict::Settled));
        let Verdict::Park { error, delay } = decide(&Outcome::failed("no connection"), 2) else { panic!() };
        assert_eq!((error.as_str(), delay), ("no connection", Duration::from_millis(400)));
        let Verdict::Dead { error, reason, handler } = decide(&Outcome::failed("no connection"), 3) else {
            panic!()
        };
        assert_eq!(error.as_deref(), Some("no connection"));
        assert_eq!(
            (reason.as_str(), handler.as_str()),
            ("given up after 3 attempts: no connection", "reserve")
        );
        let Verdict::Dead { reason, .. } = decide(&Outcome::dead("no such order"), 1) else { panic!() };
        assert_eq!(reason, "no such order");
    }

    #[test]
    fn a_handler_that_asks_for_a_later_time_gets_it_until_its_attempts_are_used_up() {
        let later = Outcome::RetryAt(Timestamp::from_nanos(6_000_000_000));
        let Verdict::Park { delay, .. } = decide(&later, 1) else { panic!() };
        assert_eq!(delay, Duration::from_secs(5));
        let Verdict::Park { delay, .. } = decide(&Outcome::RetryAt(Timestamp::from_nanos(5)), 1) else {
            panic!()
        };
        assert_eq!(delay, Duration::ZERO);
        assert!(matches!(decide(&later, 3), Verdict::Dead { .. }));
    }

    #[test]
    fn an_error_is_what_its_subscription_says_of_it() {
        let decide = |class, attempt| {
            let (failed, retry) = (Outcome::failed("no such order"), Retry::default().attempts(3));
            verdict((&failed, class, "no such order".to_owned()), attempt, &retry, 0, NOW, "reserve")
        };
        assert!(matches!(decide(FailureClass::Transient, 1), Verdict::Park { .. }));
        let Verdict::Dead { reason, .. } = decide(FailureClass::Permanent, 1) else { panic!() };
        assert_eq!(reason, "no such order");
        let later = FailureClass::RetryAt(Timestamp::from_nanos(3_000_000_000));
        let Verdict::Park { delay, .. } = decide(later, 1) else { panic!() };
        assert_eq!(delay, Duration::from_secs(2));
        assert!(matches!(decide(later, 3), Verdict::Dead { .. }), "an attempt like any other");
        let done = (&Outcome::Done, FailureClass::Permanent, String::new());
        let done = verdict(done, 1, &Retry::default(), 0, NOW, "");
        assert!(matches!(done, Verdict::Settled));
    }

    #[test]
    fn an_error_that_panics_or_never_ends_is_a_text_all_the_same() {
        #[derive(Debug)]
        struct Panics;
        impl fmt::Display for Panics {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("no text")
            }
        }
        impl std::error::Error for Panics {}
        let Verdict::Park { error, .. } = decide(&Outcome::failed(Panics), 1) else { panic!() };
        assert_eq!(error, "its error panicked when it was asked for its text");
        let Verdict::Park { error, .. } = decide(&Outcome::failed("ä".repeat(9_000)), 1) else { panic!() };
        assert_eq!(error.len(), ERROR_BYTES_MAX);
    }
}
