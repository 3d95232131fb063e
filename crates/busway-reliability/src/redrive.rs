//! Redriving dead letters: how fast, and when to stop by itself.

use std::num::NonZeroU32;
use std::time::Duration;

/// How fast dead letters are given to their subscription again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedrivePace {
    /// So many a second.
    PerSecond(NonZeroU32),
    /// As fast as the store takes them. The stop rule acts no faster than handlers fail.
    Unlimited,
}

impl RedrivePace {
    /// How many are moved in one commit, and how long to wait behind it.
    #[must_use]
    pub fn step(self) -> (usize, Duration) {
        match self {
            Self::Unlimited => (MOVED_MAX, Duration::ZERO),
            Self::PerSecond(rate) => {
                // Ten steps a second where the rate allows for it.
                let step = (rate.get() / 10).clamp(1, STEP_MAX);
                let nanos = u64::from(step) * 1_000_000_000 / u64::from(rate.get());
                (usize::try_from(step).unwrap_or(MOVED_MAX), Duration::from_nanos(nanos))
            }
        }
    }
}

/// 100 a second.
impl Default for RedrivePace {
    fn default() -> Self {
        const { Self::PerSecond(NonZeroU32::new(100).unwrap()) }
    }
}

/// Whether the same error keeps coming back. Errors are the same when they differ in nothing but words with digits: ids, times, counts.
#[derive(Debug, Clone)]
pub struct SameErrors {
    limit: Option<NonZeroU32>,
    last: Option<String>,
    count: u32,
}

impl SameErrors {
    /// Stops at so many in a row; `None` never.
    #[must_use]
    pub const fn new(limit: Option<NonZeroU32>) -> Self {
        Self { limit, last: None, count: 0 }
    }

    /// An attempt has failed; says whether to stop.
    pub fn failed(&mut self, error: &str) -> bool {
        let error = without_numbers(error);
        if self.last.as_ref() == Some(&error) {
            self.count = self.count.saturating_add(1);
        } else {
            (self.last, self.count) = (Some(error), 1);
        }
        self.limit.is_some_and(|limit| self.count >= limit.get())
    }

    /// An attempt was done: whatever it was, it passes.
    pub fn done(&mut self) {
        (self.last, self.count) = (None, 0);
    }
}

fn without_numbers(error: &str) -> String {
    let words = error.split_inclusive(|character: char| !character.is_alphanumeric());
    let word = |word: &str| {
        let bare = word.trim_end_matches(|character: char| !character.is_alphanumeric());
        let rest = word.get(bare.len()..).unwrap_or_default();
        match bare.contains(|character: char| character.is_ascii_digit()) {
            true => format!("#{rest}"),
            false => word.to_owned(),
        }
    };
    words.map(word).collect()
}

/// As many letters as one commit moves.
const MOVED_MAX: usize = 4_096;
const STEP_MAX: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_error_in_a_row_stops_and_success_or_another_error_begins_anew() {
        let mut errors = SameErrors::new(NonZeroU32::new(3));
        assert!(!errors.failed("no connection to 10.0.0.1"));
        assert!(!errors.failed("no connection to 10.0.0.2"));
        errors.done();
        assert!(!errors.failed("no connection to 10.0.0.1"));
        assert!(!errors.failed("no such order: A-1"));
        assert!(!errors.failed("no such order: A-2"));
        assert!(errors.failed("no such order: A-17"));
        let mut never = SameErrors::new(None);
        assert!((0..1_000).all(|_| !never.failed("the same")));
    }

    #[test]
    fn steps_keep_the_rate() {
        let per_second = |rate| RedrivePace::PerSecond(NonZeroU32::new(rate).unwrap()).step();
        assert_eq!(per_second(1), (1, Duration::from_secs(1)));
        assert_eq!(per_second(100), (10, Duration::from_millis(100)));
        assert_eq!(per_second(100_000), (1_000, Duration::from_millis(10)));
        assert_eq!(RedrivePace::Unlimited.step(), (4_096, Duration::ZERO));
    }
}
