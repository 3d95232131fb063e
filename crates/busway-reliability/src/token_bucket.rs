//! A token bucket: so many events in a period, with a burst, and exact.
//!
//! Tokens are counted in **credits**, so that no division ever rounds: at *n* events per *p* nanoseconds,
//! each nanosecond earns *n* credits and each event costs *p*. Three events a second are three a second, for
//! ever. With periods of at most [`MAX_PERIOD`], credits stay below 2^87 and their products below 2^128:
//! nothing overflows.

mod keyed;

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use thiserror::Error;

pub use self::keyed::KeyedBuckets;
use crate::deadline::after;

/// So many events in so much time. Never zero events, never in no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    events: NonZeroU32,
    per: Duration,
}

impl Rate {
    /// `n` events a second.
    pub const fn per_second(n: NonZeroU32) -> Self {
        Self { events: n, per: Duration::from_secs(1) }
    }

    /// `n` events in each `per`.
    ///
    /// `n` is at least 1; `per` is from 1 nanosecond to [`MAX_PERIOD`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use busway_reliability::{Rate, RateError};
    ///
    /// let rate = Rate::new(100, Duration::from_secs(60))?;
    /// assert_eq!((rate.events().get(), rate.per()), (100, Duration::from_secs(60)));
    /// assert_eq!(Rate::new(0, Duration::from_secs(60)), Err(RateError::NoEvents));
    /// # Ok::<(), RateError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RateError`] names the number that is out of bounds.
    pub fn new(n: u32, per: Duration) -> Result<Self, RateError> {
        let events = NonZeroU32::new(n).ok_or(RateError::NoEvents)?;
        if per.is_zero() {
            return Err(RateError::NoPeriod);
        }
        if per > MAX_PERIOD {
            return Err(RateError::PeriodTooLong { per, limit: MAX_PERIOD });
        }
        Ok(Self { events, per })
    }

    /// How many events pass in each period.
    pub const fn events(&self) -> NonZeroU32 {
        self.events
    }

    /// The period.
    pub const fn per(&self) -> Duration {
        self.per
    }

    /// What one event costs, in credits: the period in nanoseconds, below 2^55.
    const fn cost(&self) -> u128 {
        self.per.as_nanos()
    }

    /// What one nanosecond earns, in credits.
    fn earned_per_nano(&self) -> u128 {
        u128::from(self.events.get())
    }
}

/// A [`Rate`] that cannot be.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum RateError {
    /// A rate of no events lets nothing pass, ever.
    #[error("a rate of 0 events lets nothing pass")]
    NoEvents,
    /// A rate in no time is no limit.
    #[error("a period of 0 s is no rate")]
    NoPeriod,
    /// The period is longer than the arithmetic allows for.
    #[error("a period of {per:?} is longer than {limit:?}")]
    PeriodTooLong {
        /// The period asked for.
        per: Duration,
        /// The longest one.
        limit: Duration,
    },
}

/// Lets events pass at a rate, and as many as `burst` at once after a quiet time.
///
/// The algorithm is the *continuous-state leaky bucket* of ITU-T I.371 (there: the Generic Cell Rate
/// Algorithm), turned over so that it counts what may be taken rather than what was poured in.
///
/// Guarantees, as long as `rate` and `burst` stay as they are:
///
/// - over any window of length *w*, at most *burst + rate × w* tokens are given;
/// - whoever is told to wait until a moment, and is alone, gets its tokens at that moment;
/// - a clock that stands still or reads earlier than before gives nothing away: time counts once.
///
/// ```
/// use std::num::NonZeroU32;
/// use std::time::{Duration, Instant};
/// use busway_reliability::{Rate, TakeError, TokenBucket};
///
/// # let now = Instant::now();
/// let two = NonZeroU32::MIN.saturating_add(1);
/// let mut bucket = TokenBucket::new(Rate::per_second(two), two, now);
/// bucket.try_take(2, now)?;
///
/// let half_a_second = Duration::from_millis(500);
/// let refused = bucket.try_take(1, now).unwrap_err();
/// assert_eq!(refused, TakeError::Wait { until: now + half_a_second, wait: half_a_second });
/// bucket.try_take(1, now + half_a_second)?;
/// # Ok::<(), TakeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TokenBucket {
    rate: Rate,
    burst: NonZeroU32,
    /// What has been earned and not spent, at most `burst` events' worth.
    credits: u128,
    /// Up to when time has been turned into credits. Never moves back.
    counted_to: Instant,
}

impl TokenBucket {
    /// A full bucket: `burst` events may pass at once.
    pub fn new(rate: Rate, burst: NonZeroU32, now: Instant) -> Self {
        Self { rate, burst, credits: u128::from(burst.get()) * rate.cost(), counted_to: now }
    }

    /// Takes `n` tokens: all of them or none. Taking 0 always succeeds.
    ///
    /// # Errors
    ///
    /// [`TakeError::Wait`] says when to come back; [`TakeError::ExceedsBurst`] that it is of no use.
    pub fn try_take(&mut self, n: u32, now: Instant) -> Result<(), TakeError> {
        if n > self.burst.get() {
            return Err(TakeError::ExceedsBurst { asked: n, burst: self.burst });
        }
        self.earn(now);
        let price = u128::from(n) * self.rate.cost();
        match self.credits.checked_sub(price) {
            Some(rest) => {
                self.credits = rest;
                Ok(())
            }
            None => Err(self.wait_for(price - self.credits, now)),
        }
    }

    /// How many whole tokens could be taken at `now`.
    pub fn available(&mut self, now: Instant) -> u32 {
        self.earn(now);
        u32::try_from(self.credits / self.rate.cost()).unwrap_or(u32::MAX)
    }

    /// Changes the rate from `now` on. What was earned until then, at the old rate, is kept, down to the
    /// fraction of a token; a remainder that the new rate cannot express is lost, never rounded up, so that
    /// going back and forth mints nothing.
    pub fn set_rate(&mut self, rate: Rate, now: Instant) {
        self.earn(now);
        let (old, new) = (self.rate.cost(), rate.cost());
        // Whole tokens and the fraction apart: costs are below 2^55, so that no product here exceeds 2^110.
        self.credits = self.credits / old * new + self.credits % old * new / old;
        self.rate = rate;
    }

    /// Changes the burst from `now` on. Tokens above a smaller one are lost; a larger one starts with the
    /// tokens that are there, and fills at the rate.
    pub fn set_burst(&mut self, burst: NonZeroU32, now: Instant) {
        self.earn(now);
        self.burst = burst;
        self.credits = self.credits.min(self.full());
    }

    /// Turns the time since `counted_to` into credits. What a full bucket would earn is lost.
    fn earn(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.counted_to);
        // Below 2^94 nanoseconds times 2^32 events, plus a full bucket below 2^87: within 128 bits.
        let earned = elapsed.as_nanos() * self.rate.earned_per_nano();
        self.credits = self.full().min(self.credits + earned);
        self.counted_to = self.counted_to.max(now);
    }

    /// The credits of `burst` events.
    fn full(&self) -> u128 {
        u128::from(self.burst.get()) * self.rate.cost()
    }

    /// When the `missing` credits will have been earned: rounded up to the nanosecond, so that nobody comes
    /// too soon.
    fn wait_for(&self, missing: u128, now: Instant) -> TakeError {
        let nanos = missing.div_ceil(self.rate.earned_per_nano());
        let until = after(self.counted_to, duration_from_nanos(nanos));
        TakeError::Wait { until, wait: until.saturating_duration_since(now) }
    }
}

/// Tokens were refused.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum TakeError {
    /// They are not earned yet. Come back at `until`; others may have been faster then.
    #[error("the rate is used up for {wait:?}")]
    Wait {
        /// When they will be there, if nobody else takes any. After `now`; no later than 30 years ahead if
        /// the true moment is beyond what the clock can express.
        until: Instant,
        /// The same, as a time from `now`.
        wait: Duration,
    },
    /// More were asked for than the bucket ever holds: no wait will help.
    #[error("{asked} tokens exceed the burst of {burst}")]
    ExceedsBurst {
        /// The tokens asked for.
        asked: u32,
        /// The most there can be.
        burst: NonZeroU32,
    },
}

impl TakeError {
    /// Whether the same call can succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Wait { .. })
    }
}

/// The longest period of a [`Rate`]: a year of 365 days. A slower rate is a schedule, not a rate; and the
/// bound keeps the cost of an event below 2^55, on which the arithmetic rests.
pub const MAX_PERIOD: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const NANOS_PER_SECOND: u128 = 1_000_000_000;

fn duration_from_nanos(nanos: u128) -> Duration {
    let seconds = u64::try_from(nanos / NANOS_PER_SECOND);
    let rest = u32::try_from(nanos % NANOS_PER_SECOND);
    match (seconds, rest) {
        (Ok(seconds), Ok(rest)) => Duration::new(seconds, rest),
        _ => Duration::MAX,
    }
}

#[cfg(test)]
mod tests;
