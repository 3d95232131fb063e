//! The rules of a breaker: when it opens, for how long, and what closes it.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// When a breaker opens, for how long, and what closes it again. Setters never fail: [`problems`](BreakerRules::problems) lists what is
/// wrong.
///
/// ```
/// use std::time::Duration;
/// use busway_reliability::BreakerRules;
///
/// let rules = BreakerRules::default().opens_after(2).open_for(Duration::from_secs(5));
/// assert!(rules.problems().is_empty());
/// assert_eq!(BreakerRules::default().max_probes(0).problems().len(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRules {
    pub(super) failures: u32,
    pub(super) rate: Option<FailureRate>,
    pub(super) open_for: Duration,
    pub(super) open_for_longest: Duration,
    pub(super) max_probes: u32,
    pub(super) required_successes: u32,
}

/// So many of the calls in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FailureRate {
    pub(super) percent: u8,
    pub(super) calls: u32,
    pub(super) window: Duration,
}

impl BreakerRules {
    /// Opens with this failure in a row. Default 4: more than three. At least 1.
    pub const fn opens_after(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// Opens also when, of the calls that ended within the last `window`, this part or more failed, and there were `calls` of them at least.
    /// Default: not by a rate. 1 to 100 percent; at least one call; 1 ms to a day. The window moves on in tenths.
    pub const fn opens_at_rate(mut self, percent: u8, calls: u32, window: Duration) -> Self {
        self.rate = Some(FailureRate { percent, calls, window });
        self
    }

    /// How long it is open before probes are let through. Default 60 s, at least 1 ms.
    pub const fn open_for(mut self, time: Duration) -> Self {
        self.open_for = time;
        self
    }

    /// Each time that a probe fails it is open for twice as long as the time before, up to this; a circuit that closes forgets it. Default: as
    /// [`open_for`](Self::open_for), always as long. A longest time below that counts as not set.
    pub const fn open_for_longest(mut self, time: Duration) -> Self {
        self.open_for_longest = time;
        self
    }

    /// Calls that pass at once while it is half-open. Default 5, at least 1.
    pub const fn max_probes(mut self, calls: u32) -> Self {
        self.max_probes = calls;
        self
    }

    /// Probes that have to succeed before it closes. Default 1, at least 1.
    pub const fn required_successes(mut self, calls: u32) -> Self {
        self.required_successes = calls;
        self
    }

    /// Everything that is wrong with them.
    #[must_use]
    pub fn problems(&self) -> Vec<BreakerProblem> {
        let mut problems = Vec::new();
        let mut check = |is_good: bool, problem| {
            if !is_good {
                problems.push(problem);
            }
        };
        check(self.failures > 0, BreakerProblem::NoFailures);
        check(self.max_probes > 0, BreakerProblem::NoProbes);
        check(self.required_successes > 0, BreakerProblem::NoSuccesses);
        check(self.open_for >= SHORTEST, BreakerProblem::OpenTooShort { time: self.open_for });
        if let Some(FailureRate { percent, calls, window }) = self.rate {
            check((1..=100).contains(&percent), BreakerProblem::Percent { percent });
            check(calls > 0, BreakerProblem::NoCalls);
            check((SHORTEST..=WINDOW_LONGEST).contains(&window), BreakerProblem::Window { window });
        }
        problems
    }
}

impl Default for BreakerRules {
    fn default() -> Self {
        Self {
            failures: 4,
            rate: None,
            open_for: Duration::from_secs(60),
            open_for_longest: Duration::ZERO,
            max_probes: 5,
            required_successes: 1,
        }
    }
}

/// For people to read: what differs from another breaker's is seen in it.
impl fmt::Display for BreakerRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failures, rate, open_for, open_for_longest, max_probes, required_successes } = self;
        write!(f, "opens after {failures}")?;
        if let Some(FailureRate { percent, calls, window }) = rate {
            write!(f, " or at {percent} % of at least {calls} in {window:?}")?;
        }
        write!(f, " for {open_for:?}")?;
        if open_for_longest > open_for {
            write!(f, " to {open_for_longest:?}")?;
        }
        write!(f, ", {max_probes} probes at once, closes after {required_successes}")
    }
}

/// One thing that is wrong with the rules of a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BreakerProblem {
    /// It would open before anything failed.
    #[error("a breaker that opens after 0 failures would never be closed: opens_after is at least 1")]
    NoFailures,
    /// It would never close.
    #[error("a breaker without probes would stay open: max_probes is at least 1")]
    NoProbes,
    /// It would close before anything succeeded.
    #[error("a breaker that closes after 0 successes would not probe: required_successes is at least 1")]
    NoSuccesses,
    /// It would not be open at all.
    #[error("a breaker that is open for {time:?} refuses nothing: open_for is at least 1ms")]
    OpenTooShort {
        /// The time.
        time: Duration,
    },
    /// A part of the calls is 1 to 100 percent of them.
    #[error("a failure rate of {percent} percent: it is 1 to 100")]
    Percent {
        /// The rate.
        percent: u8,
    },
    /// A rate is that of some calls.
    #[error("a failure rate of 0 calls: it is of at least 1")]
    NoCalls,
    /// The window is too short or too long.
    #[error("a failure rate over {window:?}: the window is 1ms to a day")]
    Window {
        /// The window.
        window: Duration,
    },
}

/// Shorter than a timer can tell.
const SHORTEST: Duration = Duration::from_millis(1);
const WINDOW_LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
