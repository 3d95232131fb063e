//! Which attempts run, and until when: a handler that overruns its deadline and cannot be cancelled is *hung*. No clock, no tasks.
//!
//! | an attempt | is | then |
//! |---|---|---|
//! | begun | known, its handler does not run | [`run`](Watch::run) |
//! | running | in time so far | [`stopped`](Watch::stopped), or hung by [`overrun`](Watch::overrun) |
//! | hung | behind its deadline, its handler still runs; set apart, or [kept](Watch::keep) in its place until there is room | [`stopped`](Watch::stopped), too late |
//! | stopped | what its handler leaves is being stored | [`end`](Watch::end), or [`run`](Watch::run) once more |

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use busway_event::AnyEvent;
use busway_persistence::Position;
use busway_reliability::KeyHashing;

use crate::breaker::Call;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watch {
    attempts: HashMap<Position, Watched, KeyHashing>,
    /// Those that run and are not hung.
    until: BTreeSet<(Instant, Position)>,
    /// Those that are hung and keep their place among those that run, by their members.
    kept: BTreeSet<(u64, Position)>,
}

#[derive(Debug)]
struct Watched {
    event: AnyEvent,
    member: u64,
    until: Option<Instant>,
    calls: Calls,
    is_hung: bool,
}

/// The calls of an attempt, where there is a breaker.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// That of one event.
    pub(super) one: Option<Call>,
    /// Those of a batch, by the places of its events.
    pub(super) of_batch: Vec<Option<Call>>,
}

impl Calls {
    pub(super) fn all(&self) -> impl Iterator<Item = &Call> {
        self.one.iter().chain(self.of_batch.iter().flatten())
    }
}

/// How an attempt stood when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stood {
    InTime,
    /// Hung, and in its place among those that run.
    InPlace,
    /// Hung, and set apart: others had its place.
    Apart,
}

/// An attempt that has overrun its deadline and still runs.
#[derive(Debug)]
pub(super) struct Overrun {
    pub(super) place: Position,
    pub(super) event: AnyEvent,
    pub(super) member: u64,
    /// Its calls, for the breaker: nobody waits for their end.
    pub(super) calls: Calls,
}

impl Watch {
    /// An attempt begins: of one event, or of a batch under the place of its first.
    pub(super) fn begin(&mut self, place: Position, (event, member): (AnyEvent, u64), calls: Calls) {
        self.attempts.insert(place, Watched { event, member, until: None, calls, is_hung: false });
    }

    /// Its handler begins, perhaps once more; `true` when it is the next one to overrun its deadline.
    pub(super) fn run(&mut self, place: Position, until: Instant) -> bool {
        let Some(watched) = self.attempts.get_mut(&place) else { return false };
        watched.until = Some(until);
        self.until.insert((until, place));
        self.until.first() == Some(&(until, place))
    }

    /// Its handler has stopped: whether too late.
    pub(super) fn stopped(&mut self, place: Position, now: Instant) -> bool {
        let until = self.attempts.get_mut(&place).and_then(|watched| watched.until.take());
        let Some(until) = until else { return false };
        self.until.remove(&(until, place));
        until <= now
    }

    /// It has ended. Its calls, unless they were given out with an overrun, and how it stood.
    pub(super) fn end(&mut self, place: Position) -> (Calls, Stood) {
        let Some(Watched { member, until, calls, is_hung, .. }) = self.attempts.remove(&place) else {
            return (Calls::default(), Stood::InTime);
        };
        if let Some(until) = until {
            self.until.remove(&(until, place));
        }
        let stood = match (is_hung, self.kept.remove(&(member, place))) {
            (false, _) => Stood::InTime,
            (true, true) => Stood::InPlace,
            (true, false) => Stood::Apart,
        };
        (calls, stood)
    }

    /// One that is hung keeps its place, as nobody is there to take it.
    pub(super) fn keep(&mut self, member: u64, place: Position) {
        self.kept.insert((member, place));
    }

    /// One of a member's that have kept their place, which is to be set apart now.
    pub(super) fn take_kept(&mut self, member: u64) -> Option<Position> {
        let least = Position { partition: 0, offset: 0 };
        let &(of, place) = self.kept.range((member, least)..).next()?;
        (of == member && self.kept.remove(&(of, place))).then_some(place)
    }

    /// Attempts that have overrun their deadline since this was asked last.
    pub(super) fn overrun(&mut self, now: Instant) -> Vec<Overrun> {
        let mut overrun = Vec::new();
        while let Some(&(until, place)) = self.until.first()
            && until <= now
        {
            self.until.pop_first();
            if let Some(Watched { event, member, calls, is_hung, .. }) = self.attempts.get_mut(&place)
                && !std::mem::replace(is_hung, true)
            {
                overrun.push(Overrun {
                    place,
                    event: event.clone(),
                    member: *member,
                    calls: std::mem::take(calls),
                });
            }
        }
        overrun
    }

    /// When the next one overruns its deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.until.first().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use busway_event::draft::Stamp;
    use busway_event::{Event, EventId, Metadata, Raw, Timestamp};

    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn event() -> AnyEvent {
        let metadata = Metadata::draft("test", 1).build().unwrap();
        let stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(0), &metadata);
        Event::new("a", Raw::default()).finish(&stamp).unwrap().into()
    }

    #[test]
    fn only_what_runs_overruns_its_deadline_and_once() {
        let (mut watch, now) = (Watch::default(), SystemClock.now());
        let at = |seconds| now + Duration::from_secs(seconds);
        let place = |offset| Position { partition: 0, offset };
        for offset in 0..4 {
            watch.begin(place(offset), (event(), 7), Calls::default());
        }
        assert_eq!((watch.next(), watch.overrun(at(9)).len()), (None, 0), "no handler runs");
        assert!(watch.run(place(0), at(2)) && !watch.run(place(1), at(3)) && watch.run(place(2), at(1)));
        assert!(!watch.stopped(place(2), at(0)), "in time");
        assert_eq!(watch.next(), Some(at(2)));
        // It runs once more, and has all the time again.
        assert!(!watch.run(place(2), at(5)));
        let overrun: Vec<_> = watch.overrun(at(3)).into_iter().map(|overrun| overrun.place.offset).collect();
        assert_eq!((overrun, watch.next()), (vec![0, 1], Some(at(5))));
        assert!(watch.overrun(at(3)).is_empty());
        assert!(watch.stopped(place(0), at(3)) && watch.stopped(place(1), at(4)), "too late");
        assert!(watch.stopped(place(2), at(5)), "too late, though nobody has seen it");
        let stood = (0..4).map(|offset| watch.end(place(offset)).1);
        assert_eq!(stood.collect::<Vec<_>>(), [Stood::Apart, Stood::Apart, Stood::InTime, Stood::InTime]);
        assert!(watch.attempts.is_empty() && watch.until.is_empty());
    }

    #[test]
    fn what_keeps_its_place_is_set_apart_when_its_member_has_room_and_once() {
        let (mut watch, now) = (Watch::default(), SystemClock.now());
        let place = |offset| Position { partition: 0, offset };
        for (offset, member) in [(0, 7), (1, 7), (2, 7), (3, 9)] {
            watch.begin(place(offset), (event(), member), Calls::default());
            watch.run(place(offset), now);
        }
        for Overrun { place, member, .. } in watch.overrun(now) {
            watch.keep(member, place);
        }
        assert_eq!(watch.end(place(1)).1, Stood::InPlace);
        assert_eq!(
            (watch.take_kept(8), watch.take_kept(7), watch.end(place(0)).1),
            (None, Some(place(0)), Stood::Apart)
        );
        assert_eq!(
            (watch.take_kept(7), watch.take_kept(7)),
            (Some(place(2)), None),
            "others are another member's"
        );
        assert_eq!((watch.take_kept(9), watch.kept.len()), (Some(place(3)), 0));
    }
}
