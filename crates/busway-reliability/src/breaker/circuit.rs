//! The state machine.

use std::fmt;
use std::time::Instant;

use super::policy::{OpenTimes, Policy};
use super::rules::BreakerRules;
use crate::deadline::after;

/// See the module. Time comes in as an argument; a clock that turns back lengthens what is open, and nothing else.
#[derive(Debug)]
pub struct Circuit {
    rules: BreakerRules,
    policy: Policy,
    times: OpenTimes,
    phase: Phase,
    force: Force,
    generation: Generation,
    since: Instant,
    counts: CircuitCounts,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { running: u32, succeeded: u32 },
}

/// Where a circuit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// A few calls pass, to find out.
    HalfOpen,
    /// No call passes.
    Open,
}

impl BreakerState {
    /// The number that metrics show: 0, 1 or 2.
    #[must_use]
    pub const fn gauge(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        })
    }
}

/// What an operator wants of a circuit, whatever its calls say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Force {
    /// Nothing: it goes by its rules. Taken back from open it is half-open, from closed it is closed with nothing counted.
    #[default]
    Automatic,
    /// No call passes, and none is probed, until it is taken back.
    Open,
    /// All calls pass, however they end, until it is taken back.
    Closed,
}

impl fmt::Display for Force {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Automatic => "automatic",
            Self::Open => "forced open",
            Self::Closed => "forced closed",
        })
    }
}

/// Tells the states of a circuit apart: each has the next number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// It may; its end is to be recorded with this.
    Granted(Generation),
    /// It may not. It is worth asking again at this time; without one, when the circuit has moved.
    Refused {
        /// When it stops being open by itself.
        until: Option<Instant>,
    },
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// Well.
    Success,
    /// It failed, was cancelled, or took too long.
    Failure,
    /// It says nothing about what the handler depends on: the event was bad, or not for it.
    Neither,
}

/// A circuit has gone from a state into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Where it was.
    pub from: BreakerState,
    /// Where it is.
    pub to: BreakerState,
}

/// How many waiting calls would be let pass now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// All of them.
    All,
    /// So many; with none, it is worth asking again when the circuit has moved or a probe has ended.
    Probes(u32),
    /// None before this time.
    Until(Instant),
    /// None until it is taken back that it is forced open.
    Forced,
}

impl Room {
    /// Whether a call would pass now.
    #[must_use]
    pub const fn has_any(&self) -> bool {
        matches!(self, Self::All | Self::Probes(1..))
    }
}

/// What a circuit has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CircuitCounts {
    /// Calls that were recorded as successes.
    pub successes: u64,
    /// Calls that were recorded as failures.
    pub failures: u64,
    /// Calls that said nothing about what the handler depends on.
    pub neither: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// Ends of calls that an older state had let pass: they changed nothing.
    pub late: u64,
    /// Times that it opened.
    pub opened: u64,
}

impl Circuit {
    /// Closed, with nothing counted.
    #[must_use]
    pub fn new(rules: BreakerRules, now: Instant) -> Self {
        Self {
            policy: Policy::new(&rules, now),
            times: OpenTimes::new(&rules),
            rules,
            phase: Phase::Closed,
            force: Force::Automatic,
            generation: Generation(0),
            since: now,
            counts: CircuitCounts::default(),
        }
    }

    /// Asks for a call, and counts it as one that runs when it is granted. Open → half-open, when its time is over.
    pub fn permit(&mut self, now: Instant) -> (Permission, Option<Moved>) {
        let mut moved = None;
        if let (Phase::Open { until }, Force::Automatic) = (self.phase, self.force)
            && until <= now
        {
            moved = Some(self.go(Phase::HalfOpen { running: 0, succeeded: 0 }, now));
        }
        let granted = match &mut self.phase {
            Phase::Closed => true,
            Phase::Open { .. } => false,
            Phase::HalfOpen { running, .. } => {
                let has_room = *running < self.rules.max_probes;
                *running += u32::from(has_room);
                has_room
            }
        };
        let permission = match granted {
            true => Permission::Granted(self.generation),
            false => {
                self.counts.refused += 1;
                Permission::Refused { until: self.next_probe() }
            }
        };
        (permission, moved)
    }

    /// Records how a call ended that was granted in this generation.
    ///
    /// Closed → open, when the rules say so. Half-open → open at a failure, → closed when enough have succeeded.
    pub fn record(&mut self, generation: Generation, end: CallEnd, now: Instant) -> Option<Moved> {
        if generation != self.generation {
            self.counts.late += 1;
            return None;
        }
        let counter = match end {
            CallEnd::Success => &mut self.counts.successes,
            CallEnd::Failure => &mut self.counts.failures,
            CallEnd::Neither => &mut self.counts.neither,
        };
        *counter += 1;
        match (&mut self.phase, self.force) {
            (Phase::Closed, Force::Automatic) => match end {
                CallEnd::Success => {
                    self.policy.succeeded(now);
                    None
                }
                CallEnd::Failure => self.policy.failed(now).then(|| self.open(now)),
                CallEnd::Neither => None,
            },
            (Phase::HalfOpen { running, succeeded }, _) => {
                *running = running.saturating_sub(1);
                *succeeded += u32::from(end == CallEnd::Success);
                match end {
                    CallEnd::Success if *succeeded >= self.rules.required_successes => Some(self.close(now)),
                    CallEnd::Failure => Some(self.open(now)),
                    CallEnd::Success | CallEnd::Neither => None,
                }
            }
            (Phase::Closed | Phase::Open { .. }, _) => None,
        }
    }

    /// Forces it, or takes that back. Nothing happens when it is forced so already.
    pub fn force(&mut self, force: Force, now: Instant) -> Option<Moved> {
        let before = std::mem::replace(&mut self.force, force);
        if before == force {
            return None;
        }
        match (force, before) {
            (Force::Open, _) => Some(self.go(Phase::Open { until: now }, now)),
            (Force::Closed, _) | (Force::Automatic, Force::Closed) => Some(self.close(now)),
            (Force::Automatic, _) => Some(self.go(Phase::HalfOpen { running: 0, succeeded: 0 }, now)),
        }
        .filter(|moved| moved.from != moved.to)
    }

    /// How many of those that wait would be let pass now.
    #[must_use]
    pub fn room(&self, now: Instant) -> Room {
        match (self.phase, self.force) {
            (Phase::Closed, _) => Room::All,
            (Phase::Open { .. }, Force::Open) => Room::Forced,
            (Phase::Open { until }, _) if until > now => Room::Until(until),
            (Phase::Open { .. }, _) => Room::Probes(self.rules.max_probes),
            (Phase::HalfOpen { running, .. }, _) => {
                Room::Probes(self.rules.max_probes.saturating_sub(running))
            }
        }
    }

    /// Where it is. An open one whose time is over stays open until somebody asks for a call.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether it is forced.
    #[must_use]
    pub const fn forced(&self) -> Force {
        self.force
    }

    /// When it came into its state.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// When it lets probes pass; `None` unless it is open and not forced to be.
    #[must_use]
    pub fn next_probe(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open { until } if self.force != Force::Open => Some(until),
            _ => None,
        }
    }

    /// Probes that run.
    #[must_use]
    pub const fn probes(&self) -> u32 {
        match self.phase {
            Phase::HalfOpen { running, .. } => running,
            _ => 0,
        }
    }

    /// The number of its state.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether it is closed, and a success would change nothing but the count of them: whoever counts successes elsewhere need not record
    /// them here.
    #[must_use]
    pub fn is_spotless(&self) -> bool {
        self.state() == BreakerState::Closed && (self.force == Force::Closed || self.policy.is_spotless())
    }

    /// What it has seen.
    #[must_use]
    pub const fn counts(&self) -> CircuitCounts {
        self.counts
    }

    fn open(&mut self, now: Instant) -> Moved {
        self.counts.opened += 1;
        let until = after(now, self.times.next());
        self.go(Phase::Open { until }, now)
    }

    fn close(&mut self, now: Instant) -> Moved {
        self.times = OpenTimes::new(&self.rules);
        self.go(Phase::Closed, now)
    }

    /// Whatever it goes to, what was counted in the state before is over.
    fn go(&mut self, phase: Phase, now: Instant) -> Moved {
        let from = self.state();
        self.phase = phase;
        self.policy.clear(now);
        self.generation.0 += 1;
        self.since = now;
        Moved { from, to: self.state() }
    }
}
