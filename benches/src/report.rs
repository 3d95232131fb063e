//! The report: medians of interleaved runs, as a table and as JSON.

use std::fmt;

use serde::Serialize;

/// All suites of a run, with the machine that they ran on.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    suites: Vec<Suite>,
}

/// What the numbers depend on most.
#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    os: &'static str,
    arch: &'static str,
}

/// One question and its contenders.
#[derive(Debug, Serialize)]
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) higher_is_better: bool,
    pub(crate) note: &'static str,
    pub(crate) contenders: Vec<Contender>,
}

/// One answer: the median, least and most of its runs.
#[derive(Debug, Serialize)]
pub(crate) struct Contender {
    name: &'static str,
    version: &'static str,
    median: f64,
    min: f64,
    max: f64,
    runs: usize,
}

impl Report {
    pub(crate) fn new(suites: Vec<Suite>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { machine: Machine { cores, os: std::env::consts::OS, arch: std::env::consts::ARCH }, suites }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Contender {
    /// The summary of `samples`, one a run.
    pub(crate) fn new(name: &'static str, version: &'static str, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |index: usize| samples.get(index).copied().unwrap_or(f64::NAN);
        let (runs, median) = (samples.len(), at(samples.len() / 2));
        Self { name, version, median, min: at(0), max: at(runs.saturating_sub(1)), runs }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} cores, {} {}", self.machine.cores, self.machine.os, self.machine.arch)?;
        for suite in &self.suites {
            writeln!(f, "\n{} ({}; {})", suite.name, suite.unit, suite.note)?;
            let first = suite.contenders.first().map_or(f64::NAN, |contender| contender.median);
            for contender in &suite.contenders {
                let (name, ratio) = (contender.name, first / contender.median);
                let (median, min, max) = (contender.median, contender.min, contender.max);
                writeln!(f, "  {name:<20} {median:>14.0} [{min:.0} … {max:.0}]   busway is {ratio:.2} ×")?;
            }
        }
        Ok(())
    }
}
