//! Dead letters that are given again, among everything else that happens to a window.

use std::collections::BTreeSet;

use busway_reliability::RetryBudget;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Fetch,
    Start,
    /// Ends a running event: settled, given up, parked for so many seconds.
    End(usize, u8),
    /// Gives a letter again.
    Redrive(usize),
    Wait(u64),
    Save,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => Just(Op::Fetch),
        6 => Just(Op::Start),
        6 => (0..8_usize, 0..8_u8).prop_map(|(which, how)| Op::End(which, how)),
        3 => (0..8_usize).prop_map(Op::Redrive),
        2 => (0..3_u64).prop_map(Op::Wait),
        2 => Just(Op::Save),
        1 => Just(Op::Restart),
    ]
}

/// A window, the rows of the store, and the letters in it.
struct Redriving {
    world: World,
    budget: Option<RetryBudget>,
    letters: BTreeSet<u64>,
    lanes: Vec<Option<u64>>,
    running: Vec<u64>,
}

impl Redriving {
    fn restart(&mut self) {
        self.world.restart();
        self.world.window.set_budget(self.budget);
        self.running.clear();
    }

    fn lane(&self, offset: u64) -> Option<u64> {
        self.lanes[usize::try_from(offset).unwrap()]
    }

    /// As the store would apply it.
    fn save(&mut self) {
        self.world.save();
        let given_up: BTreeSet<u64> = self.world.dead.drain(..).map(|letter| letter.offset).collect();
        let is_parked = |offset: &u64| self.world.store.parked.iter().any(|row| row.offset == *offset);
        let redriven = std::mem::take(&mut self.world.store.redriven);
        let (waiting, ended): (Vec<u64>, Vec<u64>) = redriven.into_iter().partition(is_parked);
        self.world.store.redriven = waiting;
        // What was handled has no letter any more.
        self.letters.retain(|offset| !ended.contains(offset));
        self.letters.extend(given_up);
    }

    fn redrive(&mut self, which: usize) {
        // The store is asked behind everything that was decided before.
        self.save();
        let waiting = |offset: &&u64| !self.world.store.redriven.contains(offset);
        let Some(&offset) = self.letters.iter().filter(waiting).nth(which) else { return };
        let (lane, at) = (self.lane(offset), self.world.at);
        let row = Parked {
            offset,
            due: at.utc,
            lane: lane.unwrap_or(NO_LANE),
            attempts: Attempts::NONE,
            attempt_count: 0,
        };
        self.world.store.parked.push(row);
        self.world.store.parked.sort_by_key(|row| row.offset);
        self.world.store.redriven.push(offset);
        self.world.store.redriven.sort_unstable();
        let place = Position { partition: 0, offset };
        self.world.window.redriven(place, lane, at);
        // Told twice it is the same.
        self.world.window.redriven(place, lane, at);
    }

    fn start(&mut self) -> Result<(), TestCaseError> {
        self.world.load();
        let Some(started) = self.world.window.start(0) else { return Ok(()) };
        let offset = started.event;
        prop_assert_eq!(started.replay, self.world.store.redriven.contains(&offset));
        if let Some(lane) = self.lane(offset) {
            let other = self.running.iter().find(|other| self.lane(**other) == Some(lane));
            prop_assert!(other.is_none(), "{} runs beside {:?}", offset, other);
        }
        prop_assert!(!self.running.contains(&offset), "{} runs twice", offset);
        self.running.push(offset);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn redriven_letters_keep_lanes_apart_and_come_to_an_end_with_everything_else(
        ops in prop::collection::vec(op(), 0..160),
        lanes in prop::collection::vec(prop::option::weighted(0.8, 1..4_u64), 30..31),
        concurrency in 1..4_u32,
        budget in prop::option::of((0..200_u32, 1..3_u32)),
    ) {
        let budget = budget.map(|(percent, floor)| RetryBudget::percent(percent).at_least(floor));
        let world = World::new(concurrency);
        let mut redriving = Redriving { world, budget, letters: BTreeSet::new(), lanes: lanes.clone(), running: Vec::new() };
        redriving.restart();
        let lane_of = |offset: u64| lanes[usize::try_from(offset).unwrap()];
        let goes_on = [Op::Fetch, Op::Start, Op::End(0, 0), Op::Wait(2), Op::Save];
        for op in ops.into_iter().chain((0..600).flat_map(|_| goes_on.clone())) {
            match op {
                Op::Fetch => redriving.world.fetch(lane_of, 30),
                Op::Start => redriving.start()?,
                Op::End(which, how) if !redriving.running.is_empty() => {
                    let place = which % redriving.running.len();
                    let offset = redriving.running.remove(place);
                    let verdict = match how {
                        0..=2 => Verdict::Settled,
                        3..=4 => dead(),
                        5 => Verdict::NoRoom { error: None, reason: "no".to_owned(), handler: String::new() },
                        how => failed(Duration::from_secs(u64::from(how - 6))),
                    };
                    redriving.world.ends(offset, verdict);
                }
                Op::End(..) => {}
                Op::Redrive(which) => redriving.redrive(which),
                Op::Wait(seconds) => redriving.world.wait(Duration::from_secs(seconds)),
                Op::Save => redriving.save(),
                Op::Restart => redriving.restart(),
            }
        }
        redriving.save();
        let World { store, window, at, .. } = &redriving.world;
        prop_assert_eq!(&store.cursor, &Cursor::at(30));
        prop_assert!(store.parked.is_empty() && store.redriven.is_empty(), "{:?}", store.parked);
        prop_assert!(window.is_at_rest(at.now) && window.held_back() == (0, 0), "{:?}", window.held_back());
    }
}

#[test]
fn a_redriven_letter_lets_nothing_of_its_lane_overtake() {
    let mut world = World::new(4);
    let lane = |_| Some(1);
    for _ in 0..3 {
        world.fetch(lane, 20);
    }
    let first = world.window.start(0).unwrap().event;
    let place = Position { partition: 0, offset: 100 };
    world.window.redriven(place, Some(1), world.at);
    world.fetch(lane, 20);
    world.fetch(lane, 20);
    let mut order = vec![first];
    world.ends(first, Verdict::Settled);
    while order.len() < 5 {
        world.load();
        let Some(started) = world.window.start(0) else { break };
        world.ends(started.event, Verdict::Settled);
        order.push(started.event);
    }
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(order, sorted);
    assert_eq!(order.len(), 5);
}

#[test]
fn a_batch_of_events_that_were_refused_and_come_back_gives_its_place_back() {
    let mut world = World::new(1);
    for _ in 0..4 {
        world.fetch(|_| None, 20);
    }
    for _ in 0..3 {
        world.load();
        let batch = world.window.start_batch(0, 3).unwrap();
        assert!(batch.len() >= 2);
        for started in batch {
            world.ends(started.event, Verdict::Later { delay: Duration::ZERO });
        }
    }
    world.load();
    assert!(world.window.start(0).is_some(), "the one place is free");
}

#[test]
fn an_event_that_was_not_attempted_is_no_progress_of_its_process() {
    let mut world = World::new(2);
    (0..2).for_each(|_| world.fetch(|_| None, 20));
    assert_eq!((world.starts(), world.starts()), (Some(0), Some(1)));
    world.ends(1, Verdict::Later { delay: SECOND });
    let rows = world.window.take_settlement(0).unwrap();
    assert_eq!(rows.parked.len(), 1);
    assert!(rows.passes_only, "its key is busy: a process that dies now has not got on");
    world.ends(0, failed(SECOND));
    assert!(!world.window.take_settlement(0).unwrap().passes_only);
}

#[test]
fn an_event_that_is_being_read_again_is_counted_all_the_while() {
    let mut world = World::new(1);
    world.fetch(|_| Some(1), 20);
    let offset = world.window.start(0).unwrap().event;
    world.ends(offset, failed(Duration::ZERO));
    assert_eq!(world.window.counts(), [0, 0, 1]);
    let taken = world.window.take_due(world.at.now);
    assert_eq!((taken.len(), world.window.counts()), (1, [0, 0, 1]), "between the log and the hand");
    world.window.loaded(taken[0].place, (Priority::P2, None), (offset, None));
    assert_eq!(world.window.counts(), [0, 1, 0]);
    world.window.start(0).unwrap();
    assert_eq!(world.window.counts(), [1, 0, 0]);
    world.ends(offset, Verdict::Settled);
    assert_eq!(world.window.counts(), [0, 0, 0]);
}
