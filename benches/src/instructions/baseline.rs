//! The committed counts, and what may become of them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::report::number;

/// Instructions a message of each workload, as they were when somebody said that they were good.
#[derive(Debug, Serialize, Deserialize)]
pub struct Baseline {
    /// Counts are comparable within one of these only.
    arch: String,
    per_message: BTreeMap<String, f64>,
}

/// What became of a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    name: String,
    was: Option<f64>,
    is: Option<f64>,
}

impl Baseline {
    /// These counts, on this processor family.
    #[must_use]
    pub fn of(per_message: BTreeMap<String, f64>) -> Self {
        let per_message = per_message.into_iter().map(|(name, count)| (name, count.round())).collect();
        Self { arch: std::env::consts::ARCH.to_owned(), per_message }
    }

    /// # Errors
    /// There is no such file, or it is something else.
    pub fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("there is no baseline {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no baseline", file.display()))
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("the baseline has no JSON form")?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }

    /// Each workload that is in the baseline or in `counts`.
    #[must_use]
    pub fn changes(&self, counts: &BTreeMap<String, f64>) -> Vec<Change> {
        let new = counts.keys().filter(|name| !self.per_message.contains_key(*name));
        let names = self.per_message.keys().chain(new);
        names
            .map(|name| Change {
                name: name.clone(),
                was: self.per_message.get(name).copied(),
                is: counts.get(name).copied(),
            })
            .collect()
    }
}

impl Change {
    /// Whether the check fails: grown too much, not counted any more, or never blessed.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.growth().is_none_or(|growth| growth > GROWTH_MAX)
    }

    fn growth(&self) -> Option<f64> {
        Some(self.is? / self.was? - 1.0)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [was, is] = [self.was, self.is].map(|count| count.map_or_else(|| "-".to_owned(), number));
        let growth = match (self.growth(), self.was) {
            (Some(growth), _) => format!("{:+.1} %", growth * 100.0),
            (None, Some(_)) => "gone".to_owned(),
            (None, None) => "new".to_owned(),
        };
        let verdict = if self.is_failure() { "  FAILED" } else { "" };
        write!(f, "{:<28} {was:>10} {is:>10} {growth:>8}{verdict}", self.name)
    }
}

/// Less is the noise of hash seeds and of what the optimizer inlines; more is a change that somebody should have meant.
pub const GROWTH_MAX: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, f64)]) -> BTreeMap<String, f64> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn failures(before: &[(&str, f64)], now: &[(&str, f64)]) -> Vec<String> {
        let changes = Baseline::of(counts(before)).changes(&counts(now));
        changes.into_iter().filter(Change::is_failure).map(|change| change.name).collect()
    }

    #[test]
    fn growth_above_five_percent_fails_and_shrinking_does_not() {
        let before = [("a", 1_000.0), ("b", 1_000.0), ("c", 1_000.0)];
        assert_eq!(failures(&before, &[("a", 1_049.0), ("b", 1_051.0), ("c", 500.0)]), ["b"]);
    }

    #[test]
    fn a_workload_that_vanished_or_is_new_fails() {
        assert_eq!(failures(&[("a", 1.0), ("b", 1.0)], &[("a", 1.0), ("c", 1.0)]), ["b", "c"]);
    }

    #[test]
    fn a_baseline_reads_what_was_written() {
        let file = std::env::temp_dir().join(format!("busway-baseline-{}.json", std::process::id()));
        Baseline::of(counts(&[("a", 1_000.4)])).write(&file).unwrap();
        let read = Baseline::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(read.per_message, counts(&[("a", 1_000.0)]));
        assert!(Baseline::read(&file).is_err());
    }

    #[test]
    fn a_change_is_told_in_one_line() {
        let changes = Baseline::of(counts(&[("a", 1_000.0)])).changes(&counts(&[("a", 1_200.0)]));
        assert!(changes[0].to_string().ends_with("1000       1200  +20.0 %  FAILED"), "{}", changes[0]);
    }
}
