//! `msrv`: the published crates compile with the oldest Rust that their manifests promise.

use anyhow::{Context, Result};

use crate::process::Call;
use crate::report::Verdict;
use crate::workspace::Workspace;

/// Fails when a published crate needs a newer Rust; left out when the promised one is not installed.
pub(crate) fn run(workspace: &Workspace) -> Result<Verdict> {
    let promised = workspace
        .published()
        .find_map(|package| package.rust_version.as_ref())
        .context("no published crate states its rust-version")?;
    let toolchain = format!("{}.{}", promised.major, promised.minor);
    let rustup = || Call::program(workspace, "rustup").args(["run", &toolchain, "cargo"]);
    // Asking must not start a download.
    if !rustup().arg("--version").env("RUSTUP_AUTO_INSTALL", "0").succeeds() {
        return Ok(Verdict::LeftOut(format!("toolchain {toolchain} is not installed")));
    }
    rustup().args(["check", "--all-features"]).args(workspace.published_arguments()).run()?;
    Ok(Verdict::Passed)
}
