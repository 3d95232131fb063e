//! `clippy`: lints with warnings denied; which lints, is said in the root manifest and in `clippy.toml`.

use anyhow::Result;

use crate::process::Call;
use crate::report::Verdict;
use crate::workspace::Workspace;

/// Which members are linted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope {
    /// Those that a plain cargo command builds.
    DefaultMembers,
    /// The bench harness too, with the competitors that it has to build first.
    Everything,
}

/// Fails on any warning in any target with all features on.
pub(crate) fn run(workspace: &Workspace, scope: Scope) -> Result<Verdict> {
    let mut call = Call::cargo(workspace).arg("clippy");
    if let Scope::Everything = scope {
        call = call.arg("--workspace");
    }
    call.args(["--all-targets", "--all-features", "--", "-D", "warnings"]).run()?;
    Ok(Verdict::Passed)
}
