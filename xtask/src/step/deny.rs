//! `deny`: licences, banned crates, sources and advisories, by the rules in `deny.toml`.

use std::env;
use std::path::PathBuf;

use anyhow::Result;

use crate::process::Call;
use crate::report::Verdict;
use crate::workspace::Workspace;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checks {
    /// What the lock file and the downloaded crates can answer.
    WithoutAdvisories,
    /// Advisories only, from a database that is already on this machine.
    AdvisoriesAtHand,
    /// Everything; the advisory database is fetched.
    All,
}

/// Fails when a dependency breaks a rule; left out without cargo-deny.
pub(crate) fn run(workspace: &Workspace, checks: Checks) -> Result<Verdict> {
    if !Call::cargo(workspace).args(["deny", "--version"]).succeeds() {
        return Ok(Verdict::LeftOut("cargo-deny is not installed".to_owned()));
    }
    if checks == Checks::AdvisoriesAtHand && !database().is_some_and(|folder| folder.is_dir()) {
        return Ok(Verdict::LeftOut("no advisory database on this machine".to_owned()));
    }
    let call = Call::cargo(workspace).args(["deny", "--all-features"]);
    // Never a download for what `ci` finds at hand.
    let call = if checks == Checks::AdvisoriesAtHand { call.arg("--offline") } else { call };
    let which: &[&str] = match checks {
        Checks::WithoutAdvisories => &["licenses", "bans", "sources"],
        Checks::AdvisoriesAtHand => &["advisories"],
        Checks::All => &["advisories", "licenses", "bans", "sources"],
    };
    // A warning of every second version with the tree above it would bury what matters.
    let call = call.args(["check", "--hide-inclusion-graph"]).args(which);
    call.run()?;
    Ok(Verdict::Passed)
}

/// Where cargo-deny keeps the databases that it fetched.
fn database() -> Option<PathBuf> {
    let home =
        env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))?;
    Some(home.join("advisory-dbs"))
}
