//! The circuit against its transition table, on a clock that the tests move.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::epoch::epoch;

const OPEN_FOR: Duration = Duration::from_secs(60);

/// What happens to a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    /// Somebody asks for a call.
    Ask,
    Succeeds,
    Fails,
    SaysNothing,
    Force(Force),
}

/// What else must be true for a row to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum If {
    Always,
    /// The open time is over.
    Over,
    /// It is the last failure that it takes.
    LastFailure,
    /// It is the last success that it takes.
    LastSuccess,
}

use BreakerState::{Closed, HalfOpen, Open};

/// The transition table, while nothing is forced: the first row that applies counts; where none does, the state stays.
const TABLE: &[(BreakerState, On, If, BreakerState)] = &[
    (Closed, On::Fails, If::LastFailure, Open),
    (Open, On::Ask, If::Over, HalfOpen),
    (HalfOpen, On::Fails, If::Always, Open),
    (HalfOpen, On::Succeeds, If::LastSuccess, Closed),
];

/// The same when somebody forces it, from whatever state; the second column is how it was forced before.
const FORCED: &[(Force, Force, BreakerState)] = &[
    (Force::Open, Force::Automatic, Open),
    (Force::Open, Force::Closed, Open),
    (Force::Closed, Force::Automatic, Closed),
    (Force::Closed, Force::Open, Closed),
    (Force::Automatic, Force::Open, HalfOpen),
    (Force::Automatic, Force::Closed, Closed),
];

/// What the table says, with counters as plain as they can be.
struct Model {
    rules: (u32, u32, u32),
    state: BreakerState,
    force: Force,
    generation: u64,
    until: Instant,
    failures: u32,
    successes: u32,
    probes: u32,
}

impl Model {
    fn new((failures, max_probes, required): (u32, u32, u32)) -> Self {
        let rules = (failures, max_probes, required);
        Self {
            rules,
            state: Closed,
            force: Force::Automatic,
            generation: 0,
            until: epoch(),
            failures: 0,
            successes: 0,
            probes: 0,
        }
    }

    fn go(&mut self, to: BreakerState, now: Instant) {
        self.state = to;
        self.generation += 1;
        (self.failures, self.successes, self.probes) = (0, 0, 0);
        self.until = now + OPEN_FOR;
    }

    fn applies(&self, condition: If, now: Instant) -> bool {
        match condition {
            If::Always => true,
            If::Over => self.until <= now,
            If::LastFailure => self.failures + 1 >= self.rules.0,
            If::LastSuccess => self.successes + 1 >= self.rules.2,
        }
    }

    fn happens(&mut self, on: On, now: Instant) {
        if let On::Force(force) = on {
            let before = std::mem::replace(&mut self.force, force);
            if let Some((.., to)) = FORCED.iter().find(|(wanted, was, _)| (*wanted, *was) == (force, before))
            {
                self.go(*to, now);
            }
            return;
        }
        if self.state == HalfOpen && on != On::Ask {
            self.probes -= 1;
        }
        let row = TABLE.iter().find(|(from, what, condition, _)| {
            *from == self.state && *what == on && self.applies(*condition, now)
        });
        if self.force == Force::Automatic
            && let Some((.., to)) = row
        {
            return self.go(*to, now);
        }
        match on {
            On::Succeeds => (self.failures, self.successes) = (0, self.successes + 1),
            On::Fails => self.failures += 1,
            On::Ask | On::SaysNothing | On::Force(_) => {}
        }
    }

    /// Whether a call passes.
    fn ask(&mut self, now: Instant) -> bool {
        self.happens(On::Ask, now);
        match self.state {
            Closed => true,
            Open => false,
            HalfOpen => {
                self.probes += 1;
                self.probes <= self.rules.1 || {
                    self.probes -= 1;
                    false
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Ask,
    /// The oldest call, or the newest, ends.
    End {
        oldest: bool,
        end: CallEnd,
    },
    Force(Force),
    Pass(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end =
        prop_oneof![3 => Just(CallEnd::Failure), 2 => Just(CallEnd::Success), 1 => Just(CallEnd::Neither)];
    let force = prop_oneof![Just(Force::Automatic), Just(Force::Open), Just(Force::Closed)];
    let step = prop_oneof![
        8 => Just(Step::Ask),
        8 => (any::<bool>(), end).prop_map(|(oldest, end)| Step::End { oldest, end }),
        1 => force.prop_map(Step::Force),
        3 => (0_u8..70).prop_map(Step::Pass),
    ];
    vec(step, 0..120)
}

proptest! {
    #[test]
    fn the_circuit_and_its_table_agree(rules in (1_u32..4, 1_u32..4, 1_u32..4), steps in steps()) {
        let (failures, max_probes, required) = rules;
        let settings = BreakerRules::default().opens_after(failures).max_probes(max_probes).required_successes(required);
        let mut circuit = Circuit::new(settings, epoch());
        let (mut model, mut now, mut calls, mut late) = (Model::new(rules), epoch(), Vec::new(), 0);
        for step in steps {
            match step {
                Step::Ask => {
                    let (permission, _) = circuit.permit(now);
                    let passes = model.ask(now);
                    prop_assert_eq!(matches!(permission, Permission::Granted(_)), passes);
                    if let Permission::Granted(generation) = permission {
                        prop_assert_eq!(generation.0, model.generation);
                        calls.push(generation);
                    }
                }
                Step::End { oldest, end } if !calls.is_empty() => {
                    let at = if oldest { 0 } else { calls.len() - 1 };
                    let generation = calls.remove(at);
                    let moved = circuit.record(generation, end, now);
                    if generation.0 == model.generation {
                        let before = model.state;
                        model.happens(match end {
                            CallEnd::Success => On::Succeeds,
                            CallEnd::Failure => On::Fails,
                            CallEnd::Neither => On::SaysNothing,
                        }, now);
                        let expected = (before != model.state).then_some(Moved { from: before, to: model.state });
                        prop_assert_eq!(moved, expected);
                    } else {
                        late += 1;
                        prop_assert_eq!(moved, None);
                    }
                }
                Step::End { .. } => {}
                Step::Force(force) => {
                    circuit.force(force, now);
                    model.happens(On::Force(force), now);
                }
                Step::Pass(seconds) => now += Duration::from_secs(u64::from(seconds)),
            }
            prop_assert_eq!((circuit.state(), circuit.forced()), (model.state, model.force));
            prop_assert_eq!((circuit.generation().0, circuit.probes()), (model.generation, model.probes));
            prop_assert_eq!(circuit.counts().late, late);
        }
    }
}

fn granted(circuit: &mut Circuit, now: Instant) -> Generation {
    match circuit.permit(now) {
        (Permission::Granted(generation), _) => generation,
        other => panic!("refused: {other:?}"),
    }
}

fn fail(circuit: &mut Circuit, times: usize, now: Instant) {
    for _ in 0..times {
        let generation = granted(circuit, now);
        circuit.record(generation, CallEnd::Failure, now);
    }
}

#[test]
fn by_default_it_opens_with_the_fourth_failure_in_a_row_for_a_minute() {
    let mut circuit = Circuit::new(BreakerRules::default(), epoch());
    fail(&mut circuit, 3, epoch());
    let generation = granted(&mut circuit, epoch());
    circuit.record(generation, CallEnd::Success, epoch());
    fail(&mut circuit, 3, epoch());
    assert_eq!(circuit.state(), Closed, "not in a row");
    fail(&mut circuit, 1, epoch());
    let until = epoch() + OPEN_FOR;
    assert_eq!((circuit.state(), circuit.next_probe()), (Open, Some(until)));
    assert_eq!(
        circuit.permit(until.checked_sub(Duration::from_nanos(1)).unwrap()).0,
        Permission::Refused { until: Some(until) }
    );
    assert_eq!(circuit.room(until), Room::Probes(5));
    let probes: Vec<_> = (0..5).map(|_| granted(&mut circuit, until)).collect();
    assert_eq!(circuit.permit(until), (Permission::Refused { until: None }, None), "a sixth probe");
    assert_eq!(
        circuit.record(probes[0], CallEnd::Success, until),
        Some(Moved { from: HalfOpen, to: Closed })
    );
    assert_eq!(circuit.record(probes[1], CallEnd::Failure, until), None, "of an older generation");
    let counts = circuit.counts();
    assert_eq!((counts.failures, counts.successes, counts.refused), (7, 2, 2));
    assert_eq!((counts.late, counts.opened, circuit.is_spotless()), (1, 1, true));
}

#[test]
fn a_probe_that_fails_opens_it_for_longer_and_closing_forgets_that() {
    let rules = BreakerRules::default().opens_after(1).open_for_longest(3 * OPEN_FOR);
    let mut circuit = Circuit::new(rules, epoch());
    let mut now = epoch();
    for times in [1, 2, 3, 3] {
        fail(&mut circuit, 1, now);
        assert_eq!(circuit.next_probe(), Some(now + times * OPEN_FOR));
        now += times * OPEN_FOR;
    }
    let generation = granted(&mut circuit, now);
    circuit.record(generation, CallEnd::Success, now);
    fail(&mut circuit, 1, now);
    assert_eq!(circuit.next_probe(), Some(now + OPEN_FOR));
}

#[test]
fn a_failure_rate_opens_it_though_failures_are_not_in_a_row() {
    let rules = BreakerRules::default().opens_at_rate(50, 6, Duration::from_secs(10));
    let mut circuit = Circuit::new(rules, epoch());
    for _ in 0..3 {
        assert_eq!(circuit.state(), Closed);
        let generation = granted(&mut circuit, epoch());
        circuit.record(generation, CallEnd::Success, epoch());
        assert!(!circuit.is_spotless(), "each success counts in the rate");
        fail(&mut circuit, 1, epoch());
    }
    assert_eq!(circuit.state(), Open);
}

#[test]
fn everything_wrong_with_the_rules_is_said_at_once() {
    let rules = BreakerRules::default()
        .opens_after(0)
        .opens_at_rate(101, 0, Duration::ZERO)
        .open_for(Duration::from_micros(999))
        .max_probes(0)
        .required_successes(0);
    let problems = rules.problems();
    assert_eq!(
        problems,
        [
            BreakerProblem::NoFailures,
            BreakerProblem::NoProbes,
            BreakerProblem::NoSuccesses,
            BreakerProblem::OpenTooShort { time: Duration::from_micros(999) },
            BreakerProblem::Percent { percent: 101 },
            BreakerProblem::NoCalls,
            BreakerProblem::Window { window: Duration::ZERO },
        ]
    );
    // Nothing of it panics all the same, nor does a time without an end.
    let mut circuit = Circuit::new(rules, epoch());
    fail(&mut circuit, 1, epoch());
    assert_eq!(circuit.permit(epoch() + OPEN_FOR).0, Permission::Refused { until: None });
    let mut circuit = Circuit::new(BreakerRules::default().opens_after(1).open_for(Duration::MAX), epoch());
    fail(&mut circuit, 1, epoch());
    assert!(circuit.next_probe().is_some_and(|until| until > epoch() + 1_000 * OPEN_FOR));
}
