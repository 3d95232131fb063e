//! Pausing: events whose channel makes no calls. They are parked in the store as they are, no attempt is charged, and they come back
//! when the channel says so and not when their row is due: that time is for who reads the row after a restart.

use std::time::Duration;

use busway_event::Topic;
use busway_persistence::{Parked, Position};

use super::parking::WAIT_MAX;
use super::{Attempted, Moment, ParkedEvent, Window};
use crate::durable::lane::NO_LANE;

/// What an event waits for that is not attempted.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    pub(crate) channel: Topic,
    /// About how long, as far as that is known.
    pub(crate) about: Duration,
    pub(crate) lane: LaneOf,
}

/// What becomes of the lane of an event that waits for its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneOf {
    /// Its lane waits behind it.
    Held,
    /// Its lane goes on without it, for good.
    Left,
}

impl<E> Window<E> {
    pub(super) fn wait(&mut self, place: Position, so_far: Attempted, wait: Wait, at: Moment) {
        let Wait { channel, about, lane: lane_of } = wait;
        let Attempted { lane, attempts, count, is_parked, .. } = so_far;
        let about = about.min(WAIT_MAX);
        let kept = lane.filter(|_| lane_of == LaneOf::Held);
        // Its row is there already, with a time that is over: after a restart it is tried at once.
        if !is_parked || kept != lane {
            let row = Parked {
                offset: place.offset,
                due: at.utc.saturating_add(about),
                lane: kept.unwrap_or(NO_LANE),
                attempts: attempts.clone(),
                attempt_count: count,
            };
            self.settle(place.partition, |settlements| settlements.parked_behind(row));
        }
        if kept.is_none() {
            self.finish(place, lane);
        }
        let due = at.now.checked_add(about).unwrap_or(at.now);
        self.parked.insert(place, ParkedEvent { lane: kept, attempts, count, due });
        self.paused.entry(channel).or_default().insert((count, place));
        if let Some(number) = kept {
            self.park_held(place, number, at);
        }
    }

    /// Lets as many as `events` that wait for a channel come back: those that have failed least often first, in their order. A probe is to find out
    /// about what the handler depends on: an event that has failed before may be bad itself, and would keep the channel closed to all others.
    pub(crate) fn release(&mut self, channel: &Topic, events: usize, at: Moment) {
        let Some(waiting) = self.paused.get_mut(channel) else { return };
        for _ in 0..events {
            let Some((_, place)) = waiting.pop_first() else { break };
            if let Some(parked) = self.parked.get_mut(&place) {
                parked.due = at.now;
                self.due.insert((at.now, place));
            }
        }
        if waiting.is_empty() {
            self.paused.remove(channel);
        }
    }

    /// Channels that events wait for, with how many.
    pub(crate) fn paused(&self) -> impl Iterator<Item = (&Topic, usize)> {
        self.paused.iter().map(|(channel, waiting)| (channel, waiting.len()))
    }
}
