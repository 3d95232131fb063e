//! `chaos`: the long form of the tests that kill, cut the power, let calls fail and damage files.

use anyhow::Result;
use clap::ValueEnum;

use crate::process::Call;
use crate::report::Verdict;
use crate::server::binary::{self, Program};
use crate::step::disk;
use crate::workspace::Workspace;

/// A part that is run by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// What breakers, retries and bulkheads are worth.
    Resilience,
    /// The suite of transports, twenty times at once on each, and brokers that are killed fifty times.
    Brokers,
}

/// Runs the same faults with and without protection, and writes what came of it into the documentation.
pub(crate) fn resilience(workspace: &Workspace) -> Result<Verdict> {
    Call::cargo(workspace)
        .env("BUSWAY_RESILIENCE_DOCS", workspace.root().join("docs").display().to_string())
        .args(["test", "--release", "-p", "busway-engine", "--test", "resilience", "--", "--nocapture"])
        .run()?;
    Ok(Verdict::Passed)
}

/// Runs the suite of transports twenty times at once on each, and kills brokers fifty times; those whose server is not here are left out.
pub(crate) fn brokers(workspace: &Workspace) -> Result<Verdict> {
    let cargo = || {
        let cargo = Call::cargo(workspace)
            .env("BUSWAY_SUITE_RUNS", SUITE_RUNS)
            .env("BUSWAY_BROKER_KILLS", BROKER_KILLS);
        cargo.args(["test", "--release", "--all-features"])
    };
    cargo()
        .args([
            "-p",
            "busway-testkit",
            "--test",
            "it",
            "--",
            "--nocapture",
            "as_a_transport",
            "of_a_transport",
        ])
        .run()?;
    // Its cluster is in the test's own process.
    cargo().args(["-p", "busway-kafka", "--test", "it", "--", "--nocapture", CONFORMANCE]).run()?;
    let mut missing = Vec::new();
    for (program, package, prefix) in BROKERS {
        match binary::find(program)? {
            Some(file) => {
                let tests = || {
                    let cargo = cargo().env(program.variable, &file).args(["-p", package, "--test", "it"]);
                    cargo.args(["--", "--ignored", "--nocapture"])
                };
                // Twenty runs of the suite want the machine for themselves: beside them what kills brokers would only see who is slow.
                tests().args([CONFORMANCE, "--test-threads=1"]).run()?;
                tests().args([prefix, "--skip", CONFORMANCE]).run()?;
            }
            None => missing.push(binary::missing(program)),
        }
    }
    Ok(if missing.is_empty() { Verdict::Passed } else { Verdict::LeftOut(missing.join("; ")) })
}

const BROKERS: [(Program, &str, &str); 2] =
    [(binary::NATS, "busway-nats", "on_nats"), (binary::REDIS, "busway-redis", "on_redis")];
/// The tests that run the suite.
const CONFORMANCE: &str = "conformance";
const SUITE_RUNS: &str = "20";
const BROKER_KILLS: &str = "50";

/// How long the long form is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    /// `kill -9` cycles on one store, and as many on one bus.
    pub(crate) kills: u64,
    /// Images of what a power cut may leave.
    pub(crate) images: u64,
    /// Power cuts on a file system of the kernel.
    pub(crate) cuts: u64,
    /// Damaged stores.
    pub(crate) stores: u64,
    /// Publishes of events that are to have their effect once, ten of each.
    pub(crate) publishes: u64,
}

/// Runs all of it in release mode, with their output: they say their rates, and on a failure their seed. Where the power of no file system can be
/// cut, all else is run, and it is left out.
pub(crate) fn run(workspace: &Workspace, length: Length) -> Result<Verdict> {
    for (package, test) in TESTS {
        let cargo = Call::cargo(workspace)
            .env("BUSWAY_KILL_CYCLES", length.kills.to_string())
            .env("BUSWAY_POWER_IMAGES", length.images.to_string())
            .env("BUSWAY_DAMAGE_STORES", length.stores.to_string())
            .env("BUSWAY_FAULTS_ALL", "1");
        cargo.args(["test", "--release", "-p", package, "--test", test, "--", "--nocapture"]).run()?;
    }
    Call::cargo(workspace)
        .env("BUSWAY_ONCE_PUBLISHES", length.publishes.to_string())
        .args(["test", "--release", "-p", "busway-engine", "--test", "it", "--", "--nocapture", EFFECTS])
        .run()?;
    if let Some(obstacle) = disk::obstacle(workspace)? {
        return Ok(Verdict::LeftOut(format!("power cuts on ext4: {obstacle}")));
    }
    Call::cargo(workspace)
        .env("BUSWAY_POWER_CUTS", length.cuts.to_string())
        .args(["test", "--release", "-p", "busway-persistence", "--test", "power"])
        .args(["--", "--ignored", "--nocapture", disk::TESTS])
        .run()?;
    Ok(Verdict::Passed)
}

/// Many publishes of few ids, with crashes.
const EFFECTS: &str = "have_each_effect_once";

const TESTS: [(&str, &str); 5] = [
    ("busway-persistence", "kill"),
    ("busway-engine", "kill"),
    ("busway-persistence", "faults"),
    ("busway-persistence", "damage"),
    ("busway-persistence", "power"),
];
