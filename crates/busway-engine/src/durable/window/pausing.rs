//! Pausing: events whose channel makes no calls. They are parked in the store as they are, no attempt is charged, and they come back
//! when the channel says so and not when their row is due: that time is for who reads the row after a restart.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use busway_event::Topic;
use busway_persistence::{Parked, Position};
use busway_reliability::KeyHashing;

use super::{Attempted, Moment, ParkedEvent, Window};
use crate::clock::WAIT_MAX;
use crate::durable::lane::NO_LANE;

/// Events that wait for their channels, and those that have come back to ask them.
#[derive(Debug, Default)]
pub(super) struct Paused {
    /// Those that have failed least often first.
    waiting: BTreeMap<Topic, BTreeSet<(u32, Position)>>,
    /// Those that were let come back as probes and have not asked yet: what they ask for is not to be given to others too.
    released: HashMap<Position, Topic, KeyHashing>,
    /// How many there are of each channel.
    counts: HashMap<Topic, usize>,
}

impl Paused {
    fn asked(&mut self, place: Position) {
        let Some(channel) = self.released.remove(&place) else { return };
        if let Some(count) = self.counts.get_mut(&channel) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&channel);
            }
        }
    }
}

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
        let Attempted { lane, attempts, count, is_parked, replay, .. } = so_far;
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
            self.finish(place, is_parked, lane);
        }
        let due = at.now.checked_add(about).unwrap_or(at.now);
        let is_granted = count > 0;
        let waiting =
            ParkedEvent { attempts, count, due, is_granted, replay, ..ParkedEvent::unattempted(kept, at) };
        self.keep_parked(place, waiting);
        self.paused.waiting.entry(channel).or_default().insert((count, place));
        if let Some(number) = kept {
            self.park_held(place, number, at);
        }
    }

    /// Lets all that wait for a channel come back.
    pub(crate) fn release_all(&mut self, channel: &Topic, at: Moment) {
        for (_, place) in self.paused.waiting.remove(channel).unwrap_or_default() {
            self.comes_back(place, at);
        }
    }

    /// Lets as many come back as there may be `probes` of a channel, with those that are on their way to ask it: those that have failed least often first,
    /// in their order. A probe is to find out about what the handler depends on: an event that has failed before may be bad itself, and would keep the
    /// channel closed to all others.
    pub(crate) fn release_probes(&mut self, channel: &Topic, probes: usize, at: Moment) {
        let on_their_way = self.paused.counts.get(channel).copied().unwrap_or_default();
        for _ in on_their_way..probes {
            let Some(waiting) = self.paused.waiting.get_mut(channel) else { break };
            let next = waiting.pop_first();
            if waiting.is_empty() {
                self.paused.waiting.remove(channel);
            }
            let Some((_, place)) = next else { break };
            self.paused.released.insert(place, channel.clone());
            *self.paused.counts.entry(channel.clone()).or_default() += 1;
            self.comes_back(place, at);
        }
    }

    fn comes_back(&mut self, place: Position, at: Moment) {
        if let Some(parked) = self.parked.get_mut(&place) {
            parked.due = at.now;
            self.due.insert((at.now, place));
        }
    }

    /// Whether an event was let come back as a probe, and has not asked yet.
    pub(super) fn is_released(&self, place: Position) -> bool {
        !self.paused.released.is_empty() && self.paused.released.contains_key(&place)
    }

    /// An event that was let come back has asked its channel, or does so no more.
    pub(crate) fn asked(&mut self, place: Position) {
        if !self.paused.released.is_empty() {
            self.paused.asked(place);
        }
    }

    /// Channels that events wait for, with how many.
    pub(crate) fn paused(&self) -> impl Iterator<Item = (&Topic, usize)> {
        self.paused.waiting.iter().map(|(channel, waiting)| (channel, waiting.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Instant;

    use busway_event::{Priority, Timestamp};
    use busway_persistence::{Cursor, Place};
    use busway_reliability::{PriorityLimits, RetryBudget, Running};
    use busway_router::Share;

    use super::super::{Fetched, Verdict};
    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn moment(now: Instant) -> Moment {
        Moment { now, utc: Timestamp::from_nanos(1_700_000_000_000_000_000) }
    }

    /// Eight events in hand, each two of a lane, with one member.
    fn window(at: Moment) -> Window<u64> {
        let all = NonZeroU32::new(8).unwrap();
        let limits = PriorityLimits::default().with(Priority::P2, all);
        let mut window = Window::new(8, 1_000, Running::new(limits, all), Share::default());
        window.join(0);
        window.restore(
            vec![Place { partition: 0, cursor: Cursor::at(0), parked: Vec::new(), redriven: Vec::new() }],
            at,
        );
        let event = |offset| Fetched {
            offset,
            lane: Some(1 + offset / 2),
            priority: Priority::P2,
            home: None,
            expires: None,
            event: offset,
        };
        window.fetched(0, (0..8).map(event).collect(), 8, at);
        window
    }

    fn ends(window: &mut Window<u64>, offset: u64, lane: LaneOf, at: Moment) {
        let channel = Topic::new("orders.paid").unwrap();
        let wait = Wait { channel, about: Duration::from_secs(60), lane };
        window.ended(Position { partition: 0, offset }, Verdict::Wait(wait), at);
    }

    fn starts(window: &mut Window<u64>, at: Moment) -> Vec<u64> {
        for place in window.take_due(at.now).into_iter().map(|due| due.place) {
            window.loaded(place, (Priority::P2, None), (place.offset, None));
        }
        std::iter::from_fn(|| window.start(0)).map(|started| started.event).collect()
    }

    #[test]
    fn a_held_lane_waits_and_a_left_one_goes_on_and_rows_are_written_once() {
        let at = moment(SystemClock.now());
        let mut window = window(at);
        assert_eq!(starts(&mut window, at), [0, 2, 4, 6]);
        ends(&mut window, 0, LaneOf::Held, at);
        ends(&mut window, 2, LaneOf::Left, at);
        assert_eq!(starts(&mut window, at), [3], "1 waits behind 0");
        let rows = window.take_settlement(0).unwrap();
        assert!(rows.passes_only, "nothing was attempted");
        let rows: Vec<_> = rows.parked.iter().map(|row| (row.offset, row.lane, row.attempt_count)).collect();
        assert_eq!(rows, [(0, 1, 0), (1, 1, 0), (2, NO_LANE, 0)]);
        assert_eq!(window.paused().map(|(_, events)| events).collect::<Vec<_>>(), [2]);
        assert_eq!(window.next_due(), None, "their time alone does not bring them back");

        let channel = Topic::new("orders.paid").unwrap();
        window.release_probes(&channel, 1, at);
        assert_eq!(starts(&mut window, at), [0]);
        ends(&mut window, 0, LaneOf::Held, at);
        assert!(window.take_settlement(0).is_none(), "its row is there");
        window.release_all(&channel, at);
        assert_eq!(starts(&mut window, at), [0, 2]);
        window.ended(Position { partition: 0, offset: 0 }, Verdict::Settled, at);
        assert_eq!((starts(&mut window, at), window.paused().count()), (vec![1], 0));
    }

    #[test]
    fn those_that_have_failed_least_often_come_back_first() {
        let at = moment(SystemClock.now());
        let mut window = window(at);
        _ = starts(&mut window, at);
        let failed = Verdict::Park { error: "down".to_owned(), delay: Duration::ZERO };
        window.ended(Position { partition: 0, offset: 0 }, failed, at);
        assert_eq!(starts(&mut window, at), [0]);
        for offset in [0, 4, 2] {
            ends(&mut window, offset, LaneOf::Held, at);
        }
        let channel = Topic::new("orders.paid").unwrap();
        let mut order = Vec::new();
        for _ in 0..3 {
            window.release_probes(&channel, 1, at);
            let asks = starts(&mut window, at);
            asks.iter().for_each(|&offset| window.asked(Position { partition: 0, offset }));
            order.extend(asks);
        }
        assert_eq!(order, [2, 4, 0]);
    }

    #[test]
    fn no_more_come_back_than_may_be_probes_until_they_have_asked() {
        let at = moment(SystemClock.now());
        let mut window = window(at);
        assert_eq!(starts(&mut window, at), [0, 2, 4, 6]);
        for offset in [0, 2, 4, 6] {
            ends(&mut window, offset, LaneOf::Held, at);
        }
        let channel = Topic::new("orders.paid").unwrap();
        for _ in 0..3 {
            window.release_probes(&channel, 2, at);
        }
        for place in window.take_due(at.now).into_iter().map(|due| due.place) {
            window.loaded(place, (Priority::P2, None), (place.offset, None));
        }
        window.release_probes(&channel, 2, at);
        let started: Vec<_> = std::iter::from_fn(|| window.start(0)).collect();
        let asks: Vec<_> = started.iter().map(|started| (started.event, started.is_released)).collect();
        assert_eq!(asks, [(0, true), (2, true)], "they have not asked yet");
        window.release_probes(&channel, 2, at);
        assert_eq!(window.paused().map(|(_, events)| events).collect::<Vec<_>>(), [2]);
        // One was let pass, and there may be one more; one does not ask at all.
        window.asked(Position { partition: 0, offset: 0 });
        window.release_probes(&channel, 1, at);
        assert_eq!(starts(&mut window, at), [0_u64; 0]);
        window.ended(Position { partition: 0, offset: 2 }, Verdict::Settled, at);
        window.release_probes(&channel, 1, at);
        assert_eq!(starts(&mut window, at), [3, 4]);
        window.cut_short(Position { partition: 0, offset: 4 });
        window.release_probes(&channel, 1, at);
        assert_eq!(starts(&mut window, at), [6]);
        assert_eq!((window.paused.released.len(), window.paused.counts.len()), (1, 1));
        window.asked(Position { partition: 0, offset: 6 });
        assert_eq!((window.paused.released.len(), window.paused.counts.len()), (0, 0));
    }

    #[test]
    fn an_event_that_comes_back_from_a_pause_is_no_second_retry() {
        let at = moment(SystemClock.now());
        let mut window = window(at);
        window.set_budget(Some(RetryBudget::percent(0).at_least(1)));
        _ = starts(&mut window, at);
        // Ten within ten seconds.
        for retry in 0..10 {
            let failed = Verdict::Park { error: "down".to_owned(), delay: Duration::ZERO };
            window.ended(Position { partition: 0, offset: 0 }, failed, at);
            assert_eq!(starts(&mut window, at), [0], "retry {retry}");
            let channel = Topic::new("orders.paid").unwrap();
            ends(&mut window, 0, LaneOf::Held, at);
            window.release_probes(&channel, 1, at);
            assert_eq!(starts(&mut window, at), [0], "retry {retry} was not made");
            let later = Verdict::Later { delay: Duration::ZERO };
            window.ended(Position { partition: 0, offset: 0 }, later, at);
            assert_eq!(starts(&mut window, at), [0], "retry {retry} was not made");
        }
        let failed = Verdict::Park { error: "down".to_owned(), delay: Duration::ZERO };
        window.ended(Position { partition: 0, offset: 0 }, failed, at);
        assert_eq!(starts(&mut window, at), [0_u64; 0], "the budget is spent");
        assert_eq!(window.held_back(), (1, 0));
    }
}
