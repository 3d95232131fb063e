//! What a breaker is set to.

use std::fmt;
use std::time::Duration;

use busway_reliability::{BreakerProblem, BreakerRules};

use super::fallback::Fallback;

/// A circuit breaker around the handler of a subscription, one for each topic (a *channel*): `.breaker(Breaker::default())`.
///
/// A channel opens when too many of its calls have failed, is probed after a while by a few, and closes when these succeed. While it is open no
/// call is made: what is done instead is its [`Fallback`], by default to wait without spending an attempt.
///
/// | outcome of a call | counts as |
/// |---|---|
/// | `Done` | a success |
/// | `Failed`, also by a panic, a [`Timeout`](crate::Timeout) or because it was cancelled | a failure |
/// | `RetryAt`, `Dead` (also what cannot be decoded), `Skip`, and `Failed` with an error that the subscription classifies as permanent or as one to be retried at a time | neither: it says nothing about what the handler depends on |
///
/// A call that began before the channel last opened or closed counts no more when it ends. State is in memory: after a restart all
/// channels are closed.
///
/// Setters never fail; `.to(handler)` lists what is wrong.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    pub(crate) rules: BreakerRules,
    pub(crate) fallback: Fallback,
}

impl Breaker {
    /// Opens with this failure in a row. Default 4: more than three. At least 1.
    pub fn opens_after(mut self, failures: u32) -> Self {
        self.rules = self.rules.opens_after(failures);
        self
    }

    /// Opens also when, of the calls that ended within the last `window`, this part or more failed, and there were `calls` of them at least.
    /// Default: not by a rate. 1 to 100 percent; at least one call; 1 ms to a day. The window moves on in tenths.
    pub fn opens_at_rate(mut self, percent: u8, calls: u32, window: Duration) -> Self {
        self.rules = self.rules.opens_at_rate(percent, calls, window);
        self
    }

    /// How long a channel is open before it is probed. Default 60 s, at least 1 ms.
    pub fn open_for(mut self, time: Duration) -> Self {
        self.rules = self.rules.open_for(time);
        self
    }

    /// Each time that a probe fails the channel is open for twice as long as the time before, up to this; closing forgets it. Default: always
    /// [`open_for`](Self::open_for).
    pub fn open_for_longest(mut self, time: Duration) -> Self {
        self.rules = self.rules.open_for_longest(time);
        self
    }

    /// Calls that are made at once to probe a channel. Default 5, at least 1.
    pub fn max_probes(mut self, calls: u32) -> Self {
        self.rules = self.rules.max_probes(calls);
        self
    }

    /// Probes that have to succeed before a channel closes. Default 1, at least 1.
    pub fn required_successes(mut self, calls: u32) -> Self {
        self.rules = self.rules.required_successes(calls);
        self
    }

    /// What is done with an event whose call is refused. Default [`Fallback::pause`].
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = fallback;
        self
    }

    pub(crate) fn problems(&self) -> Vec<BreakerProblem> {
        self.rules.problems()
    }
}

/// For people to read.
impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, then {}", self.rules, self.fallback)
    }
}
