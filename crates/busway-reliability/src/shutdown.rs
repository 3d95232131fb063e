//! Shutdown: when to wait, when to cancel and when to give up, as a state machine without a clock.

use std::fmt;
use std::time::{Duration, Instant};

use crate::deadline::after;

/// Where a shutdown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Phase {
    /// It was not asked for.
    #[default]
    Running,
    /// Accepted work is being finished.
    Draining {
        /// When handlers that still run are cancelled.
        deadline: Instant,
    },
    /// Handlers were told to stop.
    Cancelling {
        /// When those that have not stopped are left behind.
        deadline: Instant,
    },
    /// It is over.
    Closed {
        /// How it ended.
        end: End,
    },
}

impl Phase {
    /// Whether a publish from there passes: from outside only while running, from a handler until the end.
    pub const fn admits(self, origin: Origin) -> bool {
        match (self, origin) {
            (Self::Running, _) | (Self::Draining { .. } | Self::Cancelling { .. }, Origin::Handler) => true,
            (Self::Draining { .. } | Self::Cancelling { .. }, Origin::Outside) | (Self::Closed { .. }, _) => {
                false
            }
        }
    }

    /// Whether another attempt may start: until handlers are cancelled.
    pub const fn starts_attempts(self) -> bool {
        matches!(self, Self::Running | Self::Draining { .. })
    }
}

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The program around the bus. It can be refused and told so.
    Outside,
    /// A running handler. Refusing it would make work fail that shutdown waits for.
    Handler,
}

/// What is not settled yet, over all subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Outstanding {
    /// Events that no handler holds now: queued, held in a lane, due for a retry, or given back by an attempt
    /// that was cut short. What a store keeps anyway does not count.
    pub waiting: u64,
    /// Handlers that have not stopped. Each holds an event.
    pub running: u64,
}

impl Outstanding {
    /// Whether nothing is left.
    pub const fn is_empty(self) -> bool {
        self.waiting == 0 && self.running == 0
    }
}

/// How a shutdown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Whatever was accepted was handled.
    Drained,
    /// Time was up first.
    Abandoned {
        /// What was left.
        left: Outstanding,
    },
}

impl End {
    const fn with(left: Outstanding) -> Self {
        if left.is_empty() { Self::Drained } else { Self::Abandoned { left } }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drained => f.write_str("drained"),
            Self::Abandoned { left: Outstanding { waiting, running } } => {
                write!(f, "abandoned with {waiting} waiting and {running} running")
            }
        }
    }
}

/// What [`Shutdown::begin`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Begun {
    /// The first call: draining has begun.
    First {
        /// When handlers are cancelled.
        deadline: Instant,
    },
    /// A later call with an earlier deadline, which now holds.
    Shortened {
        /// The deadline of the phase it is in.
        deadline: Instant,
    },
    /// A later call that would have lengthened the deadline: the earlier one holds.
    Unchanged {
        /// The deadline of the phase it is in.
        deadline: Instant,
    },
    /// It was over already.
    Over {
        /// How it ended.
        end: End,
    },
}

/// What to do next, by [`Shutdown::step`].
#[must_use = "a step is only a decision: somebody has to act on it"]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Nothing: no shutdown was asked for.
    Run,
    /// Step again when work was finished, at the latest at `until`.
    Wait {
        /// The deadline of the phase it is in.
        until: Instant,
    },
    /// Cancel the handlers' token, start nothing more, and step again when a handler has stopped, at the
    /// latest at `until`. Said once.
    Cancel {
        /// When handlers that have not stopped are left behind.
        until: Instant,
    },
    /// It is over: go on to flush and close.
    Close(End),
}

/// The shutdown of one bus. Pure: it is told the time and what is left, and answers what to do.
///
/// The phase only moves forward, a deadline only moves closer. Whoever steps whenever work ends and at each
/// `until` reaches [`Step::Close`] no later than the grace plus [`CANCEL_GRACE`] after
/// [`begin`](Self::begin).
///
/// ```
/// use std::time::{Duration, Instant};
/// use busway_reliability::{End, Outstanding, Shutdown, Step};
///
/// # let now = Instant::now();
/// let second = Duration::from_secs(1);
/// let mut shutdown = Shutdown::new();
/// shutdown.begin(now, 10 * second);
///
/// let busy = Outstanding { waiting: 3, running: 1 };
/// assert_eq!(shutdown.step(now + second, busy), Step::Wait { until: now + 10 * second });
/// let idle = Outstanding::default();
/// assert_eq!(shutdown.step(now + 2 * second, idle), Step::Close(End::Drained));
/// ```
///
/// ```text
///   Running ──begin──▶ Draining ──grace over, handlers run──▶ Cancelling ──▶ Closed
///                          └──nothing left, or grace over and no handler runs──▲
/// ```
///
/// # Running → Draining: `begin`
///
/// Publishes from outside are refused from now on, those from running handlers still pass; nothing more is
/// fetched. What was offered goes on being handled, by handlers whose token is *live*: they finish, they are
/// not interrupted.
///
/// # Draining → Draining: a second `begin`
///
/// May shorten the deadline, never lengthen it. A second signal means *at once*: a grace of
/// [`Duration::ZERO`].
///
/// # Draining → Closed: nothing waits and nothing runs
///
/// [`End::Drained`]: whatever was accepted was handled.
///
/// # Draining → Cancelling: the grace is over and handlers run
///
/// No event starts any more. The handlers' token is cancelled, and they have [`CANCEL_GRACE`] to stop: what
/// they hold may then be given back without a second attempt beside the first.
///
/// # Draining → Closed: the grace is over and no handler runs
///
/// [`End::Abandoned`], without a wait: there is nobody to cancel.
///
/// # Cancelling → Cancelling: another `begin`
///
/// May shorten this deadline too: a third signal does not wait for handlers to stop.
///
/// # Cancelling → Closed: every handler has stopped, or the deadline has passed
///
/// [`End::Drained`] if nothing is left after all, else [`End::Abandoned`] with what is. Abandoned events of a
/// durable subscription are attempted again after the next start, and none of this is charged to them.
///
/// # Closed → Closed
///
/// The end stays what it was, whatever is asked. Flushing transports, storing cursors and closing the store
/// come after it and are the engine's.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    phase: Phase,
}

impl Shutdown {
    /// Not asked for yet.
    pub const fn new() -> Self {
        Self { phase: Phase::Running }
    }

    /// Where it is.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Asks for a shutdown that gives handlers `grace` to finish. Zero cancels them at once; a grace beyond
    /// what the clock can express counts as 30 years.
    ///
    /// Asked again, the earlier deadline holds, in whichever phase it is.
    pub fn begin(&mut self, now: Instant, grace: Duration) -> Begun {
        let asked = after(now, grace);
        match &mut self.phase {
            Phase::Running => {
                self.phase = Phase::Draining { deadline: asked };
                Begun::First { deadline: asked }
            }
            Phase::Draining { deadline } | Phase::Cancelling { deadline } => {
                if asked < *deadline {
                    *deadline = asked;
                    Begun::Shortened { deadline: asked }
                } else {
                    Begun::Unchanged { deadline: *deadline }
                }
            }
            Phase::Closed { end } => Begun::Over { end: *end },
        }
    }

    /// Decides what to do at `now` with that much `work` left. To be called whenever work was finished and at
    /// each `until`; calling it more often does no harm.
    pub fn step(&mut self, now: Instant, work: Outstanding) -> Step {
        match self.phase {
            Phase::Running => Step::Run,
            Phase::Draining { .. } if work.is_empty() => self.close(work),
            Phase::Draining { deadline } if now < deadline => Step::Wait { until: deadline },
            Phase::Draining { .. } if work.running == 0 => self.close(work),
            Phase::Draining { .. } => {
                let deadline = after(now, CANCEL_GRACE);
                self.phase = Phase::Cancelling { deadline };
                Step::Cancel { until: deadline }
            }
            Phase::Cancelling { deadline } if work.running > 0 && now < deadline => {
                Step::Wait { until: deadline }
            }
            Phase::Cancelling { .. } => self.close(work),
            Phase::Closed { end } => Step::Close(end),
        }
    }

    const fn close(&mut self, left: Outstanding) -> Step {
        let end = End::with(left);
        self.phase = Phase::Closed { end };
        Step::Close(end)
    }
}

/// How long cancelled handlers have to stop: one second.
///
/// A future is dropped at its next `.await`, and a synchronous handler looks at its token between two steps:
/// both take milliseconds if they are going to happen at all. Whoever has not stopped after a second will
/// not, and the process has to be gone before its supervisor kills it (10 seconds after the signal under
/// Docker, 30 under Kubernetes, by default).
pub const CANCEL_GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
