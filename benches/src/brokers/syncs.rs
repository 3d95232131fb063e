//! How often another process syncs: counted by `perf`, in a lap of its own, because counting makes every call a little dearer.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// What `perf stat` counts: the calls that make a file durable. Files that are opened to be written through are not among them; neither
/// server opens any such for its events.
const CALLS: &str = "syscalls:sys_enter_fsync,syscalls:sys_enter_fdatasync";

/// Counts, from its making to [`Counter::count`].
#[derive(Debug)]
pub struct Counter {
    perf: Child,
}

impl Counter {
    /// Begins to count the calls of a process. `None` where `perf` is missing or may not count.
    ///
    /// # Errors
    /// `perf` was started and cannot be spoken to.
    pub fn of(pid: u32, folder: &Path) -> Result<Option<Self>> {
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ",", "-e", CALLS, "-p", &pid.to_string(), "-o"]).arg(folder.join(COUNTS));
        // It counts for as long as this program runs: until its input ends.
        perf.args(["--", "cat"]);
        perf.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut perf) = perf.spawn() else { return Ok(None) };
        let (mut input, mut output) = (perf.stdin.take(), perf.stdout.take());
        // What comes back says that counting has begun. A `perf` that has ended, because it may not count, gives nothing back.
        let begun = input.as_mut().context("a pipe")?.write_all(b"\n").is_ok()
            && output.as_mut().context("a pipe")?.read(&mut [0])? == 1;
        if !begun {
            perf.wait()?;
            return Ok(None);
        }
        perf.stdin = input;
        Ok(Some(Self { perf }))
    }

    /// Ends it: how many calls there were.
    ///
    /// # Errors
    /// `perf` failed.
    pub fn count(mut self, folder: &Path) -> Result<u64> {
        drop(self.perf.stdin.take());
        let status = self.perf.wait()?;
        ensure!(status.success(), "perf ended with {status}");
        let text = fs::read_to_string(folder.join(COUNTS)).context("perf has written nothing")?;
        in_text(&text).with_context(|| format!("perf has counted nothing: {text}"))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // Nothing is left to be ended when it was asked for its count.
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}

/// The sum over both calls; `None` unless both were counted.
fn in_text(text: &str) -> Option<u64> {
    let counts = text.lines().filter(|line| line.contains(",syscalls:"));
    let counts: Vec<u64> = counts.map(|line| line.split(',').next()?.parse().ok()).collect::<Option<_>>()?;
    (counts.len() == 2).then(|| counts.iter().sum())
}

const COUNTS: &str = "perf.csv";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_calls_are_summed_and_one_that_was_not_counted_spoils_the_sum() {
        let text = "# started on Thu\n\n1102,,syscalls:sys_enter_fsync,375,100.00,,\n3,,syscalls:sys_enter_fdatasync,375,100.00,,\n";
        assert_eq!(in_text(text), Some(1_105));
        assert_eq!(in_text(&text.replace("\n3,", "\n<not counted>,")), None);
        assert_eq!(in_text("# started on Thu\n"), None);
    }
}
