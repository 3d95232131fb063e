//! Shows damaged stores to judges in processes of their own, many to each: one that ends its judge is a verdict, and the next child goes
//! on with the others.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::judge::Verdict;
use crate::mutation::Mutation;
use crate::store::Original;

/// Where damaged stores lie while they are judged.
pub(crate) struct Court {
    place: TempDir,
}

impl Court {
    pub(crate) fn new() -> Self {
        Self { place: TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap() }
    }

    /// A verdict for each, in order.
    pub(crate) fn judge(&self, original: &Original, mutations: &[Mutation]) -> Vec<Verdict> {
        let folder = |at: usize| self.place.path().join(at.to_string());
        for (at, mutation) in mutations.iter().enumerate() {
            original.copy_to(&folder(at), &mutation.apply(original));
        }
        let mut verdicts = Vec::new();
        while verdicts.len() < mutations.len() {
            let mut lines = String::new();
            (verdicts.len()..mutations.len())
                .for_each(|at| writeln!(lines, "{}", folder(at).display()).unwrap());
            let list = self.place.path().join("list");
            fs::write(&list, lines).unwrap();
            // Ended by SIGXCPU after a minute of computing: a damaged tree may have a loop in it.
            let output = Command::new("sh")
                .args(["-c", "ulimit -S -t 60; exec \"$0\" \"$@\""])
                .arg(env::current_exe().unwrap())
                .args(["child_entry", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
                .env(LIST, list)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            verdicts.extend(String::from_utf8_lossy(&output.stdout).lines().filter_map(Verdict::read));
            if verdicts.len() < mutations.len() {
                let words = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.signal().is_some(), "a judge ended with {}: {words}", output.status);
                verdicts.push(Verdict::Signal(format!("{}", output.status)));
            }
        }
        verdicts
    }
}

/// Tells a child to judge the folders that this file names.
pub(crate) const LIST: &str = "BUSWAY_DAMAGE_LIST";
