//! `docs`: the documentation builds without a warning; its examples run in `test`.

use anyhow::Result;

use crate::process::Call;
use crate::report::Verdict;
use crate::workspace::Workspace;

/// Fails on a broken link, a missing sentence or any other warning of rustdoc.
pub(crate) fn run(workspace: &Workspace) -> Result<Verdict> {
    Call::cargo(workspace)
        .args(["doc", "--no-deps", "--all-features"])
        .env("RUSTDOCFLAGS", "-Dwarnings")
        .run()?;
    Ok(Verdict::Passed)
}
