//! Power cuts, played in the process's own user rights: a shim records what a store writes and syncs, and at any point
//! of that record a disk is built of what was durable and of any part of the rest. A killed process proves nothing about
//! this, because what it wrote lives on in the page cache.
//!
//! A new store is tried by adding a [`Scenario`] to [`SCENARIOS`] and a test beside the ones below, and it needs a control
//! too: a harness under which nothing can be lost proves nothing. A bad image is left on the disk with its log.
//!
//! `BUSWAY_POWER_IMAGES` sets how many images a test tries, `BUSWAY_POWER_CUTS` how many cuts on ext4,
//! `BUSWAY_POWER_SEED` which; `--nocapture` shows the rates.
//!
//! Modules, in reading order: `scenario` is what is tried, `recording` lets it work under the shim, `log` is what the
//! shim wrote, `volume` what a disk makes of it, `images` what may be found afterwards, `judging` looks at that, `trial`
//! holds it together. `disk` cuts the power of a real file system instead. `random` chooses; `durable` is the store, `waiting` its schedule and an audit, `bare` LMDB by itself; `model` and `seen` try the harness.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
#![expect(clippy::disallowed_methods, reason = "a test opens files of its own and measures its own speed")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod bare;
mod disk;
mod durable;
mod images;
mod judging;
mod log;
mod model;
mod random;
mod recording;
mod scenario;
mod seen;
mod trial;
mod volume;
mod waiting;

use std::env;
use std::path::Path;

use crate::bare::{BARE, LATE, MAPPED, NAMELESS};
use crate::disk::DISK;
use crate::durable::DURABLE;
use crate::images::Survivors;
use crate::judging::{TRAPS, VERIFY, judge_all};
use crate::recording::{Recording, SCENARIO, Syncs, WORK};
use crate::scenario::{Acker, Scenario, Verdict};
use crate::seen::CALLS;
use crate::trial::{Bad, KEPT, Outcome};
use crate::waiting::WAITING;

/// All that a child can be told to do.
static SCENARIOS: [&Scenario; 8] = [&DURABLE, &WAITING, &BARE, &NAMELESS, &LATE, &MAPPED, &CALLS, &TRAPS];

#[test]
#[ignore = "the entry of the harness's children, which set what they are to do"]
fn child_entry() {
    let Ok(name) = env::var(SCENARIO) else { return };
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap();
    if let Some(store) = env::var_os(WORK) {
        let acks = env::var_os("BUSWAY_POWER_ACKS").unwrap();
        // The test harness has begun a line of its own, and the acknowledgements may go where it writes.
        println!();
        (scenario.work)(Path::new(&store), &Acker::new(Path::new(&acks)));
    } else if let Some(list) = env::var_os(VERIFY) {
        judge_all(scenario, Path::new(&list));
    } else {
        disk::inside(&env::var(DISK).unwrap());
    }
}

#[test]
fn the_store_loses_nothing() {
    loses_nothing(&DURABLE, 2_000);
}

#[test]
fn the_store_with_swallowed_syncs_loses_in_every_worst_image() {
    every_worst_image_loses(&DURABLE, Syncs::Swallowed);
}

#[test]
fn what_waits_is_published_once_and_an_audit_stays_whole() {
    loses_nothing(&WAITING, 500);
}

#[test]
fn what_waits_is_lost_with_swallowed_syncs_in_every_worst_image() {
    every_worst_image_loses(&WAITING, Syncs::Swallowed);
}

#[test]
#[ignore = "needs root, loop devices and ext4: `cargo xtask test` runs it where they are"]
fn on_ext4_the_store_loses_nothing() {
    let cycles = number_in("BUSWAY_POWER_CUTS").unwrap_or(5);
    disk::cycles(cycles, number_in("BUSWAY_POWER_SEED").unwrap_or(SEED), Syncs::Recorded);
}

#[test]
#[ignore = "needs root, loop devices and ext4: `cargo xtask test` runs it where they are"]
fn on_ext4_the_store_with_swallowed_syncs_loses_in_every_cycle() {
    disk::cycles(5, SEED, Syncs::Swallowed);
}

#[test]
fn bare_lmdb_in_its_default_mode_loses_nothing() {
    loses_nothing(&BARE, 2_000);
}

#[test]
fn with_swallowed_syncs_every_worst_image_loses() {
    every_worst_image_loses(&BARE, Syncs::Swallowed);
}

#[test]
fn bare_lmdb_is_lost_when_nobody_syncs_its_directory() {
    every_worst_image_loses(&NAMELESS, Syncs::Recorded);
}

/// Tries the images between worst and best: here it is known what they lose.
#[test]
fn without_a_sync_of_its_meta_page_lmdb_loses_the_last_commit_and_no_more() {
    let recording = Recording::of(&LATE, Syncs::Recorded);
    let outcome = trial::run(&recording, &trial::anywhere(&recording, 400, SEED));
    assert!(!outcome.bad.is_empty(), "the harness proves nothing: {outcome}");
    let more = outcome.bad.iter().any(|bad| bad.verdict != Verdict::Lost(1));
    assert!(!more, "{outcome}\n{}", first_ones(&outcome));
    let by_chance = outcome.bad.iter().any(|bad| matches!(bad.crash.survivors, Survivors::Some(_)));
    assert!(by_chance, "only worst images lost: {outcome}");
}

#[test]
#[should_panic(expected = "[\"data.mdb\"] changed in a way that the shim cannot see")]
fn a_store_that_writes_through_a_mapping_is_refused() {
    Recording::of(&MAPPED, Syncs::Recorded);
}

/// The promise of a store: whatever survived of what was at risk, nothing acknowledged is gone.
fn loses_nothing(scenario: &'static Scenario, images: usize) {
    let images = number_in("BUSWAY_POWER_IMAGES").map_or(images, |images| usize::try_from(images).unwrap());
    let seed = number_in("BUSWAY_POWER_SEED").unwrap_or(SEED);
    let recording = Recording::of(scenario, Syncs::Recorded);
    let outcome = trial::run(&recording, &trial::anywhere(&recording, images, seed));
    println!("{}: {outcome}", scenario.name);
    if !outcome.bad.is_empty() {
        let shown = first_ones(&outcome);
        let place = recording.keep();
        panic!(
            "{outcome}, seed {seed:#x}; the log and the first images are in {}:\n{shown}",
            place.display()
        );
    }
}

/// The control: without it, a harness that sees nothing would pass for a store that loses nothing. The same cuts with all
/// that was written are fine, so it is the missing syncs that lose.
fn every_worst_image_loses(scenario: &'static Scenario, syncs: Syncs) {
    let recording = Recording::of(scenario, syncs);
    let after = |survivors| trial::run(&recording, &trial::after_acks(&recording, 20, survivors));
    let worst = after(Survivors::Nothing);
    assert_eq!(worst.bad.len(), 20, "the harness proves nothing: {worst}\n{}", first_ones(&worst));
    let best = after(Survivors::Everything);
    assert!(best.bad.is_empty(), "the harness loses what was there: {best}\n{}", first_ones(&best));
}

fn first_ones(outcome: &Outcome) -> String {
    let line = |Bad { crash, directory, acked, verdict }: &Bad| {
        format!("{}: {verdict:?} of {acked}; {crash}\n", directory.display())
    };
    outcome.bad.iter().take(KEPT).map(line).collect()
}

fn number_in(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    Some(number.unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// Of the choices that every run makes; another one is a setting.
const SEED: u64 = 0x6275_7377_6179;
