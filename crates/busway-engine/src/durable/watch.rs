//! Which attempts run, and until when: a handler that overruns its deadline and cannot be cancelled is *hung*. No clock, no tasks.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use busway_event::AnyEvent;
use busway_persistence::Position;

use crate::breaker::Call;

/// Attempts under a deadline. All have the same, so they overrun it nearly in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Watch {
    attempts: HashMap<Position, Watched>,
    /// Those that are not hung.
    until: BTreeSet<(Instant, Position)>,
}

#[derive(Debug)]
struct Watched {
    event: AnyEvent,
    member: u64,
    until: Instant,
    call: Option<Call>,
    is_hung: bool,
}

/// An attempt that has overrun its deadline and still runs.
#[derive(Debug)]
pub(super) struct Overrun {
    pub(super) place: Position,
    pub(super) event: AnyEvent,
    pub(super) member: u64,
    /// Its call, for the breaker: nobody waits for its end.
    pub(super) call: Option<Call>,
}

impl Watch {
    /// An attempt begins; `true` when it is the next to be looked at.
    pub(super) fn begin(
        &mut self,
        place: Position,
        (event, member): (AnyEvent, u64),
        until: Instant,
        call: Option<Call>,
    ) -> bool {
        self.attempts.insert(place, Watched { event, member, until, call, is_hung: false });
        self.until.insert((until, place));
        self.until.first() == Some(&(until, place))
    }

    /// An attempt has ended. Its call, unless it was given out with an overrun, and whether it was hung.
    pub(super) fn end(&mut self, place: Position) -> (Option<Call>, bool) {
        let Some(Watched { until, call, is_hung, .. }) = self.attempts.remove(&place) else {
            return (None, false);
        };
        self.until.remove(&(until, place));
        (call, is_hung)
    }

    /// Attempts that have overrun their deadline since this was asked last.
    pub(super) fn overrun(&mut self, now: Instant) -> Vec<Overrun> {
        let mut overrun = Vec::new();
        while let Some(&(until, place)) = self.until.first()
            && until <= now
        {
            self.until.pop_first();
            if let Some(Watched { event, member, call, is_hung, .. }) = self.attempts.get_mut(&place) {
                *is_hung = true;
                overrun.push(Overrun { place, event: event.clone(), member: *member, call: call.take() });
            }
        }
        overrun
    }

    /// When the next one overruns its deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.until.first().map(|(until, _)| *until)
    }

    /// Whether the result of an attempt comes too late, seen already or not.
    pub(super) fn is_late(&self, place: Position, now: Instant) -> bool {
        self.attempts.get(&place).is_some_and(|watched| watched.until <= now)
    }
}
