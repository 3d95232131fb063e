//! How letters are given again: how fast, and when that stops by itself.

use std::num::NonZeroU32;
use std::time::Duration;

use busway_reliability::{RedrivePace, SameErrors};

/// How letters are given again. Default: 100 a second, and no further ones when the same error has come back 10 times in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redrive {
    pace: RedrivePace,
    same_errors: Option<NonZeroU32>,
}

impl Default for Redrive {
    fn default() -> Self {
        Self { pace: RedrivePace::default(), same_errors: NonZeroU32::new(SAME_ERRORS) }
    }
}

impl Redrive {
    /// As many letters a second. Default 100, at least 1.
    pub fn per_second(mut self, letters: u32) -> Self {
        self.pace = RedrivePace::PerSecond(NonZeroU32::new(letters).unwrap_or(NonZeroU32::MIN));
        self
    }

    /// As fast as the store takes them. The stop rule acts no faster than handlers fail.
    pub const fn unlimited(mut self) -> Self {
        self.pace = RedrivePace::Unlimited;
        self
    }

    /// Stops when attempts of these letters have failed so often in a row with the same error, none done in between; errors that differ in words with
    /// digits only are the same. What is on its way then goes on. Default 10, at least 1. The operation says why it stopped; the rest is for
    /// another request.
    pub fn stop_after(mut self, same_errors: u32) -> Self {
        self.same_errors = Some(NonZeroU32::new(same_errors).unwrap_or(NonZeroU32::MIN));
        self
    }

    /// Does not stop by itself.
    pub const fn never_stop(mut self) -> Self {
        self.same_errors = None;
        self
    }

    /// How many letters are moved in one commit, and how long to wait behind it.
    pub(super) fn step(self) -> (usize, Duration) {
        self.pace.step()
    }

    pub(super) const fn same_errors(self) -> SameErrors {
        SameErrors::new(self.same_errors)
    }
}

const SAME_ERRORS: u32 = 10;
