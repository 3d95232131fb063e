//! `chaos`: the long form of the tests that kill, cut the power, let calls fail and damage files.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
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
    /// The suite of transports, twenty times at once on each, and brokers that go fifty times in each test of that.
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

/// Runs the suite of transports twenty times at once on each, and lets brokers go fifty times in each test of that; those whose server is not here are left out. Whatever fails, the others
/// are run.
pub(crate) fn brokers(workspace: &Workspace) -> Result<Verdict> {
    let (mut missing, mut failed) = (Vec::new(), Vec::new());
    for part in BROKERS {
        let server = match part.server {
            None => None,
            Some(program) => match binary::find(program)? {
                Some(file) => Some((program.variable, file)),
                None => {
                    missing.push(binary::missing(program));
                    continue;
                }
            },
        };
        let tests = part.built(workspace)?;
        for filters in part.runs {
            let call = Call::program(workspace, &tests)
                .within(&workspace.root().join("crates").join(part.package))
                .env("BUSWAY_SUITE_RUNS", SUITE_RUNS)
                .env("BUSWAY_BROKER_KILLS", BROKER_KILLS);
            let call = match &server {
                Some((variable, file)) => call.env(variable, file).arg("--ignored"),
                None => call,
            };
            if let Err(error) = call.arg("--nocapture").args(*filters).run_for(LONGEST) {
                failed.push(error.to_string());
            }
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(if missing.is_empty() { Verdict::Passed } else { Verdict::LeftOut(missing.join("; ")) })
}

/// What is run of a crate.
#[derive(Debug, Clone, Copy)]
struct Carrier {
    package: &'static str,
    /// Features of its build.
    features: &'static [&'static str],
    /// Whose tests are ignored where it is not asked for.
    server: Option<Program>,
    /// By which names tests are run, one after the other. Twenty runs of the suite want the machine for themselves: beside them what kills brokers would only see who is slow.
    runs: &'static [&'static [&'static str]],
}

impl Carrier {
    /// The program of its tests: run by itself it can be ended, and cargo is not in between.
    fn built(self, workspace: &Workspace) -> Result<PathBuf> {
        let cargo = Call::cargo(workspace).args(["test", "--release", "--no-run", "-p", self.package]);
        let cargo =
            cargo.args(self.features).args(["--test", "it", "--message-format", "json-render-diagnostics"]);
        built_in(&cargo.output()?)
            .with_context(|| format!("cargo names no program of the tests of {}", self.package))
    }
}

/// The program that cargo says it has built of the tests.
fn built_in(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let of_tests = messages.filter(|message| message.pointer("/profile/test") == Some(&true.into()));
    of_tests.filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from)).next_back()
}

const BROKERS: [Carrier; 4] = [
    Carrier {
        package: "busway-testkit",
        features: &["--all-features"],
        server: None,
        runs: &[&["as_a_transport", "of_a_transport"]],
    },
    Carrier {
        package: "busway-kafka",
        // With those that need nothing of the system.
        features: &[],
        // Its cluster is in the test's own process.
        server: None,
        runs: &[&[CONFORMANCE, "--test-threads=1"], &["bridge::"]],
    },
    Carrier {
        package: "busway-nats",
        features: &["--all-features"],
        server: Some(binary::NATS),
        runs: &[&[CONFORMANCE, "--test-threads=1"], &["on_nats", "--skip", CONFORMANCE]],
    },
    Carrier {
        package: "busway-redis",
        features: &["--all-features"],
        server: Some(binary::REDIS),
        runs: &[&[CONFORMANCE, "--test-threads=1"], &["on_redis", "--skip", CONFORMANCE]],
    },
];
/// The tests that run the suite.
const CONFORMANCE: &str = "conformance::";
const SUITE_RUNS: &str = "20";
const BROKER_KILLS: &str = "50";
/// So long each of the runs may take: a multiple of what they do, and short of a job's time.
const LONGEST: Duration = Duration::from_secs(30 * 60);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_the_tests_is_found_among_what_cargo_says() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","profile":{"test":false},"executable":"/target/other"}"#,
            "\nwarning: no json\n",
            r#"{"reason":"compiler-artifact","profile":{"test":true},"executable":"/target/it-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(built_in(messages), Some(PathBuf::from("/target/it-1")));
        assert_eq!(built_in(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
