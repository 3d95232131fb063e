//! Attempts: which event starts next, alone or in a batch, and what becomes of it when its attempt has ended.

use std::num::NonZeroU32;

use busway_event::Priority;
use busway_persistence::Position;

use super::team::Team;
use super::{Attempted, Begun, InHand, Moment, Started, Verdict, Window};

/// What was made of an event until it was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    /// An attempt: its handler, or what is around that, was asked.
    Attempt,
    /// Nothing: it is a duplicate, has expired, or something was done in its handler's place.
    Nothing,
}

/// A call with several events, which has one place among those that run.
#[derive(Debug)]
pub(super) struct SharedCall {
    /// That of its place.
    priority: Priority,
    /// Its events that have not ended.
    left: usize,
    /// Its handler is hung: it has no place any more.
    is_apart: bool,
}

impl<E> Window<E> {
    /// Takes the next event that may start now with this member.
    pub(crate) fn start(&mut self, member: u64) -> Option<Started<E>> {
        // Asked in vain, the share would begin anew: who comes in vain again and again must not cost the lowest priority its turn.
        if !self.at_some_priority(|priority| self.team.next(member, priority).is_some()) {
            return None;
        }
        let Self { share, running, team, .. } = self;
        let (priority, place) =
            share.take(|priority| running.has_room(priority).then(|| team.take(member, priority))?)?;
        // Asked for above.
        _ = self.running.try_start(priority);
        self.begin(place, None)
    }

    /// Takes the event that came first of all that may start, whatever its priority, if it is not another member's.
    pub(crate) fn start_first(&mut self, member: u64) -> Option<Started<E>> {
        let Self { running, team, .. } = self;
        let (priority, place) = team.take_first(member, |priority| running.has_room(priority))?;
        // Asked for above.
        _ = self.running.try_start(priority);
        self.begin(place, None)
    }

    /// Takes as many as `max` events for one call of a handler, which takes one place. Whoever failed before comes alone: an event that
    /// makes each batch fail must not take the others with it. No two are of one lane: the second one's turn comes when the first is settled.
    pub(crate) fn start_batch(&mut self, member: u64, max: usize) -> Option<Vec<Started<E>>> {
        let first = self.start(member)?;
        let is_first_attempt = first.attempt == NonZeroU32::MIN;
        let (call, first_place) = (self.call_count, first.place);
        let mut batch = vec![first];
        while is_first_attempt && batch.len() < max {
            let Self { share, team, hand, .. } = self;
            let joins = |priority, team: &Team| {
                let place = team.next(member, priority)?;
                hand.get(&place).filter(|in_hand| in_hand.so_far.count == 0)
            };
            if !Priority::ALL.into_iter().any(|priority| joins(priority, team).is_some()) {
                break;
            }
            let next = share.take(|priority| {
                joins(priority, team)?;
                team.take(member, priority)
            });
            let Some(started) = next.and_then(|(_, place)| self.begin(place, Some(call))) else { break };
            batch.push(started);
        }
        if batch.len() > 1
            && let Some(first) = self.started.get_mut(&first_place)
        {
            first.call = Some(call);
            self.call_count += 1;
            let (priority, left) = (first.so_far.priority, batch.len());
            self.calls.insert(call, SharedCall { priority, left, is_apart: false });
        }
        Some(batch)
    }

    fn begin(&mut self, place: Position, call: Option<u64>) -> Option<Started<E>> {
        let InHand { event, so_far, .. } = self.hand.remove(&place)?;
        let Attempted { replay, expires, .. } = so_far;
        let attempt = NonZeroU32::MIN.saturating_add(so_far.count);
        self.started.insert(place, Begun { so_far, call, is_apart: false });
        let is_released = self.is_released(place);
        Some(Started { place, event, attempt, replay, is_released, expires })
    }

    /// An attempt has ended, and nothing of it runs any more.
    pub(crate) fn ended(&mut self, place: Position, verdict: Verdict, at: Moment) {
        if let Some(so_far) = self.stopped(place) {
            // What was not attempted is no traffic.
            if so_far.count == 0 && !matches!(verdict, Verdict::Wait(_) | Verdict::Later { .. }) {
                self.retries.attempted(at.now);
            }
            self.decide(place, so_far, verdict, at);
        }
    }

    /// An event is decided without an attempt: it is no traffic, and what is said of it is no error of an attempt.
    pub(crate) fn ended_unattempted(&mut self, place: Position, mut verdict: Verdict, at: Moment) {
        if let Verdict::Dead { error, .. } | Verdict::NoRoom { error, .. } = &mut verdict {
            *error = None;
        }
        if let Some(so_far) = self.stopped(place) {
            self.decide(place, so_far, verdict, at);
        }
    }

    /// An attempt was cut short: the event stays as it was, unsettled. Its lane stays closed.
    pub(crate) fn cut_short(&mut self, place: Position) {
        self.asked(place);
        _ = self.stopped(place);
    }

    /// A handler is hung: its place among those that run is given to others. Its event has not ended, nor have those of the same call, and their lanes
    /// stay closed.
    pub(crate) fn set_apart(&mut self, place: Position) {
        let Some(begun) = self.started.get_mut(&place) else { return };
        let (is_apart, priority) = match begun.call.and_then(|named| self.calls.get_mut(&named)) {
            Some(call) => (&mut call.is_apart, call.priority),
            None => (&mut begun.is_apart, begun.so_far.priority),
        };
        if !std::mem::replace(is_apart, true) {
            self.running.finish(priority);
        }
    }

    fn stopped(&mut self, place: Position) -> Option<Attempted> {
        let Begun { so_far, call, is_apart } = self.started.remove(&place)?;
        let Some(named) = call else {
            if !is_apart {
                self.running.finish(so_far.priority);
            }
            return Some(so_far);
        };
        if let Some(SharedCall { priority, left, is_apart }) = self.calls.get_mut(&named) {
            *left -= 1;
            if *left == 0 {
                if !*is_apart {
                    self.running.finish(*priority);
                }
                self.calls.remove(&named);
            }
        }
        Some(so_far)
    }
}
