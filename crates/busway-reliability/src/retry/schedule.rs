//! How far apart attempts are.

use std::fmt;
use std::panic::catch_unwind;
use std::time::Duration;

/// See [`Retry`](super::Retry). Delays are counted from 1: the first one lies behind the first attempt.
#[derive(Clone, Copy)]
pub(super) enum Schedule {
    /// Doubles from the first to the longest, and is drawn from the whole.
    Exponential { first: Duration, longest: Duration },
    /// The same each time, to the nanosecond.
    Constant(Duration),
    /// One after the other; the last one again and again.
    Listed(Delays),
    /// As the program says.
    Custom(fn(u32) -> Duration),
}

/// A list that is copied like a number: as many as there are attempts by default.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Delays {
    nanos: [u64; DELAYS_MAX],
    /// As many as were asked for, also when there is no room for all.
    pub(super) asked: usize,
}

impl Delays {
    pub(super) fn of(delays: &[Duration]) -> Self {
        let mut nanos = [0; DELAYS_MAX];
        for (place, delay) in nanos.iter_mut().zip(delays) {
            *place = nanos_of(*delay);
        }
        Self { nanos, asked: delays.len() }
    }

    fn listed(&self) -> impl Iterator<Item = Duration> {
        self.nanos.iter().take(self.asked).map(|nanos| Duration::from_nanos(*nanos))
    }

    fn at(&self, failed: u32) -> Duration {
        let at = usize::try_from(failed.saturating_sub(1)).unwrap_or(usize::MAX);
        self.listed().nth(at).or_else(|| self.listed().last()).unwrap_or_default()
    }
}

impl Schedule {
    /// The longest that the delay behind so many failed attempts can be.
    pub(super) fn longest(&self, failed: u32) -> Duration {
        match self {
            Self::Exponential { first, longest } => {
                let doublings = failed.saturating_sub(1).min(DOUBLINGS_MAX);
                first.saturating_mul(1 << doublings).min(*longest)
            }
            Self::Constant(delay) => *delay,
            Self::Listed(delays) => delays.at(failed),
            // The program's own code: an event must come to an end though it panics.
            Self::Custom(delay) => catch_unwind(|| delay(failed)).unwrap_or(AFTER_A_PANIC),
        }
    }

    /// The delay behind so many failed attempts.
    pub(super) fn delay(&self, failed: u32, random: u64) -> Duration {
        let longest = self.longest(failed);
        if !matches!(self, Self::Exponential { .. }) {
            return longest;
        }
        let nanos = longest.as_nanos().min(u128::from(u64::MAX));
        // A part of `random` in 2⁶⁴, rounded up: all of it is the whole delay.
        let drawn = (nanos * u128::from(random)).div_ceil(u128::from(u64::MAX));
        Duration::from_nanos(u64::try_from(drawn).unwrap_or(u64::MAX))
    }
}

fn nanos_of(delay: Duration) -> u64 {
    u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Exponential { first, longest },
                Self::Exponential { first: other_first, longest: other_longest },
            ) => (first, longest) == (other_first, other_longest),
            (Self::Constant(delay), Self::Constant(other)) => delay == other,
            (Self::Listed(delays), Self::Listed(other)) => delays == other,
            // Two functions are the same when they are one.
            (Self::Custom(delay), Self::Custom(other)) => std::ptr::fn_addr_eq(*delay, *other),
            _ => false,
        }
    }
}

impl Eq for Schedule {}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exponential { first, longest } => write!(f, "{first:?} doubled up to {longest:?}"),
            Self::Constant(delay) => write!(f, "each {delay:?}"),
            Self::Listed(delays) => f.debug_list().entries(delays.listed()).finish(),
            Self::Custom(_) => f.write_str("a function"),
        }
    }
}

/// As long as the longest delay by default.
const AFTER_A_PANIC: Duration = Duration::from_secs(60);
/// What a `u32` holds.
const DOUBLINGS_MAX: u32 = 31;
/// Delays that a list may have.
pub(super) const DELAYS_MAX: usize = 16;
