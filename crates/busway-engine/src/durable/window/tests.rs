//! The window beside what its store would hold, and beside the simplest bookkeeping that there is.

use std::collections::BTreeMap;

use busway_event::Topic;
use busway_persistence::DeadLetter;
use busway_reliability::PriorityLimits;
use busway_router::MemberId;
use proptest::prelude::*;

use super::*;

/// A window over one partition, beside what its store would hold.
struct World {
    window: Window<u64>,
    store: Place,
    dead: Vec<DeadLetter>,
    at: Moment,
    concurrency: u32,
    /// Those who are there.
    members: Vec<u64>,
    /// The lane of each offset, where members share the events.
    lanes: Vec<Option<u64>>,
}

#[expect(clippy::disallowed_methods, reason = "an instant can only be made by reading a clock, once")]
fn start() -> Moment {
    Moment { now: Instant::now(), utc: Timestamp::from_nanos(1_700_000_000_000_000_000) }
}

impl World {
    fn new(concurrency: u32) -> Self {
        let store = Place { partition: 0, cursor: Cursor::at(0), parked: Vec::new(), redriven: Vec::new() };
        let window = window(concurrency);
        let (members, lanes) = (vec![0], Vec::new());
        let mut world = Self { window, store, dead: Vec::new(), at: start(), concurrency, members, lanes };
        world.restart();
        world
    }

    /// What was not stored is lost; what was is taken up again.
    fn restart(&mut self) {
        self.window = window(self.concurrency);
        self.members.iter().for_each(|&member| self.window.join(member));
        self.window.restore(vec![self.store.clone()], self.at);
    }

    /// Reads one event from the log of all, unless there is no room or no more of it. Every fifth offset is not wanted.
    fn fetch(&mut self, lane_of: impl Fn(u64) -> Option<u64>, end: u64) {
        let from = self.window.reading()[0].offset;
        if self.window.room() == 0 || from >= end {
            return;
        }
        let (lane, priority, home) = (lane_of(from), Priority::P2, self.home_of(from));
        let wanted = Fetched { offset: from, lane, priority, home, expires: None, event: from };
        let events = if is_wanted(from) { vec![wanted] } else { Vec::new() };
        self.window.fetched(0, events, from + 1, self.at);
    }

    fn load(&mut self) {
        for Due { place, .. } in self.window.take_due(self.at.now) {
            let home = self.home_of(place.offset);
            self.window.loaded(place, (Priority::P2, None), (place.offset, home));
        }
    }

    fn home_of(&self, offset: u64) -> Option<KeyHash> {
        let lane = self.lanes.get(usize::try_from(offset).unwrap()).copied().flatten()?;
        Some(KeyHash::of(&lane.to_string()))
    }

    /// Whether the event sticks to somebody else.
    fn is_for_another(&self, offset: u64, member: u64) -> bool {
        let members = self.members.iter().map(|&member| MemberId(member));
        let holder = self.home_of(offset).and_then(|home| home.holder(members));
        self.members.len() > 1 && holder.is_some_and(|at| self.members[at] != member)
    }

    fn comes(&mut self, member: u64) {
        if !self.members.contains(&member) {
            self.members.push(member);
            self.window.join(member);
        }
    }

    fn goes(&mut self, member: u64) {
        self.members.retain(|other| *other != member);
        self.window.part(member);
    }

    fn wait(&mut self, time: Duration) {
        self.at = Moment { now: self.at.now + time, utc: self.at.utc.saturating_add(time) };
        // Channels are probed by two at a time.
        let channels: Vec<_> = self.window.paused().map(|(channel, _)| channel.clone()).collect();
        channels.iter().for_each(|channel| self.window.release_probes(channel, 2, self.at));
    }

    /// As the store would apply it.
    fn save(&mut self) {
        let Some(settlement) = self.window.take_settlement(0) else { return };
        let Place { cursor, parked, .. } = &mut self.store;
        let mut rows: BTreeMap<u64, Parked> = parked.drain(..).map(|row| (row.offset, row)).collect();
        settlement.settled.iter().for_each(|&(start, end)| cursor.settle(start, end));
        for row in settlement.parked {
            cursor.settle(row.offset, row.offset + 1);
            rows.insert(row.offset, row);
        }
        settlement.dead.iter().for_each(|letter| cursor.settle(letter.offset, letter.offset + 1));
        for offset in settlement.released.iter().chain(settlement.dead.iter().map(|letter| &letter.offset)) {
            rows.remove(offset);
        }
        self.dead.extend(settlement.dead);
        *parked = rows.into_values().collect();
    }

    fn starts(&mut self) -> Option<u64> {
        self.window.start(0).map(|started| started.event)
    }

    fn ends(&mut self, offset: u64, verdict: Verdict) {
        self.window.ended(Position { partition: 0, offset }, verdict, self.at);
    }
}

use busway_persistence::Parked;

fn window(concurrency: u32) -> Window<u64> {
    let concurrency = NonZeroU32::new(concurrency).unwrap();
    let running = Running::new(PriorityLimits::default().with(Priority::P2, concurrency), concurrency);
    Window::new(8, 1_000, running, Share::default())
}

fn is_wanted(offset: u64) -> bool {
    offset % 5 != 4
}

fn failed(delay: Duration) -> Verdict {
    Verdict::Park { error: "no connection".to_owned(), delay }
}

fn dead() -> Verdict {
    Verdict::Dead { error: None, reason: "no such order".to_owned(), handler: "reserve".to_owned() }
}

fn paused(offset: u64) -> Verdict {
    let channel = Topic::new(if offset.is_multiple_of(2) { "even" } else { "odd" }).unwrap();
    Verdict::Wait(Wait { channel, about: SECOND, lane: LaneOf::Held })
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn at_a_concurrency_of_one_events_start_in_the_order_of_their_offsets() {
    let mut world = World::new(1);
    (0..4).for_each(|_| world.fetch(|offset| (offset != 2).then_some(1), 9));
    for expected in [0, 1, 2, 3] {
        assert_eq!(world.starts(), Some(expected));
        assert_eq!(world.starts(), None);
        world.ends(expected, Verdict::Settled);
    }
    world.save();
    assert_eq!(world.store.cursor, Cursor::at(4));
}

#[test]
fn events_behind_a_parked_one_of_their_lane_are_parked_unattempted_and_others_go_on() {
    let mut world = World::new(4);
    let lane_of = |offset| Some(1 + offset % 2);
    (0..4).for_each(|_| world.fetch(lane_of, 9));
    assert_eq!((world.starts(), world.starts(), world.starts()), (Some(0), Some(1), None));
    world.ends(0, failed(SECOND));
    world.ends(1, Verdict::Settled);
    assert_eq!((world.starts(), world.starts()), (Some(3), None), "3 is of the lane of 1");
    (0..5).for_each(|_| world.fetch(lane_of, 9));
    world.save();
    let rows: Vec<_> = world.store.parked.iter().map(|row| (row.offset, row.attempt_count)).collect();
    assert_eq!(rows, [(0, 1), (2, 0), (6, 0), (8, 0)]);

    world.load();
    assert_eq!(world.window.next_due(), Some(world.at.now + SECOND));
    world.wait(SECOND);
    world.load();
    let again: Vec<_> = std::iter::from_fn(|| world.window.start(0)).collect();
    let attempts: Vec<_> = again.iter().map(|started| (started.event, started.attempt.get())).collect();
    assert_eq!(attempts, [(0, 2)], "5 and 7 wait for 3, and 2 for 0");
    world.ends(0, Verdict::Settled);
    world.load();
    assert_eq!(world.starts(), Some(2), "at once: it was never attempted");
    world.ends(2, dead());
    world.save();
    assert_eq!(world.dead[0].offset, 2);
    let left: Vec<u64> = world.store.parked.iter().map(|row| row.offset).collect();
    assert_eq!(left, [6, 8]);
}

#[test]
fn an_event_without_a_lane_holds_nobody() {
    let mut world = World::new(2);
    (0..3).for_each(|_| world.fetch(|_| None, 9));
    assert_eq!((world.starts(), world.starts(), world.starts()), (Some(0), Some(1), None));
    world.ends(0, failed(SECOND));
    assert_eq!(world.starts(), Some(2));
    assert!(!world.window.is_at_rest(world.at.now));
    world.ends(1, Verdict::Settled);
    world.ends(2, Verdict::Settled);
    assert!(world.window.is_at_rest(world.at.now) && !world.window.is_at_rest(world.at.now + SECOND));
    assert_eq!(world.window.lowest_unsettled(), [Position { partition: 0, offset: 0 }]);
}

#[test]
fn the_last_attempts_are_kept_and_all_are_counted() {
    let mut world = World::new(1);
    world.fetch(|_| Some(3), 9);
    for attempt in 1..=40 {
        assert_eq!(world.window.start(0).unwrap().attempt.get(), attempt);
        world.ends(0, failed(SECOND));
        world.save();
        if attempt % 7 == 0 {
            world.restart();
        }
        world.wait(SECOND);
        world.load();
    }
    let row = &world.store.parked[0];
    assert_eq!((row.attempts.len(), row.attempt_count), (busway_persistence::ATTEMPTS_KEPT, 40));
}

#[test]
fn nothing_is_fetched_while_the_store_is_behind_or_too_many_are_parked() {
    let mut world = World::new(1);
    let lane_of = |_| Some(1);
    world.fetch(lane_of, 9_999);
    assert_eq!(world.starts(), Some(0));
    world.ends(0, failed(SECOND));
    (0..9_999).for_each(|_| world.fetch(lane_of, 9_999));
    assert_eq!((world.window.room(), world.window.counts()), (0, [0, 0, 1_000]), "a thousand may be parked");
    world.save();
    assert_eq!((world.window.room(), world.store.parked.len()), (0, 1_000));

    let mut world = World::new(1);
    for offset in 0..UNSENT_MAX {
        assert!(world.window.room() > 0, "{offset}");
        world.window.unreadable(0, "damaged".to_owned(), "reserve".to_owned(), world.at);
    }
    assert_eq!(world.window.room(), 0);
    world.save();
    assert_eq!(world.window.room(), 8);
}

#[derive(Debug, Clone)]
enum Op {
    Fetch,
    /// With one of three members.
    Start(u64),
    Come(u64),
    Go(u64),
    /// Ends the running event with this place among them: settled, parked for so many seconds, dead, not attempted.
    End(usize, u8),
    Wait(u64),
    Save,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Fetch),
        6 => (0..3_u64).prop_map(Op::Start),
        2 => (0..3_u64).prop_map(Op::Come),
        1 => (0..3_u64).prop_map(Op::Go),
        6 => (0..8_usize, 0..11_u8).prop_map(|(which, how)| Op::End(which, how)),
        2 => (0..4_u64).prop_map(Op::Wait),
        2 => Just(Op::Save),
        1 => Just(Op::Restart),
    ]
}

/// What a subscription must never do, by the simplest bookkeeping that there is.
#[derive(Default)]
struct Model {
    running: Vec<u64>,
    /// Finished in this life.
    finished: Vec<u64>,
    lanes: Vec<Option<u64>>,
}

impl Model {
    fn starts(&mut self, offset: u64, stored: &Cursor) {
        assert!(is_wanted(offset), "{offset} is not wanted");
        assert!(!self.running.contains(&offset) && !self.finished.contains(&offset), "{offset} again");
        if let Some(lane) = self.lane(offset) {
            let earlier = (0..offset).filter(|&other| is_wanted(other) && self.lane(other) == Some(lane));
            for other in earlier {
                let is_finished = self.finished.contains(&other) || stored.is_settled(other);
                assert!(is_finished && !self.running.contains(&other), "{offset} before {other}");
            }
        }
        self.running.push(offset);
    }

    fn lane(&self, offset: u64) -> Option<u64> {
        self.lanes[usize::try_from(offset).unwrap()]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn no_lane_is_overtaken_nothing_is_lost_and_nothing_is_settled_twice(
        ops in prop::collection::vec(op(), 0..160),
        lanes in prop::collection::vec(prop::option::weighted(0.8, 1..4_u64), 40..41),
        (concurrency, batch) in (1..4_u32, 1..4_usize),
    ) {
        let mut world = World::new(concurrency);
        world.lanes = lanes.clone();
        let mut model = Model { lanes: lanes.clone(), ..Model::default() };
        let lane_of = |offset: u64| lanes[usize::try_from(offset).unwrap()];
        // A cursor passes what is parked: not finished for this life of the model.
        let finished = |world: &World| {
            let mut cursor = Cursor::at(0);
            (0..40).filter(|&offset| world.store.cursor.is_settled(offset))
                .filter(|offset| world.store.parked.iter().all(|row| row.offset != *offset))
                .for_each(|offset| cursor.settle(offset, offset + 1));
            cursor
        };
        let mut stored = finished(&world);
        let goes_on = [Op::Come(1), Op::Fetch, Op::Start(0), Op::Start(1), Op::Start(2), Op::End(0, 0), Op::Wait(4), Op::Save];
        for op in ops.into_iter().chain((0..400).flat_map(|_| goes_on.clone())) {
            match op {
                Op::Fetch => world.fetch(lane_of, 40),
                Op::Start(member) => {
                    world.load();
                    let may_start = world.window.has_own(member)
                        || world.members.contains(&member) && world.window.has_shared();
                    prop_assert!(!may_start || world.window.may_start());
                    let started = world.window.start_batch(member, batch);
                    prop_assert_eq!(may_start, started.is_some());
                    let started = started.unwrap_or_default();
                    let comes_again = started.iter().any(|started| started.attempt.get() > 1);
                    let most = if comes_again { 1 } else { batch };
                    prop_assert!(started.len() <= most);
                    for Started { event: offset, .. } in started {
                        prop_assert!(!world.is_for_another(offset, member), "{} is not for {}", offset, member);
                        model.starts(offset, &stored);
                    }
                    prop_assert!(model.running.len() <= concurrency as usize * batch);
                }
                Op::Come(member) => world.comes(member),
                Op::Go(member) => world.goes(member),
                Op::End(which, how) if !model.running.is_empty() => {
                    let offset = model.running.remove(which % model.running.len());
                    match how {
                        0..=5 => {
                            world.ends(offset, if how == 5 { dead() } else { Verdict::Settled });
                            model.finished.push(offset);
                        }
                        9.. => world.ends(offset, paused(offset)),
                        how => world.ends(offset, failed(Duration::from_secs(u64::from(how - 6)))),
                    }
                }
                Op::End(..) => {}
                Op::Wait(seconds) => world.wait(Duration::from_secs(seconds)),
                Op::Save => world.save(),
                Op::Restart => {
                    world.restart();
                    stored = finished(&world);
                    (model.running, model.finished) = (Vec::new(), Vec::new());
                }
            }
        }
        world.save();
        prop_assert_eq!(&world.store.cursor, &Cursor::at(40), "everything is settled in the end");
        prop_assert!(world.store.parked.is_empty() && world.window.is_at_rest(world.at.now));
        let mut dead: Vec<u64> = world.dead.iter().map(|letter| letter.offset).collect();
        dead.sort_unstable();
        dead.dedup();
        prop_assert_eq!(dead.len(), world.dead.len(), "one dead letter an event");
    }
}

mod redrives;
mod unreadable;
