//! Tests of every transition of the shutdown, on a clock that the tests move.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Begun, CANCEL_GRACE, End, Origin, Outstanding, Phase, Shutdown, Step};
use crate::epoch::epoch;

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(10);
const NOTHING: Outstanding = Outstanding { waiting: 0, running: 0 };
const BUSY: Outstanding = Outstanding { waiting: 2, running: 1 };

fn at(seconds: u32) -> Instant {
    epoch() + SECOND * seconds
}

/// Begun at second 0 with a grace of 10 seconds.
fn draining() -> Shutdown {
    let mut shutdown = Shutdown::new();
    assert_eq!(shutdown.begin(at(0), GRACE), Begun::First { deadline: at(10) });
    shutdown
}

/// Cancelled at second 10, with a second to stop.
fn cancelling() -> Shutdown {
    let mut shutdown = draining();
    assert_eq!(shutdown.step(at(10), BUSY), Step::Cancel { until: at(11) });
    shutdown
}

#[test]
fn a_bus_that_was_not_asked_to_stop_runs_on_however_idle() {
    let mut shutdown = Shutdown::new();
    assert_eq!(shutdown.step(at(0), NOTHING), Step::Run);
    assert_eq!(shutdown.step(at(1_000_000), BUSY), Step::Run);
    assert_eq!(shutdown.phase(), Phase::Running);
}

#[test]
fn begin_starts_to_drain_towards_the_deadline() {
    let mut shutdown = draining();
    assert_eq!(shutdown.phase(), Phase::Draining { deadline: at(10) });
    assert_eq!(shutdown.step(at(0), BUSY), Step::Wait { until: at(10) });
    assert_eq!(shutdown.step(at(9), BUSY), Step::Wait { until: at(10) });
}

#[test]
fn draining_ends_as_drained_as_soon_as_nothing_waits_or_runs() {
    let mut shutdown = draining();
    for left in [Outstanding { waiting: 1, running: 0 }, Outstanding { waiting: 0, running: 1 }] {
        assert_eq!(shutdown.step(at(1), left), Step::Wait { until: at(10) });
    }
    assert_eq!(shutdown.step(at(2), NOTHING), Step::Close(End::Drained));
    assert_eq!(shutdown.phase(), Phase::Closed { end: End::Drained });
}

#[test]
fn work_that_ended_just_in_time_counts_as_drained_also_after_the_deadline() {
    assert_eq!(draining().step(at(60), NOTHING), Step::Close(End::Drained));
}

#[test]
fn running_handlers_are_cancelled_at_the_deadline_and_once_only() {
    let mut shutdown = cancelling();
    assert_eq!(shutdown.phase(), Phase::Cancelling { deadline: at(11) });
    assert_eq!(shutdown.step(at(10), BUSY), Step::Wait { until: at(11) });
}

#[test]
fn a_late_step_still_gives_cancelled_handlers_their_second() {
    assert_eq!(draining().step(at(100), BUSY), Step::Cancel { until: at(100) + CANCEL_GRACE });
}

#[test]
fn without_a_running_handler_the_deadline_abandons_what_waits_at_once() {
    let left = Outstanding { waiting: 5, running: 0 };
    assert_eq!(draining().step(at(10), left), Step::Close(End::Abandoned { left }));
}

#[test]
fn cancelling_ends_as_soon_as_every_handler_has_stopped() {
    let left = Outstanding { waiting: 3, running: 0 };
    assert_eq!(cancelling().step(at(10), left), Step::Close(End::Abandoned { left }));
}

#[test]
fn handlers_that_finished_on_being_cancelled_leave_a_drained_bus() {
    assert_eq!(cancelling().step(at(10), NOTHING), Step::Close(End::Drained));
}

#[test]
fn handlers_that_do_not_stop_are_left_behind_and_reported() {
    let mut shutdown = cancelling();
    assert_eq!(shutdown.step(at(11), BUSY), Step::Close(End::Abandoned { left: BUSY }));
    assert_eq!(shutdown.phase(), Phase::Closed { end: End::Abandoned { left: BUSY } });
}

#[test]
fn a_second_begin_shortens_the_deadline_and_never_lengthens_it() {
    let mut shutdown = draining();
    assert_eq!(shutdown.begin(at(1), GRACE), Begun::Unchanged { deadline: at(10) });
    assert_eq!(shutdown.begin(at(1), 4 * SECOND), Begun::Shortened { deadline: at(5) });
    assert_eq!(shutdown.begin(at(2), 4 * SECOND), Begun::Unchanged { deadline: at(5) });
    assert_eq!(shutdown.step(at(4), BUSY), Step::Wait { until: at(5) });
    assert_eq!(shutdown.step(at(5), BUSY), Step::Cancel { until: at(6) });
}

#[test]
fn a_second_signal_cancels_at_once_and_a_third_does_not_wait_for_handlers() {
    let mut shutdown = draining();
    assert_eq!(shutdown.begin(at(1), Duration::ZERO), Begun::Shortened { deadline: at(1) });
    assert_eq!(shutdown.step(at(1), BUSY), Step::Cancel { until: at(2) });
    assert_eq!(shutdown.begin(at(1), Duration::ZERO), Begun::Shortened { deadline: at(1) });
    assert_eq!(shutdown.step(at(1), BUSY), Step::Close(End::Abandoned { left: BUSY }));
}

#[test]
fn begin_does_not_lengthen_the_time_of_cancelled_handlers() {
    let mut shutdown = cancelling();
    assert_eq!(shutdown.begin(at(10), GRACE), Begun::Unchanged { deadline: at(11) });
    assert_eq!(shutdown.phase(), Phase::Cancelling { deadline: at(11) });
}

#[test]
fn a_closed_bus_stays_closed_with_the_end_it_had() {
    let mut shutdown = cancelling();
    let end = End::Abandoned { left: BUSY };
    assert_eq!(shutdown.step(at(11), BUSY), Step::Close(end));
    assert_eq!(shutdown.begin(at(12), GRACE), Begun::Over { end });
    assert_eq!(shutdown.step(at(12), NOTHING), Step::Close(end));
}

#[test]
fn an_endless_grace_waits_and_does_not_overflow() {
    let mut shutdown = Shutdown::new();
    shutdown.begin(at(0), Duration::MAX);
    assert!(matches!(shutdown.step(at(1_000_000), BUSY), Step::Wait { .. }));
    assert_eq!(shutdown.step(at(1_000_000), NOTHING), Step::Close(End::Drained));
}

#[test]
fn publishes_from_outside_are_refused_first_and_those_of_handlers_last() {
    let closed = Phase::Closed { end: End::Drained };
    let phases = [Phase::Running, draining().phase(), cancelling().phase(), closed];
    assert_eq!(phases.map(|phase| phase.admits(Origin::Outside)), [true, false, false, false]);
    assert_eq!(phases.map(|phase| phase.admits(Origin::Handler)), [true, true, true, false]);
    assert_eq!(phases.map(Phase::starts_attempts), [true, true, false, false]);
}

#[test]
fn an_end_says_what_was_left() {
    assert_eq!(End::Drained.to_string(), "drained");
    assert_eq!(End::Abandoned { left: BUSY }.to_string(), "abandoned with 2 waiting and 1 running");
}

#[derive(Debug, Clone)]
enum Call {
    Begin(Duration),
    Step(Outstanding),
}

fn any_calls() -> impl Strategy<Value = Vec<(Duration, Call)>> {
    let millis = |most: u64| (0..most).prop_map(Duration::from_millis);
    let call = prop_oneof![
        1 => millis(5_000).prop_map(Call::Begin),
        3 => (0_u64..3, 0_u64..3).prop_map(|(waiting, running)| Call::Step(Outstanding { waiting, running })),
    ];
    vec((millis(1_000), call), 0..40)
}

/// How far a phase is, and its deadline.
fn progress(phase: Phase) -> (u8, Option<Instant>) {
    match phase {
        Phase::Running => (0, None),
        Phase::Draining { deadline } => (1, Some(deadline)),
        Phase::Cancelling { deadline } => (2, Some(deadline)),
        Phase::Closed { .. } => (3, None),
    }
}

proptest! {
    #[test]
    fn the_phase_only_moves_forward_and_its_deadline_only_closer(calls in any_calls()) {
        let mut shutdown = Shutdown::new();
        let mut now = epoch();
        for (pause, call) in calls {
            now += pause;
            let before = progress(shutdown.phase());
            match call {
                Call::Begin(grace) => {
                    shutdown.begin(now, grace);
                }
                Call::Step(work) => {
                    let step = shutdown.step(now, work);
                    prop_assert_eq!(matches!(step, Step::Close(_)), progress(shutdown.phase()).0 == 3);
                    if let Step::Wait { until } | Step::Cancel { until } = step {
                        prop_assert!(now < until);
                        prop_assert_eq!(progress(shutdown.phase()).1, Some(until));
                    }
                }
            }
            let after = progress(shutdown.phase());
            prop_assert!(before.0 <= after.0);
            prop_assert!(before.0 < after.0 || after.1 <= before.1);
        }
    }

    #[test]
    fn stepping_at_each_moment_named_closes_within_both_graces(
        grace in (0_u64..100_000).prop_map(Duration::from_millis),
        waiting in 0_u64..3,
        running in 0_u64..3,
    ) {
        let work = Outstanding { waiting, running };
        let mut shutdown = Shutdown::new();
        shutdown.begin(epoch(), grace);
        let mut now = epoch();
        let mut cancelled = 0;
        let end = loop {
            match shutdown.step(now, work) {
                Step::Wait { until } => now = until,
                Step::Cancel { until } => {
                    prop_assert_eq!(now, epoch() + grace);
                    cancelled += 1;
                    now = until;
                }
                Step::Close(end) => break end,
                Step::Run => prop_assert!(false, "begun, and running"),
            }
        };
        prop_assert!(now <= epoch() + grace + CANCEL_GRACE);
        prop_assert_eq!(cancelled, u32::from(running > 0));
        prop_assert_eq!(end, if work.is_empty() { End::Drained } else { End::Abandoned { left: work } });
    }
}
