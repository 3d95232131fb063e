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
    /// Picks the summary lines out of everything that a runner wrote. A runner that prints one line a test binary
    /// is summed up in one line, with `label` in front.
    pub(crate) fn of(label: &str, output: &[String]) -> Self {
        let found: Vec<_> = output
            .iter()
            .map(|line| without_colour(line))
            .filter_map(|line| read_line(&line).map(|tally| (line, tally)))
            .collect();
        match found.as_slice() {
            [] => Self::default(),
            [(line, tally)] => Self { lines: vec![format!("{label}: {}", line.trim())], tally: Some(*tally) },
            several => {
                let tally: Tally = several.iter().map(|(_, tally)| *tally).sum();
                Self { lines: vec![format!("{label}: {} runs: {tally}", several.len())], tally: Some(tally) }
            }
        }
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

/// Reads `Summary [ 0.1s] 4 tests run: 3 passed (1 slow), 1 failed, 0 skipped` of nextest, or
/// `test result: ok. 3 passed; 0 failed; 0 ignored; …` of the harness that ships with Rust.
fn read_line(line: &str) -> Option<Tally> {
    let line = line.trim();
    let counts = if line.starts_with("Summary [") {
        let (_, counts) = line.split_once(" run: ")?;
        without_brackets(counts)
    } else {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        counts.to_owned()
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
        assert_eq!(read_line(line), Some(Tally { passed: 4, failed: 3 }));
    }

    #[test]
    fn the_result_line_of_the_built_in_harness_is_read() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(read_line(line), Some(Tally { passed: 12, failed: 1 }));
    }

    #[test]
    fn other_lines_are_not_mistaken_for_summaries() {
        assert_eq!(read_line("test a_thing_is_so ... ok"), None);
        assert_eq!(read_line("3 passed, 0 failed"), None);
    }

    #[test]
    fn several_result_lines_become_one_with_their_sum() {
        let output = lines(&[
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "   Doc-tests busway",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ]);
        let summary = Summary::of("doctests", &output);
        assert_eq!(summary.lines, ["doctests: 2 runs: 5 passed, 0 failed"]);
        assert_eq!(summary.tally, Some(Tally { passed: 5, failed: 0 }));
    }

    #[test]
    fn a_runner_that_ended_early_has_no_tally() {
        let summary = Summary::of("tests", &lines(&["error: could not compile `busway`"]));
        assert_eq!(summary.tally, None);
        assert!(summary.lines.is_empty());
    }

    #[test]
    fn colours_do_not_hide_a_summary() {
        let coloured =
            lines(&["\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] 1 test run: 1 passed, 0 skipped"]);
        assert_eq!(Summary::of("tests", &coloured).tally, Some(Tally { passed: 1, failed: 0 }));
    }
}
