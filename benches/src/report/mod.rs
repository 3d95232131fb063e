//! The answers of a run: as JSON for programs, as a table and plots for people.

mod bars;
mod curves;
mod machine;
mod svg;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub use self::machine::Machine;
pub use self::table::number;
use crate::statistics::median;

/// All suites of a run, with the machine that they ran on.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: Machine,
    suites: Vec<Suite>,
}

/// One question and its contenders.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Suite {
    /// Stable, so that reports can be compared: `inproc/1p1c`.
    pub name: String,
    /// What the numbers are.
    pub unit: String,
    /// Which of two numbers is the better one.
    pub higher_is_better: bool,
    /// The terms, and what is promised under them.
    pub note: String,
    /// The answers.
    pub contenders: Vec<Contender>,
    /// Percentile curves, for the plots.
    #[serde(skip)]
    pub curves: Vec<Curve>,
}

/// One answer: the median, least and most of its runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Contender {
    name: String,
    version: String,
    median: f64,
    min: f64,
    max: f64,
    runs: usize,
    /// One a run, in the order of the rounds.
    #[serde(skip)]
    samples: Vec<f64>,
}

/// The latencies of a contender, all runs together: percentile and nanoseconds, rising.
#[derive(Debug, Clone)]
pub struct Curve {
    /// The contender.
    pub name: String,
    /// Percentile and nanoseconds.
    pub points: Vec<(f64, f64)>,
}

impl Contender {
    /// The summary of `samples`, one a run.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>, samples: Vec<f64>) -> Self {
        let min = samples.iter().copied().fold(f64::INFINITY, f64::min);
        let max = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (median, runs) = (median(&samples), samples.len());
        Self { name: name.into(), version: version.into(), median, min, max, runs, samples }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The middle of its runs.
    #[must_use]
    pub const fn median(&self) -> f64 {
        self.median
    }

    /// One number a run, in the order of the rounds.
    #[must_use]
    pub fn samples(&self) -> &[f64] {
        &self.samples
    }

    /// How often it ran.
    #[must_use]
    pub const fn runs(&self) -> usize {
        self.runs
    }
}

impl Suite {
    /// The contender of this name.
    #[must_use]
    pub fn contender(&self, name: &str) -> Option<&Contender> {
        self.contenders.iter().find(|contender| contender.name == name)
    }
}

impl Report {
    /// The report of a run on this machine. What is told beside an answer comes after all answers.
    #[must_use]
    pub fn new(machine: Machine, mut suites: Vec<Suite>) -> Self {
        suites.sort_by_key(|suite| BESIDE.iter().any(|suffix| suite.name.ends_with(suffix)));
        Self { machine, suites }
    }

    /// The report on one line, for programs: the form that `docs/benchmarks.md` names.
    ///
    /// # Errors
    /// A value has no JSON form.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).context("the report has no JSON form")
    }

    /// The report for people, in Markdown that reads well as it is.
    #[must_use]
    pub fn to_table(&self) -> String {
        table::of(&self.machine, &self.suites)
    }

    /// Writes `report.json`, `report.md` and a plot a suite into a folder.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let write = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
        };
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        write("report.json", &self.to_json()?)?;
        write("report.md", &self.to_table())?;
        for suite in &self.suites {
            let name = suite.name.replace('/', "-");
            write(&format!("{name}.svg"), &bars::plot(suite))?;
            if !suite.curves.is_empty() {
                write(&format!("{name}-percentiles.svg"), &curves::plot(suite))?;
            }
        }
        Ok(())
    }
}

/// Context switches, syncs and bytes, of the same laps as the answer.
const BESIDE: &[&str] = &["-switches", "-syncs", "-bytes"];

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let contenders = vec![
            Contender::new("busway", "0.1.0", vec![1.0, 3.0, 2.0]),
            Contender::new("flume", "0.12.0", vec![4.0, 4.0, 4.0]),
        ];
        let suite = Suite {
            name: "inproc/1p1c".to_owned(),
            unit: "events/s".to_owned(),
            higher_is_better: true,
            note: "in memory".to_owned(),
            contenders,
            curves: vec![Curve { name: "busway".to_owned(), points: vec![(50.0, 900.0), (99.9, 2_000.0)] }],
        };
        Report::new(Machine::default(), vec![suite])
    }

    #[test]
    fn the_json_has_the_form_that_other_programs_read() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json().unwrap()).unwrap();
        assert!(json["machine"].is_object());
        assert_eq!(
            json["suites"],
            serde_json::json!([{
                "name": "inproc/1p1c", "unit": "events/s", "higher_is_better": true, "note": "in memory",
                "contenders": [
                    {"name": "busway", "version": "0.1.0", "median": 2.0, "min": 1.0, "max": 3.0, "runs": 3},
                    {"name": "flume", "version": "0.12.0", "median": 4.0, "min": 4.0, "max": 4.0, "runs": 3},
                ],
            }])
        );
    }

    #[test]
    fn a_folder_holds_the_report_in_each_form() {
        let folder = std::env::temp_dir().join(format!("busway-bench-report-{}", std::process::id()));
        report().write(&folder).unwrap();
        let mut names: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(names, ["inproc-1p1c-percentiles.svg", "inproc-1p1c.svg", "report.json", "report.md"]);
    }
}
