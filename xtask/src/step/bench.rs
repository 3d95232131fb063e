//! `bench`: hands over to the harness in `benches/`, which no other command builds.

use std::path::{Path, absolute};

use anyhow::{Context, Result};

use crate::process::Call;
use crate::workspace::Workspace;

/// What the harness is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    /// Measure suites.
    Measure(Length),
    /// Compare instruction counts with the committed baseline.
    Check,
    /// Write that baseline.
    Bless,
    /// List the suites.
    List,
}

/// How long the harness measures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    /// Long enough for numbers that can be compared.
    Full,
    /// Long enough to see that it works.
    Quick,
}

/// Builds the harness and the programs that it starts, in release mode, and runs it in the root of the workspace.
pub(crate) fn run(workspace: &Workspace, task: Task, suites: &[String], json: Option<&Path>) -> Result<()> {
    Call::cargo(workspace).args(["build", "--release", "-p", PACKAGE, "--bins"]).run()?;
    let call = Call::cargo(workspace).args(["run", "--release", "--quiet", "-p", PACKAGE, "--"]).args(suites);
    let mut call = match task {
        Task::Measure(Length::Full) => call,
        Task::Measure(Length::Quick) => call.arg("--quick"),
        Task::Check => call.arg("--check"),
        Task::Bless => call.arg("--bless"),
        Task::List => call.arg("--list"),
    };
    if let Some(file) = json {
        // The harness runs in the root; the path was written where the user stands.
        let file = absolute(file).with_context(|| format!("not a path: {}", file.display()))?;
        call = call.arg("--json").arg(file);
    }
    call.run()
}

const PACKAGE: &str = "busway-benches";
