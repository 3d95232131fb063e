//! What is tried: a program that writes and acknowledges, and a judge of what is found after the power cut.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

/// One kind of store. Both functions run in child processes of their own.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// The child is told which by this name.
    pub(crate) name: &'static str,
    /// Writes to a store in the directory, which is empty, and acknowledges what is durable by the store's word. It is
    /// expected to end; every moment until then is played as the moment of the cut.
    pub(crate) work: fn(&Path, &Acker),
    /// Opens the store in the directory and says whether all of `1..=acked` is there and right. A panic counts as
    /// unreadable.
    pub(crate) verify: fn(&Path, u64) -> Verdict,
    /// Files that the store writes through a shared mapping, where the shim cannot see it. They must not matter: an
    /// image has of them what was written by calls. All other files are compared at the end, so that no write can
    /// get past the shim.
    pub(crate) mapped: &'static [&'static str],
}

/// What was found in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All that was acknowledged.
    Fine,
    /// So many acknowledged numbers are gone.
    Lost(u64),
    /// It does not open, or says something that was never written.
    Unreadable(String),
    /// The process that looked at it was ended by this signal. Never returned by a scenario.
    Signal(i32),
}

/// Where the work says what is durable.
#[derive(Debug)]
pub(crate) struct Acker(File);

impl Acker {
    /// `path` is the file that the shim watches.
    pub(crate) fn new(path: &Path) -> Self {
        Self(OpenOptions::new().append(true).open(path).unwrap())
    }

    /// The store has promised that this number survives. Numbers start at 1 and come once each, from any thread and
    /// in any order; a judge is asked about a number when all below it are acknowledged too.
    pub(crate) fn ack(&self, number: u64) {
        // One call, so that the shim sees it whole.
        (&self.0).write_all(format!("ACK {number}\n").as_bytes()).unwrap();
    }
}
