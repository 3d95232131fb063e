//! What came of the steps: the table at the end of a run, and the totals of the tests.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::tally::{Summary, Tally};

/// Steps in the order in which they ran, and the summaries of the test runners among them.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    summaries: Vec<Summary>,
}

/// How a step ended when it did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It ran and found nothing wrong.
    Passed,
    /// It could not run; the reason names what is missing.
    LeftOut(String),
}

/// What a step that was left out means for the run as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nothing: the table says so, and another machine runs it.
    Excused,
    /// Failure: the step was asked for by name.
    Fails,
}

impl Report {
    /// Runs a step, measures it and keeps its result. An error of the step is printed at once and fails the run.
    pub(crate) fn measure(&mut self, step: &str, run: impl FnOnce() -> Result<Verdict>) {
        println!("\n== {step}");
        let start = Instant::now();
        let result = match run() {
            Ok(Verdict::Passed) => Outcome::Passed,
            Ok(Verdict::LeftOut(reason)) => Outcome::LeftOut(reason),
            Err(error) => {
                eprintln!("{step} failed: {error:#}");
                Outcome::Failed(format!("{error:#}"))
            }
        };
        self.rows.push(Row { step: step.to_owned(), took: start.elapsed(), outcome: result });
    }

    /// Keeps what a test runner said of itself, to be repeated below the table.
    pub(crate) fn add_summary(&mut self, summary: Summary) {
        self.summaries.push(summary);
    }

    /// Prints the table, then the runners' summaries, then the total if each of them gave one.
    pub(crate) fn finish(self, missing: Missing) -> ExitCode {
        print!("\n{}", self.table());
        for line in self.summaries.iter().flat_map(|summary| &summary.lines) {
            println!("{line}");
        }
        if let Some(total) = self.total() {
            println!("{total}");
        }
        if self.is_good(missing) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn is_good(&self, missing: Missing) -> bool {
        self.rows.iter().all(|row| match row.outcome {
            Outcome::Passed => true,
            Outcome::LeftOut(_) => missing == Missing::Excused,
            Outcome::Failed(_) => false,
        })
    }

    /// The sum over all runners; none when one of them ended without a summary, because then the sum is unknown.
    fn total(&self) -> Option<Tally> {
        if self.summaries.is_empty() {
            return None;
        }
        self.summaries.iter().map(|summary| summary.tally).sum()
    }

    fn table(&self) -> String {
        let mut lines = vec![format!("{:<24} {:>8}  result", "step", "seconds")];
        lines.extend(self.rows.iter().map(|row| {
            let result = match &row.outcome {
                Outcome::Passed => "ok".to_owned(),
                Outcome::Failed(reason) => format!("failed: {}", first_line(reason)),
                Outcome::LeftOut(reason) => format!("left out: {reason}"),
            };
            format!("{:<24} {:>8.1}  {result}", row.step, row.took.as_secs_f64())
        }));
        lines.join("\n") + "\n"
    }
}

#[derive(Debug)]
struct Row {
    step: String,
    took: Duration,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Passed,
    /// The error with its causes.
    Failed(String),
    LeftOut(String),
}

/// What has room in a table: all of it was printed when it happened.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_failed_step_fails_the_run() {
        let mut report = Report::default();
        report.measure("good", || Ok(Verdict::Passed));
        assert!(report.is_good(Missing::Fails));
        report.measure("bad", || bail!("no"));
        assert!(!report.is_good(Missing::Excused));
    }

    #[test]
    fn a_step_left_out_is_excused_only_when_nobody_asked_for_it() {
        let mut report = Report::default();
        report.measure("sbom", || Ok(Verdict::LeftOut("no tool".to_owned())));
        assert!(report.is_good(Missing::Excused));
        assert!(!report.is_good(Missing::Fails));
        assert!(report.table().contains("left out: no tool"));
    }

    #[test]
    fn the_total_is_unknown_as_soon_as_one_summary_is() {
        let mut report = Report::default();
        assert_eq!(report.total(), None);
        report.add_summary(Summary { lines: vec![], tally: Some(Tally { passed: 2, failed: 1 }) });
        report.add_summary(Summary { lines: vec![], tally: Some(Tally { passed: 3, failed: 0 }) });
        assert_eq!(report.total(), Some(Tally { passed: 5, failed: 1 }));
        report.add_summary(Summary { lines: vec![], tally: None });
        assert_eq!(report.total(), None);
    }
}
