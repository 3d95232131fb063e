//! Storage that fails, at every call that changes a file, one at a time: an I/O error, a full disk, a write that is cut short. And a
//! disk that is full for a while.
//!
//! A child works under a shim that makes one call fail (`shim.c`) and says what the store answers, a line each. What it said is held
//! against the store as it is when it is opened again without the shim: nothing acknowledged is gone, nothing refused is there,
//! nothing is there twice, and after a failure that is no full disk nothing was acknowledged any more.
//!
//! Each call fails in one way, the next one in another; with `BUSWAY_FAULTS_ALL=1` each fails in all of them.
//!
//! Modules, in reading order: `work` is what the child does, `trial` runs it under the shim, `judge` looks at what is left.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod full;
mod judge;
mod trial;
mod work;

use std::env;
use std::path::Path;

use crate::trial::{Failing, Shim};

#[test]
#[ignore = "the entry of the children, which are told what to do"]
fn child_entry() {
    let Some(dir) = env::var_os(trial::CHILD) else { return };
    // The test harness has begun a line of its own.
    println!();
    match env::var_os(trial::FULL) {
        Some(switch) => full::work(Path::new(&dir), Path::new(&switch)),
        None => work::work(Path::new(&dir)),
    }
}

#[test]
fn after_any_failing_call_nothing_acknowledged_is_lost_and_the_store_opens_again() {
    let shim = Shim::build();
    let without = shim.run(None);
    assert_eq!(without.judged(), Ok(()));
    let calls = without.calls().unwrap();
    assert!(calls > 100, "{calls} calls are no scenario");
    let all = env::var("BUSWAY_FAULTS_ALL").is_ok_and(|word| word == "1");
    let mut tried = 0;
    for call in 1..=calls {
        let turn = usize::try_from(call).unwrap() % Failing::ALL.len();
        let (before, rest) = Failing::ALL.split_at(turn);
        for failing in rest.iter().chain(before).take(if all { Failing::ALL.len() } else { 1 }) {
            let run = shim.run(Some((call, *failing)));
            assert_eq!(run.judged(), Ok(()), "call {call} of {calls}, {failing:?}:\n{}", run.said());
            tried += 1;
        }
    }
    println!("{tried} failures, at {calls} calls");
}

#[test]
fn a_disk_that_was_full_refuses_publishes_settles_and_goes_on_without_a_restart() {
    full::try_it(&Shim::build());
}
