//! `kill -9` of a process that publishes through its bus and handles durably: while the bus starts, while it publishes and handles, while
//! the store's map grows, while it shuts down.
//!
//! A child says what its receipts said and what it handles, a line each, into a pipe, which outlives it. Its parent kills it at a
//! moment that chance chose, opens the store and compares: no acknowledged event is lost, none is there twice, those of a key are in
//! the order in which they were published. At the end a child that nobody kills handles what is left: then every event that was
//! ever stored has been handled, those of each key in order.
//!
//! `BUSWAY_KILL_CYCLES` sets how often (default 100), `BUSWAY_KILL_SEED` which moments.
//!
//! Modules, in reading order: `child` is killed, `account` is what is known of its events; `letters` is about kills between failures,
//! dead letters and redrives, `poison` about children that die of an event by themselves, `waiting` about
//! kills while events wait to be due.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod account;
mod child;
mod letters;
mod poison;
mod waiting;

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::account::Account;

#[test]
#[ignore = "the entry of the children, which are told where the store is"]
fn child_entry() {
    if let Some(dir) = env::var_os(DIR) {
        let number = |variable| env::var(variable).unwrap().parse().unwrap();
        child::work(Path::new(&dir), number(FIRST), number(EVENTS), number(BYTES));
    }
}

#[test]
fn nothing_that_a_receipt_was_given_for_is_lost_doubled_reordered_or_left_unhandled_by_kills() {
    let dir = tempfile::tempdir().unwrap();
    let cycles = number_in("BUSWAY_KILL_CYCLES").unwrap_or(100);
    let mut chance = Chance(number_in("BUSWAY_KILL_SEED").unwrap_or(0x6275_7377_6179));
    let mut account = Account::default();
    for cycle in 0..cycles {
        let moment = Moment::choose(cycle, &mut chance);
        run(dir.path(), cycle, &moment, &mut account);
        let found = account.compare(dir.path());
        assert_eq!(found, Ok(()), "cycle {cycle}, {moment:?}");
    }
    assert!(account.acknowledged() > cycles, "the children did nothing in {cycles} cycles");
    run(dir.path(), cycles, &Moment::Never, &mut account);
    assert_eq!(account.compare(dir.path()), Ok(()));
    assert_eq!(account.all_are_handled(), Ok(()));
    println!("{cycles} kills: {account}");
}

/// When a child is killed.
#[derive(Debug)]
enum Moment {
    /// When it says that it is about to start the bus, or a moment later.
    Starting,
    /// After so many receipts.
    Working(u64),
    /// The same with large events: the map, which begins small, grows every few commits.
    Growing(u64),
    /// When it says that it is about to shut down.
    Closing,
    /// It only handles what is left.
    Never,
}

impl Moment {
    fn choose(cycle: u64, chance: &mut Chance) -> Self {
        match cycle % 10 {
            1 => Self::Starting,
            4 => Self::Closing,
            7 => Self::Growing(chance.below(60)),
            _ => Self::Working(chance.below(60)),
        }
    }

    fn is_now(&self, line: &str, receipts: u64) -> bool {
        match self {
            Self::Starting => line == "STARTING",
            Self::Working(after) | Self::Growing(after) => receipts > *after,
            Self::Closing => line == "CLOSING",
            Self::Never => false,
        }
    }

    /// Events of each key, and how large they are.
    const fn size(&self) -> (u64, u64) {
        match self {
            Self::Growing(_) => (20, 9_000),
            Self::Never => (0, 0),
            _ => (20, 300),
        }
    }
}

fn run(dir: &Path, cycle: u64, moment: &Moment, account: &mut Account) {
    let (events, bytes) = moment.size();
    let mut command = Command::new(env::current_exe().unwrap());
    let command = command
        .args(["--exact", "child_entry", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .env(FIRST, (cycle * 1_000).to_string())
        .env(EVENTS, events.to_string())
        .env(BYTES, bytes.to_string())
        // What a child that is not killed has found wrong.
        .stderr(Stdio::inherit());
    let mut receipts = 0;
    account.begin_run();
    let ended = follow(command, |line| {
        account.hear(line);
        receipts += u64::from(line.starts_with("ACK "));
        moment.is_now(line, receipts)
    });
    assert!(ended.is_killed || ended.is_success, "cycle {cycle}: the child did not come to its end");
}

/// How a child ended.
struct Ended {
    is_killed: bool,
    /// It came to its end all the same, or because nobody killed it.
    is_success: bool,
}

/// Runs a child, and kills it behind the first line of which `is_moment` says so. What it says until it is dead counts: `is_moment` is told of each line.
fn follow(command: &mut Command, mut is_moment: impl FnMut(&str) -> bool) -> Ended {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut is_killed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // The last line may be cut.
        let Ok(line) = line else { break };
        if is_moment(&line) && !is_killed {
            child.kill().unwrap();
            is_killed = true;
        }
    }
    Ended { is_killed, is_success: child.wait().unwrap().success() }
}

/// The same behind so many lines that are whole; whether it came to its end. One that nobody kills has to.
fn follow_lines(command: &mut Command, kill_behind: Option<u64>, mut hear: impl FnMut(&str)) -> bool {
    let mut lines = 0;
    let ended = follow(command, |line| {
        hear(line);
        lines += u64::from(line.ends_with('.'));
        kill_behind == Some(lines)
    });
    assert!(kill_behind.is_some() || ended.is_success, "the child did not come to its end");
    ended.is_success
}

/// A child says a line, which is whole or missing: one call. The test harness may have begun a line.
fn say(line: &str) {
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

fn number_in(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Splitmix64 (Steele, Lea, Flood 2014): any seed will do.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

const DIR: &str = "BUSWAY_KILL_DIR";
const FIRST: &str = "BUSWAY_KILL_FIRST";
const EVENTS: &str = "BUSWAY_KILL_EVENTS";
const BYTES: &str = "BUSWAY_KILL_BYTES";
