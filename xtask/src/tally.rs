//! What a test runner says at its end: finding its summary lines, and the numbers in them.

use std::fmt;
use std::iter::Sum;

/// Tests that ran, by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed, retried ones included.
    pub(crate) passed: u64,
    /// Tests that failed, timed out or could not be started.
    pub(crate) failed: u64,
}

/// The last words of one test runner.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Its summary lines as it wrote them.
    pub(crate) lines: Vec<String>,
    /// Their sum; none when there were no such lines, as after a build that failed.
    pub(crate) tally: Option<Tally>,
}

impl Summary {
    /// Picks the summary out of everything that a runner wrote. Several result lines, one of each test binary, are
    /// summed up in one.
    ///
    /// A runner that fails without a failed test had an accident, such as a test binary that aborted: then what its
    /// lines say is not all that happened, and there is no tally.
    pub(crate) fn of(label: &str, runner: Runner, output: &[String], ended: Ended) -> Self {
        let read = |line: &String| {
            let line = without_colour(line);
            runner.read(&line).map(|tally| (line, tally))
        };
        let mut found: Vec<_> = output.iter().filter_map(read).collect();
        if runner == Runner::Nextest {
            // It writes one, at its end; an earlier one was written by a test.
            found.drain(..found.len().saturating_sub(1));
        }
        let total: Tally = found.iter().map(|(_, tally)| *tally).sum();
        let lines = match found.as_slice() {
            [] => return Self::default(),
            [(line, _)] => vec![format!("{label}: {}", line.trim())],
            several => vec![format!("{label}: {} runs: {total}", several.len())],
        };
        let accident = ended == Ended::Badly && total.failed == 0;
        Self { lines, tally: (!accident).then_some(total) }
    }
}

/// Who ran the tests. nextest repeats the output of failed tests, in which the built-in harness sums up too: the two
/// must not be mixed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// cargo-nextest.
    Nextest,
    /// The harness that ships with Rust, for doctests too.
    BuiltIn,
}

/// The runner's own opinion of how it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With success.
    Well,
    /// With anything else.
    Badly,
}

impl Runner {
    /// Reads `Summary [ 0.1s] 4 tests run: 3 passed (1 slow), 1 failed, 0 skipped`, or
    /// `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
    fn read(self, line: &str) -> Option<Tally> {
        let counts = match self {
            Self::Nextest => {
                let (_, counts) = line.trim_start().strip_prefix("Summary [")?.split_once(" run: ")?;
                without_brackets(counts)
            }
            Self::BuiltIn => line.strip_prefix("test result: ")?.split_once(". ")?.1.to_owned(),
        };
        let mut tally = Tally::default();
        for part in counts.split([',', ';']) {
            let Some((number, word)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match word.trim() {
                "passed" => tally.passed += number,
                "failed" | "timed out" | "exec failed" => tally.failed += number,
                _ => {}
            }
        }
        Some(tally)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |sum, next| Self {
            passed: sum.passed + next.passed,
            failed: sum.failed + next.failed,
        })
    }
}

/// `3 passed (1 slow, 1 flaky), 1 failed` without what is in brackets, whose commas would be mistaken for ours.
fn without_brackets(text: &str) -> String {
    let mut depth = 0_u32;
    let outside = text.chars().filter(|character| match character {
        '(' => {
            depth += 1;
            false
        }
        ')' => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    });
    outside.collect()
}

/// The line without terminal escapes of the form `ESC [ … letter`.
fn without_colour(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.split_once(|character: char| character.is_ascii_alphabetic());
        plain.push_str(rest.map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn the_summary_of_nextest_is_read() {
        let line = "     Summary [   0.005s] 7 tests run: 4 passed (1 slow, 1 flaky), 2 failed, 1 timed out, 3 skipped";
        assert_eq!(Runner::Nextest.read(line), Some(Tally { passed: 4, failed: 3 }));
    }

    #[test]
    fn the_result_line_of_the_built_in_harness_is_read() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(Runner::BuiltIn.read(line), Some(Tally { passed: 12, failed: 1 }));
    }

    #[test]
    fn other_lines_are_not_mistaken_for_summaries() {
        assert_eq!(Runner::BuiltIn.read("test a_thing_is_so ... ok"), None);
        assert_eq!(Runner::Nextest.read("3 passed, 0 failed"), None);
    }

    #[test]
    fn several_result_lines_become_one_with_their_sum() {
        let output = lines(&[
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "   Doc-tests busway",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ]);
        let summary = Summary::of("doctests", Runner::BuiltIn, &output, Ended::Well);
        assert_eq!(summary.lines, ["doctests: 2 runs: 5 passed, 0 failed"]);
        assert_eq!(summary.tally, Some(Tally { passed: 5, failed: 0 }));
    }

    #[test]
    fn a_runner_that_ended_early_has_no_tally() {
        let summary = Summary::of(
            "tests",
            Runner::Nextest,
            &lines(&["error: could not compile `busway`"]),
            Ended::Badly,
        );
        assert_eq!(summary.tally, None);
        assert!(summary.lines.is_empty());
    }

    #[test]
    fn colours_do_not_hide_a_summary() {
        let coloured =
            lines(&["\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] 1 test run: 1 passed, 0 skipped"]);
        let summary = Summary::of("tests", Runner::Nextest, &coloured, Ended::Well);
        assert_eq!(summary.tally, Some(Tally { passed: 1, failed: 0 }));
    }

    #[test]
    fn what_a_failed_test_printed_is_not_counted_again() {
        let output = lines(&[
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s",
            "     Summary [   0.1s] 2 tests run: 1 passed, 1 failed, 0 skipped",
            "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s",
        ]);
        let summary = Summary::of("tests", Runner::Nextest, &output, Ended::Badly);
        assert_eq!(summary.tally, Some(Tally { passed: 1, failed: 1 }));
    }

    #[test]
    fn a_runner_that_fails_without_a_failed_test_has_no_tally() {
        let output =
            lines(&["test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; 0.00s"]);
        let summary = Summary::of("tests", Runner::BuiltIn, &output, Ended::Badly);
        assert_eq!(summary.tally, None);
        assert_eq!(summary.lines.len(), 1);
    }
}
