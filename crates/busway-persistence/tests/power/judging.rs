//! Shows images to the scenario's judge, in child processes: an image that kills its judge is a verdict, and the others
//! are judged by the next child.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::recording::child;
use crate::scenario::{Scenario, Verdict};

/// An image on the disk, and what was acknowledged before it.
#[derive(Debug)]
pub(crate) struct Exhibit {
    pub(crate) directory: PathBuf,
    pub(crate) acked: u64,
}

/// A verdict for each, in order. `list` is a file for the child to read.
pub(crate) fn judge(scenario: &Scenario, exhibits: &[Exhibit], list: &Path) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    while verdicts.len() < exhibits.len() {
        let rest = &exhibits[verdicts.len()..];
        let mut lines = String::new();
        for exhibit in rest {
            writeln!(lines, "{}\t{}", exhibit.acked, exhibit.directory.display()).unwrap();
        }
        fs::write(list, lines).unwrap();
        let output = limited(child(scenario).env(VERIFY, list)).stdout(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let before = verdicts.len();
        verdicts.extend(said.lines().filter_map(read_verdict));
        if verdicts.len() < exhibits.len() {
            verdicts.push(end_of(&output));
        }
        assert!(verdicts.len() > before && verdicts.len() <= exhibits.len(), "the judge said: {said}");
    }
    verdicts
}

/// What it means that a child ended before it had judged all.
fn end_of(output: &Output) -> Verdict {
    match output.status.signal() {
        Some(signal) => Verdict::Signal(signal),
        None => {
            let words = String::from_utf8_lossy(&output.stderr);
            Verdict::Unreadable(format!("the judge ended with {}: {}", output.status, words.trim()))
        }
    }
}

/// The same command, ended by SIGXCPU after a minute of computing: a damaged tree may have a loop in it.
fn limited(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -S -t 60; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    shell
}

/// The child's half: judges what `list` names, one line each.
pub(crate) fn judge_all(scenario: &Scenario, list: &Path) {
    // The test harness has begun a line of its own.
    println!();
    for line in fs::read_to_string(list).unwrap().lines() {
        let (acked, directory) = line.split_once('\t').unwrap();
        let (acked, directory) = (acked.parse().unwrap(), Path::new(directory));
        let verdict = panic::catch_unwind(AssertUnwindSafe(|| (scenario.verify)(directory, acked)));
        let verdict = verdict.unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
            Verdict::Unreadable(format!("the judge panicked: {words}"))
        });
        let words = match verdict {
            Verdict::Fine => "fine".to_owned(),
            Verdict::Lost(number) => format!("lost {number}"),
            Verdict::Unreadable(reason) => format!("unreadable {}", reason.replace('\n', "; ")),
            Verdict::Signal(_) => panic!("a signal is nothing that a judge can return"),
        };
        println!("{MARK}{words}");
    }
}

fn read_verdict(line: &str) -> Option<Verdict> {
    let words = line.strip_prefix(MARK)?;
    match words.split_once(' ') {
        None => Some(Verdict::Fine),
        Some(("lost", number)) => Some(Verdict::Lost(number.parse().ok()?)),
        Some((_, reason)) => Some(Verdict::Unreadable(reason.to_owned())),
    }
}

/// Tells a child to judge what this file names.
pub(crate) const VERIFY: &str = "BUSWAY_POWER_VERIFY";

/// Begins a line with a verdict.
const MARK: &str = "verdict: ";

/// A judge that says by the number of acknowledgements what it does. It looks at no image.
pub(crate) const TRAPS: Scenario = Scenario {
    name: "traps",
    work: |_, acker| acker.ack(1),
    verify: |_, acked| match acked {
        6 => std::process::abort(),
        7 => panic!("seven"),
        8 => std::process::exit(3),
        9 => Verdict::Unreadable("torn\nin two".to_owned()),
        10 => Verdict::Lost(2),
        _ => Verdict::Fine,
    },
    mapped: &[],
};

#[test]
fn an_image_that_kills_its_judge_is_judged_alone() {
    let place = tempfile::TempDir::new().unwrap();
    let exhibit = |acked| Exhibit { directory: place.path().join("none"), acked };
    let exhibits: Vec<Exhibit> = [1, 6, 6, 2, 7, 8, 9, 10, 3, 6].map(exhibit).into();
    let verdicts = judge(&TRAPS, &exhibits, &place.path().join("list"));
    let [one, six, again, two, seven, eight, nine, ten, three, last] = &verdicts[..] else {
        panic!("{verdicts:?}")
    };
    for fine in [one, two, three] {
        assert_eq!(*fine, Verdict::Fine);
    }
    for aborted in [six, again, last] {
        assert_eq!(*aborted, Verdict::Signal(6));
    }
    assert_eq!(*seven, Verdict::Unreadable("the judge panicked: seven".to_owned()));
    assert!(matches!(eight, Verdict::Unreadable(words) if words.contains("exit status: 3")), "{eight:?}");
    assert_eq!(*nine, Verdict::Unreadable("torn; in two".to_owned()));
    assert_eq!(*ten, Verdict::Lost(2));
}
