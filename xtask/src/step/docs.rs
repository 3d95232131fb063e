//! `docs`: the documentation builds without a warning; its examples run in `test`.

use anyhow::Result;

use crate::process::Call;
use crate::report::Verdict;
use crate::workspace::Workspace;

/// Fails on a broken link, a missing sentence or any other warning of rustdoc.
pub(crate) fn run(workspace: &Workspace) -> Result<Verdict> {
    let doc = || {
        let cargo = Call::cargo(workspace).env("RUSTDOCFLAGS", "-Dwarnings");
        cargo.args(["doc", "--no-deps", "--all-features"])
    };
    doc().run()?;
    let beside = workspace.published_beside_arguments();
    if !beside.is_empty() {
        doc().args(beside).run()?;
    }
    Ok(Verdict::Passed)
}
