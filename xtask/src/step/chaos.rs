//! `chaos`: the long form of the tests that kill and cut the power.

use anyhow::Result;

use crate::process::Call;
use crate::report::Verdict;
use crate::workspace::Workspace;

/// How long the long form is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    /// `kill -9` cycles on one store.
    pub(crate) kills: u64,
    /// Images of what a power cut may leave.
    pub(crate) images: u64,
}

/// Runs both in release mode, with their output: they say their rates, and on a failure their seed.
pub(crate) fn run(workspace: &Workspace, length: Length) -> Result<Verdict> {
    for test in ["kill", "power"] {
        let cargo = Call::cargo(workspace)
            .env("BUSWAY_KILL_CYCLES", length.kills.to_string())
            .env("BUSWAY_POWER_IMAGES", length.images.to_string());
        cargo
            .args(["test", "--release", "-p", "busway-persistence", "--test", test, "--", "--nocapture"])
            .run()?;
    }
    Ok(Verdict::Passed)
}
