//! `bench`: hands over to the harness in `benches/`, which no other command builds.

use std::path::{Path, absolute};

use anyhow::{Context, Result};

use crate::process::Call;
use crate::workspace::Workspace;

/// How long the harness measures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    /// Long enough for numbers that can be compared.
    Full,
    /// Long enough to see that it works.
    Quick,
}

/// Builds and runs the harness in release mode.
pub(crate) fn run(
    workspace: &Workspace,
    suites: &[String],
    length: Length,
    json: Option<&Path>,
) -> Result<()> {
    let mut call =
        Call::cargo(workspace).args(["run", "--release", "-p", "busway-benches", "--"]).args(suites);
    if let Length::Quick = length {
        call = call.arg("--quick");
    }
    if let Some(file) = json {
        // The harness runs in the root; the path was written where the user stands.
        let file = absolute(file).with_context(|| format!("not a path: {}", file.display()))?;
        call = call.arg("--json").arg(file);
    }
    call.run()
}
