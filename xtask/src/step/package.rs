//! `package`: what would be uploaded builds, from nothing but what would be uploaded.

use anyhow::Result;

use crate::process::Call;
use crate::report::Verdict;
use crate::workspace::Workspace;

/// Which files may be in a package.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Files {
    /// Only committed ones, as for a release.
    Committed,
    /// The working tree as it is.
    AsTheyAre,
}

/// Fails when a published crate cannot be packaged, or does not build from its package.
///
/// The crates need not be on the registry: cargo packages them in one go and lets each find the others.
pub(crate) fn run(workspace: &Workspace, files: Files) -> Result<Verdict> {
    let mut call = Call::cargo(workspace).arg("package").args(workspace.published_arguments());
    if let Files::AsTheyAre = files {
        call = call.arg("--allow-dirty");
    }
    call.run()?;
    Ok(Verdict::Passed)
}
