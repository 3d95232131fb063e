//! The attempts of an event that have failed: what is kept of them, and how it is passed on.
//!
//! An event that fails again and again is moved between a subscription and its store each time, with all that is known of it. So its history is shared and not
//! copied: whoever notes the next attempt is mostly the only one that has it by then, and writes behind what is there.

use std::ops::Deref;
use std::sync::Arc;

use busway_event::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it ended, wall clock.
    pub at: Timestamp,
    /// The error with its causes, at most [`ERROR_BYTES_MAX`] bytes.
    pub error: String,
}

/// The attempts of an event that have failed, oldest first: the last [`ATTEMPTS_KEPT`] of them, of each error at most [`ERROR_BYTES_MAX`] bytes. Read as a slice. A clone shares
/// them, and is as cheap as that of an [`Arc`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<Attempt>")]
pub struct Attempts(Option<Arc<Vec<Attempt>>>);

impl Attempts {
    /// None.
    pub const NONE: Self = Self(None);

    /// Notes one more. What is not kept is let go of: the oldest attempt when there are enough, and what is too long of the error.
    pub fn note(&mut self, at: Timestamp, error: String) {
        let kept = Arc::make_mut(self.0.get_or_insert_default());
        if kept.len() >= ATTEMPTS_KEPT {
            kept.remove(0);
        }
        kept.push(bounded(Attempt { at, error }));
    }

    /// Those of `later` behind these.
    #[must_use]
    pub(crate) fn followed_by(&self, later: &Self) -> Self {
        if self.is_empty() { later.clone() } else { [&**self, later].concat().into() }
    }
}

/// The last ones, as many as are kept.
impl From<Vec<Attempt>> for Attempts {
    fn from(mut all: Vec<Attempt>) -> Self {
        all.drain(..all.len().saturating_sub(ATTEMPTS_KEPT));
        if all.is_empty() {
            return Self::NONE;
        }
        Self(Some(Arc::new(all.into_iter().map(bounded).collect())))
    }
}

impl FromIterator<Attempt> for Attempts {
    fn from_iter<I: IntoIterator<Item = Attempt>>(attempts: I) -> Self {
        attempts.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for Attempts {
    type Target = [Attempt];

    fn deref(&self) -> &[Attempt] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl<'a> IntoIterator for &'a Attempts {
    type Item = &'a Attempt;
    type IntoIter = std::slice::Iter<'a, Attempt>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Serialize for Attempts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

fn bounded(Attempt { at, mut error }: Attempt) -> Attempt {
    if error.len() > ERROR_BYTES_MAX {
        error.truncate(boundary(&error, ERROR_BYTES_MAX));
        // It may be kept for long, and what was cut off must not be.
        error.shrink_to_fit();
    }
    Attempt { at, error }
}

/// The end of as much of a text as so many bytes hold, in whole characters.
pub(crate) fn boundary(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default()
}

/// Attempts that are remembered of an event.
pub const ATTEMPTS_KEPT: usize = 16;
/// Bytes that are kept of an error.
pub const ERROR_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(second: i64) -> Attempt {
        Attempt { at: Timestamp::from_nanos(second), error: format!("error {second}") }
    }

    #[test]
    fn the_last_ones_are_kept_and_of_their_errors_the_beginning() {
        let mut noted = Attempts::NONE;
        for second in 0..20 {
            let Attempt { at, error } = attempt(second);
            noted.note(at, error);
        }
        let given: Attempts = (0..20).map(attempt).collect();
        assert_eq!((noted.len(), noted.first()), (ATTEMPTS_KEPT, Some(&attempt(4))));
        assert_eq!(noted, given);
        noted.note(Timestamp::from_nanos(20), "\u{fc}".repeat(ERROR_BYTES_MAX) + "x");
        noted.note(Timestamp::from_nanos(21), format!("x{}", "\u{fc}".repeat(ERROR_BYTES_MAX)));
        let lengths = [&noted[14], &noted[15]].map(|attempt| attempt.error.len());
        assert_eq!(lengths, [ERROR_BYTES_MAX, ERROR_BYTES_MAX - 1], "whole characters");
    }

    #[test]
    fn a_clone_shares_them_and_stays_as_it_was() {
        let mut noted: Attempts = [attempt(1)].into_iter().collect();
        let before = noted.clone();
        assert_eq!(noted.as_ptr(), before.as_ptr());
        noted.note(Timestamp::from_nanos(2), "error 2".to_owned());
        assert_eq!((&*before, &*noted), (&[attempt(1)][..], &[attempt(1), attempt(2)][..]));
        assert_eq!(before.followed_by(&Attempts::NONE), before);
        assert_eq!(&*noted.followed_by(&before), [attempt(1), attempt(2), attempt(1)]);
        assert_eq!(Attempts::from(Vec::new()), Attempts::NONE);
    }

    #[test]
    fn they_are_written_as_a_list() {
        let (all, list) =
            ((0..3).map(attempt).collect::<Attempts>(), (0..3).map(attempt).collect::<Vec<_>>());
        let written = serde_json::to_string(&all).unwrap();
        assert_eq!(written, serde_json::to_string(&list).unwrap());
        assert_eq!(serde_json::from_str::<Attempts>(&written).unwrap(), all);
    }
}
