//! The ledger beside a model of it.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::epoch::epoch;

/// A digest, or an id: those of 1, 3, 5 and so on rise in another order than their numbers, so that they come above, between and below one another.
fn key(number: u8) -> IdempotencyKey {
    let mut bytes = [number; 16];
    if !number.is_multiple_of(2) {
        (bytes[0], bytes[6], bytes[8]) = (number.wrapping_mul(7) % 16, 0x70, 0x80);
    }
    IdempotencyKey::from_bytes(bytes)
}

const fn lease(owner: u64, epoch: u64) -> Lease {
    Lease { owner, epoch }
}

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
enum Step {
    Lease(u8, Lease, u64),
    Done(u8, Lease, u64),
    Release(u8, Lease),
    /// Known to be done for so long, as from a store.
    Restore(u8, u64),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lease = || (0_u64..3, 0_u64..3).prop_map(|(owner, epoch)| Lease { owner, epoch });
    let step = prop_oneof![
        4 => (0_u8..4, lease(), 1_u64..4).prop_map(|(key, lease, length)| Step::Lease(key, lease, length)),
        2 => (0_u8..4, lease(), 1_u64..6).prop_map(|(key, lease, ttl)| Step::Done(key, lease, ttl)),
        2 => (0_u8..4, lease()).prop_map(|(key, lease)| Step::Release(key, lease)),
        1 => (0_u8..4, 1_u64..6).prop_map(|(key, ttl)| Step::Restore(key, ttl)),
        2 => (1_u64..4).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..80)
}

/// The table of the module, word by word.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Leased(Lease, u64),
    Done(u64),
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    states: HashMap<u8, State>,
}

impl Model {
    fn state(&self, key: u8) -> Option<State> {
        self.states.get(&key).copied().filter(|state| match state {
            State::Leased(_, until) | State::Done(until) => *until > self.now,
        })
    }

    fn lease(&mut self, key: u8, lease: Lease, length: u64) -> Asked {
        match self.state(key) {
            Some(State::Done(_)) => Asked::Done,
            Some(State::Leased(other, until)) if other.owner != lease.owner || other.epoch > lease.epoch => {
                Asked::Busy { until: epoch() + SECOND * u32::try_from(until).unwrap() }
            }
            _ => {
                self.states.insert(key, State::Leased(lease, self.now + length));
                Asked::Leased
            }
        }
    }

    fn done(&mut self, key: u8, lease: Lease, ttl: u64) -> Marked {
        let before = self.state(key);
        let until = match before {
            Some(State::Done(until)) => until.max(self.now + ttl),
            _ => self.now + ttl,
        };
        self.states.insert(key, State::Done(until));
        match before {
            Some(State::Leased(its, _)) if its == lease => Marked::InTime,
            _ => Marked::Late,
        }
    }

    fn release(&mut self, key: u8, lease: Lease) -> bool {
        let is_its_own = matches!(self.states.get(&key), Some(State::Leased(its, _)) if *its == lease);
        if is_its_own {
            self.states.remove(&key);
        }
        is_its_own
    }
}

proptest! {
    #[test]
    fn the_ledger_and_its_model_agree(steps in steps()) {
        let (mut ledger, mut model, mut now) = (Ledger::new(1_000), Model::default(), epoch());
        for step in steps {
            match step {
                Step::Lease(number, lease, length) => {
                    let length_secs = SECOND * u32::try_from(length).unwrap();
                    prop_assert_eq!(ledger.lease(key(number), lease, now, length_secs), model.lease(number, lease, length));
                }
                Step::Done(number, lease, ttl) => {
                    let ttl_secs = SECOND * u32::try_from(ttl).unwrap();
                    prop_assert_eq!(ledger.done(key(number), lease, now, ttl_secs), model.done(number, lease, ttl));
                }
                Step::Release(number, lease) => {
                    prop_assert_eq!(ledger.release(key(number), lease), model.release(number, lease));
                }
                // Keys are restored before anybody asks for them.
                Step::Restore(number, ttl) if !matches!(model.states.get(&number), Some(State::Leased(..))) => {
                    let ttl_secs = SECOND * u32::try_from(ttl).unwrap();
                    ledger.restore(key(number), now + ttl_secs, now);
                    let before = match model.state(number) {
                        Some(State::Done(until)) => until,
                        _ => 0,
                    };
                    model.states.insert(number, State::Done(before.max(model.now + ttl)));
                }
                Step::Restore(..) => {}
                Step::Pass(seconds) => {
                    now += SECOND * u32::try_from(seconds).unwrap();
                    model.now += seconds;
                }
            }
            for number in 0..4 {
                let state = model.state(number);
                prop_assert_eq!(ledger.is_done(key(number), now), matches!(state, Some(State::Done(_))));
                prop_assert_eq!(ledger.is_leased(key(number), now), matches!(state, Some(State::Leased(..))));
            }
        }
    }

    #[test]
    fn what_is_remembered_is_the_last_that_was_done_and_never_more(keys in prop::collection::vec(0_u8..12, 1..200), most in 1_usize..8) {
        let (mut ledger, mut last) = (Ledger::new(most), Vec::new());
        for number in keys {
            ledger.done(key(number), lease(1, 1), epoch(), SECOND);
            last.retain(|other| *other != number);
            last.push(number);
            let kept: Vec<u8> = last.iter().rev().take(most).copied().collect();
            for number in 0..12 {
                prop_assert_eq!(ledger.is_done(key(number), epoch()), kept.contains(&number));
            }
            prop_assert!(ledger.done_keys() <= most && ledger.done.records() <= 2 * most + 65);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Long enough for what is entered and taken out many keys at a time, and for tables that grow; keys are new as a rule, and come again now and then.
    #[test]
    fn many_keys_and_a_plain_list_of_the_last_agree(
        most in 1_usize..600,
        steps in prop::collection::vec((any::<u32>(), 0_u8..16), 1..3_000),
        // One in so many is no id, and in groups of as many ids come in another order.
        (digests, late) in (prop_oneof![Just(1_u32), Just(7), Just(u32::MAX)], 0_u32..4),
    ) {
        let (mut ledger, mut list, mut new) = (Ledger::new(most), std::collections::VecDeque::new(), 0);
        let wide = |number: u32| {
            let key = match number % digests {
                0 => u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
                _ => u128::from(number ^ late) << 80 | 7 << 76 | 0b10 << 62,
            };
            IdempotencyKey::from_bytes(key.to_be_bytes())
        };
        for (random, kind) in steps {
            let number = if kind == 0 { random % (new + 1) } else { new };
            new = new.max(number + 1);
            let is_done = list.contains(&number);
            prop_assert_eq!(ledger.lease(wide(number), lease(1, 1), epoch(), SECOND) == Asked::Done, is_done);
            if !is_done || kind == 0 {
                ledger.done(wide(number), lease(1, 1), epoch(), SECOND);
                list.retain(|other| *other != number);
                list.push_back(number);
                if list.len() > most {
                    list.pop_front();
                }
            }
            prop_assert_eq!(ledger.done_keys(), list.len());
        }
        for number in 0..new + 10 {
            prop_assert_eq!(ledger.is_done(wide(number), epoch()), list.contains(&number), "{}", number);
        }
        // All of them run out at once.
        let later = epoch() + SECOND;
        ledger.done(wide(new), lease(1, 1), later, SECOND);
        prop_assert_eq!((ledger.done_keys(), ledger.is_done(wide(new), later)), (1, true));
        prop_assert!((0..new).all(|number| !ledger.is_done(wide(number), later)));
    }
}

#[test]
fn what_an_earlier_epoch_says_changes_nothing() {
    let (mut ledger, now) = (Ledger::new(8), epoch());
    assert_eq!(ledger.lease(key(1), lease(7, 1), now, SECOND), Asked::Leased);
    assert_eq!(ledger.lease(key(1), lease(7, 2), now, SECOND), Asked::Leased, "the same owner, later");
    assert!(!ledger.release(key(1), lease(7, 1)), "the earlier one gives back what is not its own");
    assert_eq!(ledger.lease(key(1), lease(7, 1), now, SECOND), Asked::Busy { until: now + SECOND });
    assert!(ledger.is_leased(key(1), now));
}

#[test]
fn a_lease_that_is_asked_for_again_in_the_same_epoch_lasts_from_then_on() {
    let (mut ledger, now) = (Ledger::new(8), epoch());
    for thirds in 0..9_u32 {
        let now = now + SECOND / 3 * thirds;
        assert_eq!(ledger.lease(key(1), lease(7, 1), now, SECOND), Asked::Leased);
        assert_eq!(ledger.lease(key(1), lease(8, 1), now, SECOND), Asked::Busy { until: now + SECOND });
    }
    assert!(ledger.release(key(1), lease(7, 1)), "it is one lease");
}

#[test]
fn what_is_held_ends_when_it_is_let_go_and_asks_for_the_time_of_what_is_known_alone() {
    let (mut ledger, now) = (Ledger::new(8), epoch());
    let nobody_asks = || -> Instant { unreachable!("the key is new") };
    assert_eq!(ledger.hold(key(1), lease(1, 1), nobody_asks), Asked::Leased);
    let a_year_on = now + SECOND * (365 * 24 * 3_600);
    assert!(
        matches!(ledger.hold(key(1), lease(2, 1), || a_year_on), Asked::Busy { until } if until > a_year_on)
    );
    assert!(ledger.is_leased(key(1), a_year_on) && ledger.release(key(1), lease(1, 1)));
    assert_eq!(ledger.hold(key(1), lease(2, 1), nobody_asks), Asked::Leased);
    assert_eq!(ledger.done(key(1), lease(2, 1), a_year_on, SECOND), Marked::InTime);
    assert_eq!(ledger.hold(key(1), lease(3, 1), || a_year_on), Asked::Done);
    assert_eq!(ledger.hold(key(1), lease(3, 1), || a_year_on + SECOND), Asked::Leased, "its time is over");
}

#[test]
fn leases_of_those_who_died_do_not_pile_up() {
    let (mut ledger, mut now) = (Ledger::new(8), epoch());
    for number in 0..10_000_u32 {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let key = IdempotencyKey::from_bytes(bytes);
        assert_eq!(ledger.lease(key, lease(u64::from(number), 1), now, SECOND), Asked::Leased);
        now += SECOND;
    }
    assert!(ledger.leases.len() <= SWEEP_MIN, "{}", ledger.leases.len());
}
