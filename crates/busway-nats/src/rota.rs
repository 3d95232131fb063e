//! Which consumers are asked next, and for how many: a member that reads partitions has a consumer for each of them and one for what has no key, and its room
//! is for all of them.
//!
//! Nothing is asked for beyond the room: what is delivered to a member that is full is kept from those that are not. Where there is room for twice as many as there are
//! consumers, all are asked and wait long. With less, requests are short, so that the room which waits at idle partitions is free again soon; with fewer places than consumers
//! they go round: those that brought something come first while others are asked besides, and in every second turn where there is one place only. Pure: no server, no clock.

use std::time::Duration;

/// How a consumer stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// Messages that its request still waits for.
    pub(crate) waiting: usize,
    /// Nothing may be asked of it now.
    pub(crate) is_paused: bool,
    /// Its last request brought something; while one waits, it or the one before.
    pub(crate) is_warm: bool,
    /// In which turn it was asked.
    pub(crate) turn: u64,
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) lane: usize,
    pub(crate) batch: usize,
    /// How long it waits at the server; as long as that likes, if nothing is said.
    pub(crate) time: Option<Duration>,
}

/// What is asked for next, given how many may be under way besides, and how many the caller wants; and whether others have to wait for room. The first consumer is the one of what
/// has no key, and delivers many at once.
pub(crate) fn choose(
    lanes: &[Standing],
    free: usize,
    wanted: usize,
    turn: u64,
    heartbeat: Duration,
) -> (Vec<Ask>, bool) {
    let is_idle = |lane: &Standing| lane.waiting == 0 && !lane.is_paused;
    let idle: Vec<_> = (0..).zip(lanes).filter(|(_, lane)| is_idle(lane)).collect();
    if lanes.len() == 1 {
        let asks = idle.into_iter().map(|(lane, _)| Ask { lane, batch: wanted, time: None });
        return (asks.collect(), false);
    }
    let waiting = lanes.iter().map(|lane| lane.waiting).sum();
    let budget = free.saturating_sub(waiting);
    let partitions = idle.iter().filter(|(lane, _)| *lane > 0).count();
    if budget >= idle.len() {
        let time = if free >= 2 * lanes.len() { heartbeat } else { heartbeat.min(TIGHT) };
        let many = budget.saturating_sub(partitions).min(wanted).max(1);
        let batch = |lane| if lane == 0 { many } else { 1 };
        let asks = idle.into_iter().map(|(lane, _)| Ask { lane, batch: batch(lane), time: Some(time) });
        return (asks.collect(), false);
    }
    let searching = lanes.iter().filter(|lane| lane.waiting > 0 && !lane.is_warm).count();
    (round(idle, budget, wanted, searching, turn), true)
}

/// Those whose turn it is, as many as there is room for: the ones that brought something while others are searched, and those that have waited longest.
fn round(
    mut idle: Vec<(usize, &Standing)>,
    mut budget: usize,
    wanted: usize,
    mut searching: usize,
    turn: u64,
) -> Vec<Ask> {
    idle.sort_by_key(|(_, lane)| lane.turn);
    let mut asks = Vec::new();
    let mut is_warms_turn = turn.is_multiple_of(2);
    while budget > 0 && !idle.is_empty() {
        let is_first = is_warms_turn || searching > 0;
        let warm = idle.iter().position(|(_, lane)| lane.is_warm).filter(|_| is_first);
        let cold = || idle.iter().position(|(_, lane)| !lane.is_warm);
        let (lane, standing) = idle.remove(warm.or_else(cold).unwrap_or(0));
        let batch = if lane == 0 { (budget / 2).clamp(1, wanted.max(1)) } else { 1 };
        asks.push(Ask { lane, batch, time: Some(BRIEF) });
        budget -= batch;
        searching += usize::from(!standing.is_warm);
        is_warms_turn = !is_warms_turn;
    }
    asks
}

/// How long a request keeps its place while there is little room.
const TIGHT: Duration = Duration::from_secs(1);
/// The same while others wait for that place.
const BRIEF: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_secs(5);
    const IDLE: Standing = Standing { waiting: 0, is_paused: false, is_warm: false, turn: 0 };

    fn lanes(count: usize) -> Vec<Standing> {
        vec![IDLE; count]
    }

    #[test]
    fn a_stream_without_partitions_is_asked_for_as_much_as_is_wanted() {
        let one = lanes(1);
        assert_eq!(
            choose(&one, 256, 64, 0, HEARTBEAT),
            (vec![Ask { lane: 0, batch: 64, time: None }], false)
        );
        let busy = [Standing { waiting: 3, ..IDLE }];
        assert_eq!(choose(&busy, 256, 64, 0, HEARTBEAT), (vec![], false));
    }

    #[test]
    fn with_room_each_partition_is_asked_for_one_and_what_has_no_key_for_the_rest() {
        let (asks, is_short) = choose(&lanes(17), 256, 300, 0, HEARTBEAT);
        assert!(!is_short && asks.len() == 17);
        assert_eq!(asks[0], Ask { lane: 0, batch: 240, time: Some(HEARTBEAT) });
        assert!(asks[1..].iter().all(|ask| ask.batch == 1 && ask.time == Some(HEARTBEAT)));
        let (asks, _) = choose(&lanes(17), 20, 300, 0, HEARTBEAT);
        assert!(asks.iter().all(|ask| ask.time == Some(TIGHT)) && asks[0].batch == 4);
    }

    #[test]
    fn never_is_more_asked_for_than_there_is_room_for() {
        for (count, free) in [(17, 1), (17, 8), (17, 16), (17, 17), (17, 40), (5, 3), (65, 256), (2, 1)] {
            for waiting in [0, 1, free.min(count - 1)] {
                let mut all = lanes(count);
                all.iter_mut().skip(1).take(waiting).for_each(|lane| lane.waiting = 1);
                for wanted in [1, 7, 1_000] {
                    let (asks, _) = choose(&all, free, wanted, 0, HEARTBEAT);
                    let asked: usize = asks.iter().map(|ask| ask.batch).sum();
                    assert!(asked + waiting <= free, "{count} {free} {waiting} {wanted}: {asked}");
                    assert!(asks.iter().all(|ask| all[ask.lane].waiting == 0 && ask.batch > 0));
                    assert!(asked > 0 || waiting == free, "{count} {free} {waiting}: nothing was asked");
                }
            }
        }
    }

    #[test]
    fn with_one_place_all_have_their_turn_and_warm_ones_have_it_more_often() {
        let mut all = lanes(9);
        all[4].is_warm = true;
        let mut counts = [0; 9];
        for turn in 1..=160 {
            let (asks, is_short) = choose(&all, 1, 10, turn, HEARTBEAT);
            let [ask] = asks.as_slice() else { panic!("{asks:?}") };
            assert!(is_short && ask.batch == 1 && ask.time == Some(BRIEF));
            all[ask.lane].turn = turn;
            counts[ask.lane] += 1;
        }
        assert!(counts.iter().all(|count| *count >= 8), "{counts:?}");
        assert!(counts[4] >= 80, "{counts:?}");
    }

    #[test]
    fn while_some_are_searched_the_next_place_is_that_of_one_that_brought_something() {
        let mut all = lanes(9);
        (all[2].waiting, all[3].waiting) = (1, 1);
        (all[4].is_warm, all[4].turn) = (true, 9);
        for turn in 10..14 {
            let (asks, _) = choose(&all, 3, 10, turn, HEARTBEAT);
            assert_eq!(asks, [Ask { lane: 4, batch: 1, time: Some(BRIEF) }]);
        }
        // Nobody is searched: so somebody is.
        (all[2].is_warm, all[3].is_warm) = (true, true);
        let asked: Vec<_> = (10..12).map(|turn| choose(&all, 3, 10, turn, HEARTBEAT).0[0].lane).collect();
        assert_eq!(asked, [4, 0]);
    }
}
