//! Runs the work in a child under the shim, and keeps what it said.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::judge::judge;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    /// An I/O error.
    Broken,
    /// The disk is full.
    Full,
    /// A write is carried out by half; what is no write fails.
    Short,
}

impl Failing {
    pub(crate) const ALL: [Self; 3] = [Self::Broken, Self::Full, Self::Short];

    const fn word(self) -> &'static str {
        match self {
            Self::Broken => "eio",
            Self::Full => "enospc",
            Self::Short => "short",
        }
    }
}

/// The shim, built once. There is one at a time: a process that is being started holds for a moment what its parent has open, the
/// lock of another test's store too.
#[derive(Debug)]
pub(crate) struct Shim {
    _alone: MutexGuard<'static, ()>,
    place: TempDir,
    object: PathBuf,
}

/// A run of the child: what it said, and the store that it left.
#[derive(Debug)]
pub(crate) struct Run {
    /// Removed with it.
    _place: TempDir,
    dir: PathBuf,
    failing: Option<Failing>,
    lines: Vec<String>,
}

impl Shim {
    /// # Panics
    /// Without a C compiler.
    pub(crate) fn build() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let place = TempDir::new().unwrap();
        let (source, object) = (place.path().join("shim.c"), place.path().join("shim.so"));
        fs::write(&source, include_str!("shim.c")).unwrap();
        let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let mut words = compiler.split_whitespace();
        // Fortified headers have bodies of their own for the functions that the shim defines.
        let built = Command::new(words.next().unwrap_or("cc"))
            .args(words)
            .args(["-O2", "-Wall", "-Wextra", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-pthread", "-o"])
            .args([&object, &source])
            .output();
        let output = built.unwrap_or_else(|error| {
            panic!("failures are played with a shim in C, and its compiler {compiler} does not start ({error}): name one in CC")
        });
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the shim does not compile: {words}");
        Self { _alone: alone, place, object }
    }

    /// Runs the child to its end; `failing` says which call fails, counted from 1, and how.
    pub(crate) fn run(&self, failing: Option<(u64, Failing)>) -> Run {
        self.run_with(failing, None)
    }

    /// The same for a child that switches the disk to full and back.
    pub(crate) fn run_full(&self) -> Run {
        self.run_with(None, Some(&self.place.path().join("full")))
    }

    fn run_with(&self, failing: Option<(u64, Failing)>, full: Option<&Path>) -> Run {
        // In memory where there is such a place: nothing here loses power, so nobody waits for a disk.
        let place = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        // The shim compares with what the kernel says.
        let dir = place.path().canonicalize().unwrap().join("store");
        let (at, kind) = failing.unwrap_or((0, Failing::Broken));
        let mut child = Command::new(env::current_exe().unwrap());
        child
            .args(["child_entry", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env("LD_PRELOAD", &self.object)
            .env("BUSWAY_FAULTS_DIR", &dir)
            .env("BUSWAY_FAULTS_AT", at.to_string())
            .env("BUSWAY_FAULTS_KIND", kind.word())
            .env(CHILD, &dir)
            .stdin(Stdio::null());
        if let Some(switch) = full {
            child.env(FULL, switch);
        }
        let output = child.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the child ended with {}: {said}\n{words}", output.status);
        let lines = said.lines().map(str::to_owned).collect();
        let failing = failing.map(|(_, failing)| failing).or(full.map(|_| Failing::Full));
        Run { _place: place, dir, failing, lines }
    }
}

impl Run {
    /// How many calls it made.
    pub(crate) fn calls(&self) -> Option<u64> {
        self.lines.iter().find_map(|line| line.strip_prefix("CALLS ")?.parse().ok())
    }

    /// # Errors
    /// What does not fit.
    pub(crate) fn judged(&self) -> Result<(), String> {
        judge(&self.dir, &self.lines, self.failing)
    }

    pub(crate) fn said(&self) -> String {
        self.lines.join("\n")
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

static ALONE: Mutex<()> = Mutex::new(());

/// Tells a child where its store is.
pub(crate) const CHILD: &str = "BUSWAY_FAULTS_CHILD";
/// Names the file that makes the disk full while it is there: for the shim, and for the child that makes and removes it.
pub(crate) const FULL: &str = "BUSWAY_FAULTS_FULL";
