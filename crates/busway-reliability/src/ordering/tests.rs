//! Tests of the lanes: rule by rule, and against a naive reference.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{Admission, Lane, Lanes, Order};
use busway_event::Priority;

#[test]
fn the_default_order_separates_priorities_of_one_key() {
    let order = Order::default();
    let urgent = order.lane(Some("A-1"), Priority::P0);
    assert_eq!(urgent, Some(Lane { key: "A-1", priority: Some(Priority::P0) }));
    assert_ne!(urgent, order.lane(Some("A-1"), Priority::P2));
}

#[test]
fn order_by_key_puts_all_priorities_of_a_key_into_one_lane() {
    let lanes = Priority::ALL.map(|priority| Order::Key.lane(Some("A-1"), priority));
    assert!(lanes.iter().all(|lane| *lane == Some(Lane { key: "A-1", priority: None })));
}

#[test]
fn events_without_a_key_or_without_order_are_lanes_of_their_own() {
    for priority in Priority::ALL {
        assert_eq!(Order::Lane.lane(None::<&str>, priority), None);
        assert_eq!(Order::Key.lane(None::<&str>, priority), None);
        assert_eq!(Order::None.lane(Some("A-1"), priority), None);
    }
}

#[test]
fn events_without_a_lane_always_start_and_close_nothing() {
    let mut lanes = Lanes::<u8, u32>::new(1);
    for n in 0..10 {
        assert_eq!(lanes.admit(None, n), Admission::Start(n));
    }
    assert_eq!((lanes.lanes(), lanes.held()), (0, 0));
}

#[test]
fn a_full_window_still_starts_what_is_admitted_to_an_open_lane() {
    let mut lanes = Lanes::new(2);
    assert_eq!(lanes.admit(Some('a'), 0), Admission::Start(0));
    assert_eq!(lanes.admit(Some('a'), 1), Admission::Held);
    assert!(lanes.has_room());
    assert_eq!(lanes.admit(Some('a'), 2), Admission::Held);
    assert!(!lanes.has_room());
    assert_eq!(lanes.admit(Some('b'), 3), Admission::Start(3));
    assert_eq!(lanes.settle(&'a'), Some(1));
    assert!(lanes.has_room());
}

#[test]
fn a_window_of_zero_counts_as_one() {
    let mut lanes = Lanes::new(0);
    assert!(lanes.has_room());
    assert_eq!(lanes.admit(Some(1), 'a'), Admission::Start('a'));
    assert_eq!(lanes.admit(Some(1), 'b'), Admission::Held);
    assert!(!lanes.has_room());
}

#[test]
fn settling_an_open_lane_changes_nothing() {
    let mut lanes = Lanes::<u8, u8>::new(1);
    assert_eq!(lanes.settle(&7), None);
    assert_eq!(lanes.lanes(), 0);
}

#[test]
fn a_million_keys_leave_no_lane_behind() {
    let mut lanes = Lanes::new(8);
    for key in 0..1_000_000_u32 {
        assert_eq!(lanes.admit(Some(key), key), Admission::Start(key));
        assert_eq!(lanes.settle(&key), None);
    }
    assert_eq!(lanes.lanes(), 0);
    assert!(lanes.closed.capacity() < 16, "{}", lanes.closed.capacity());
}

#[test]
fn a_drained_lane_stays_closed_until_its_running_event_is_settled() {
    let mut lanes = Lanes::new(8);
    assert_eq!(lanes.admit(Some('a'), 0), Admission::Start(0));
    assert_eq!(lanes.admit(Some('b'), 1), Admission::Start(1));
    for (lane, n) in [('a', 2), ('b', 3), ('a', 4)] {
        assert_eq!(lanes.admit(Some(lane), n), Admission::Held);
    }
    assert_eq!(lanes.drain(), [2, 3, 4]);
    assert_eq!((lanes.held(), lanes.lanes()), (0, 2));
    assert_eq!(lanes.admit(Some('a'), 5), Admission::Held);
    assert_eq!(lanes.settle(&'a'), Some(5));
    assert_eq!(lanes.settle(&'a'), None);
    assert_eq!(lanes.settle(&'b'), None);
}

#[test]
fn debug_shows_counts_and_no_keys() {
    let mut lanes = Lanes::new(8);
    assert_eq!(lanes.admit(Some("secret"), "payload"), Admission::Start("payload"));
    assert_eq!(format!("{lanes:?}"), "Lanes { lanes: 1, held: 0, window: 8 }");
}

#[derive(Debug, Clone)]
enum Call {
    Admit(Option<u8>),
    SettleOneOf(usize),
    Drain,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        8 => option::weighted(0.9, 0_u8..4).prop_map(Call::Admit),
        7 => any::<usize>().prop_map(Call::SettleOneOf),
        1 => Just(Call::Drain),
    ]
}

/// The rules without any structure: a list of what runs, a list of what waits.
#[derive(Debug, Default)]
struct Naive {
    running: Vec<(Option<u8>, usize)>,
    waiting: Vec<(u8, usize)>,
    out: Vec<usize>,
}

impl Naive {
    fn start(&mut self, lane: Option<u8>, n: usize) {
        self.running.push((lane, n));
        self.out.push(n);
    }

    fn admit(&mut self, lane: Option<u8>, n: usize) -> Admission<usize> {
        if let Some(lane) = lane
            && self.running.iter().any(|(closed, _)| *closed == Some(lane))
        {
            self.waiting.push((lane, n));
            return Admission::Held;
        }
        self.start(lane, n);
        Admission::Start(n)
    }

    /// Ends one running event; gives its lane and the event that then starts in it.
    fn settle(&mut self, pick: usize) -> Option<(u8, Option<usize>)> {
        if self.running.is_empty() {
            return None;
        }
        let (lane, _) = self.running.swap_remove(pick % self.running.len());
        let lane = lane?;
        let next = self.waiting.iter().position(|(closed, _)| *closed == lane);
        let next = next.map(|at| self.waiting.remove(at).1);
        if let Some(next) = next {
            self.start(Some(lane), next);
        }
        Some((lane, next))
    }

    fn lanes(&self) -> usize {
        self.running.iter().filter(|(lane, _)| lane.is_some()).count()
    }
}

proptest! {
    #[test]
    fn lanes_agree_with_a_list_of_what_runs_and_a_list_of_what_waits(calls in vec(call(), 0..200)) {
        let (mut lanes, mut naive) = (Lanes::new(5), Naive::default());
        let mut admitted = 0;
        for call in calls {
            match call {
                Call::Admit(lane) => {
                    prop_assert_eq!(lanes.admit(lane, admitted), naive.admit(lane, admitted));
                    admitted += 1;
                }
                Call::SettleOneOf(pick) => {
                    if let Some((lane, next)) = naive.settle(pick) {
                        prop_assert_eq!(lanes.settle(&lane), next);
                    }
                }
                Call::Drain => {
                    let waiting: Vec<_> = naive.waiting.drain(..).map(|(_, n)| n).collect();
                    prop_assert_eq!(lanes.drain(), &waiting[..]);
                    naive.out.extend(waiting);
                }
            }
            prop_assert_eq!(lanes.held(), naive.waiting.len());
            prop_assert_eq!(lanes.has_room(), naive.waiting.len() < 5);
            prop_assert_eq!(lanes.lanes(), naive.lanes());
        }
        while !naive.running.is_empty() {
            if let Some((lane, next)) = naive.settle(0) {
                prop_assert_eq!(lanes.settle(&lane), next);
            }
        }
        prop_assert_eq!((lanes.lanes(), lanes.held()), (0, 0));
        naive.out.sort_unstable();
        prop_assert_eq!(naive.out, (0..admitted).collect::<Vec<_>>());
    }

    #[test]
    fn one_event_at_a_time_runs_in_a_lane_and_in_the_order_of_admission(calls in vec(call(), 0..200)) {
        let mut lanes = Lanes::new(5);
        let mut running = [None::<usize>; 4];
        let mut last = [None::<usize>; 4];
        for (n, call) in calls.into_iter().enumerate() {
            let (lane, started) = match call {
                Call::Admit(Some(lane)) => match lanes.admit(Some(lane), n) {
                    Admission::Start(started) => (lane, Some(started)),
                    Admission::Held => {
                        prop_assert!(running[usize::from(lane)].is_some(), "held behind nobody");
                        continue;
                    }
                },
                Call::SettleOneOf(pick) => {
                    let lane = u8::try_from(pick % 4).unwrap();
                    let was_running = running[usize::from(lane)].take().is_some();
                    let next = lanes.settle(&lane);
                    prop_assert!(was_running || next.is_none());
                    (lane, next)
                }
                Call::Admit(None) | Call::Drain => continue,
            };
            if let Some(started) = started {
                let lane = usize::from(lane);
                prop_assert_eq!(running[lane], None, "two at once");
                prop_assert!(last[lane] < Some(started), "out of order");
                running[lane] = Some(started);
                last[lane] = Some(started);
            }
        }
    }
}
