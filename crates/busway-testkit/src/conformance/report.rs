//! What came of the cases.

use std::fmt;

use busway_engine::transport::{Capabilities, Capability};

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Result {
    /// The promise was kept.
    Passed,
    /// It was not: what was seen.
    Failed(String),
    /// The transport says that it cannot do that, and why.
    LeftOut(String),
}

/// What came of all cases. Printed, it is a table.
#[derive(Debug, Clone, Default)]
pub struct Report {
    kind: Option<&'static str>,
    capabilities: Option<Capabilities>,
    results: Vec<(&'static str, Result)>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn capabilities(&mut self, kind: &'static str, capabilities: &Capabilities) {
        self.kind = Some(kind);
        self.capabilities = Some(capabilities.clone());
    }

    pub(super) fn add(&mut self, case: &'static str, result: Result) {
        self.results.push((case, result));
    }

    /// Both of them: of a case that failed in one, that it failed.
    pub(super) fn with(mut self, other: Self) -> Self {
        for ((_, result), (_, others)) in self.results.iter_mut().zip(other.results) {
            if !matches!(result, Result::Failed(_)) && others != Result::Passed {
                *result = others;
            }
        }
        self
    }

    /// Whether no case failed, and one passed.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        let failed = |result: &Result| matches!(result, Result::Failed(_));
        !self.results.iter().any(|(_, result)| failed(result))
            && self.results.iter().any(|(_, result)| *result == Result::Passed)
    }

    /// Each case and what came of it.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, &Result)> {
        self.results.iter().map(|(case, result)| (*case, result))
    }

    /// The transport's column of the capability matrix, a line for each capability: its name, and whether and how.
    #[must_use]
    pub fn matrix(&self) -> Vec<(Capability, String)> {
        let of = |capability| {
            self.capabilities.as_ref().map_or_else(String::new, |all| all.of(capability).to_string())
        };
        Capability::ALL.into_iter().map(|capability| (capability, of(capability))).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.kind.unwrap_or("no transport"))?;
        for (case, result) in &self.results {
            match result {
                Result::Passed => writeln!(f, "  passed    {case}")?,
                Result::Failed(seen) => writeln!(f, "  FAILED    {case}: {seen}")?,
                Result::LeftOut(reason) => writeln!(f, "  left out  {case} ({reason})")?,
            }
        }
        for (capability, ability) in self.matrix() {
            writeln!(f, "  {:<34}{ability}", capability.name())?;
        }
        let notes = self.capabilities.iter().flat_map(Capabilities::notes);
        notes.into_iter().try_for_each(|note| writeln!(f, "  note: {note}"))
    }
}
