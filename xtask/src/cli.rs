//! The command line: which commands exist, and what each of them is for.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::report::{Missing, Report, Verdict};
use crate::step::{self, bench, chaos, clippy, deny, package, test};
use crate::workspace::Workspace;

/// The checks and chores of the busway workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One command; each has a file of the same name in `step/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything that must hold before a change is merged.
    ///
    /// In this order: fmt, tidy, clippy (bench harness included), docs, deny, advisories, package, isolate, msrv,
    /// coverage, sbom, test.
    ///
    /// Runs all of them even when an early one fails. What a missing tool makes impossible is listed as left out.
    Ci,
    /// Everything that proves the project: tests, doctests and loom models.
    Test {
        /// Leave the loom models out.
        #[arg(long)]
        no_loom: bool,
    },
    /// The formatting of every crate, checked.
    Fmt,
    /// Clippy with warnings denied, all targets, all features.
    Clippy {
        /// Check the bench harness and the competitors that it builds as well.
        #[arg(long)]
        benches: bool,
    },
    /// The rules of the house: layers, file length, names, papers, decision records.
    Tidy,
    /// The documentation, with warnings denied.
    Docs,
    /// Licences, banned crates and sources of every dependency.
    Deny {
        /// Look for known vulnerabilities as well; needs the network or a copy of the advisory database.
        #[arg(long)]
        advisories: bool,
    },
    /// The published crates compile with the oldest Rust they promise to support.
    Msrv,
    /// The line coverage of `crates/`, against its floor.
    Coverage,
    /// A bill of materials (CycloneDX) of each published crate, in the target folder.
    Sbom,
    /// The published crates can be packaged, and build from what was packaged, examples included.
    Package {
        /// Package files that are not committed as well.
        #[arg(long)]
        allow_dirty: bool,
    },
    /// Each crate compiles and passes its tests by itself with no features, its defaults, each single one, and all.
    Isolate {
        /// Only these crates; all when none is named.
        #[arg(value_name = "CRATE")]
        crates: Vec<String>,
    },
    /// Store and bus under kills, failing calls, damage and power cuts, for hours.
    Chaos {
        /// Only this: `resilience` runs the same faults with and without protection, and writes `docs/resilience.md`; `brokers` runs the suite of transports twenty
        /// times at once on each, and lets brokers go fifty times in each test of that: killed, and for Kafka, which is a mock, cut off.
        #[arg(value_enum)]
        only: Option<chaos::Part>,
        /// `kill -9` cycles on one store, and as many on one bus.
        #[arg(long, default_value_t = 10_000)]
        kills: u64,
        /// Images of what a power cut may leave.
        #[arg(long, default_value_t = 1_000_000)]
        images: u64,
        /// Power cuts on ext4, where this machine lets it be mounted.
        #[arg(long, default_value_t = 1_000)]
        cuts: u64,
        /// Damaged stores.
        #[arg(long, default_value_t = 100_000)]
        stores: u64,
        /// Publishes of events that are to have their effect once, ten of each.
        #[arg(long, default_value_t = 1_000_000)]
        publishes: u64,
    },
    /// The benchmark: busway beside what people use instead. Report and plots: `target/bench`.
    Bench {
        /// Suites to run: a name (`inproc/1p1c`) or the start of names (`inproc`); all when none is given.
        #[arg(value_name = "SUITE")]
        suites: Vec<String>,
        /// Fewer and shorter runs: a minute at most for `inproc`, `route` and so on.
        #[arg(long)]
        quick: bool,
        /// Write the results to this file as well.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Only count instructions; fail if a message costs 5 % more than `benches/instructions.json` says.
        #[arg(long, conflicts_with_all = ["suites", "quick", "json", "bless"])]
        check: bool,
        /// Only count instructions, and write `benches/instructions.json`.
        #[arg(long, conflicts_with_all = ["suites", "quick", "json"])]
        bless: bool,
        /// List the suites.
        #[arg(long, conflicts_with_all = ["suites", "quick", "json", "check", "bless"])]
        list: bool,
    },
}

impl Command {
    /// Runs the command and says how the process should end.
    ///
    /// # Errors
    ///
    /// Only when the workspace itself cannot be read; a failing check is a row of the report.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let workspace = Workspace::load()?;
        let mut report = Report::default();
        match self {
            Self::Ci => {
                step::ci::run(&workspace, &mut report);
                return Ok(report.finish(Missing::Excused));
            }
            Self::Test { no_loom } => {
                let loom = if no_loom { test::Loom::LeaveOut } else { test::Loom::Run };
                test::run(&workspace, &mut report, loom);
                return Ok(report.finish(Missing::Excused));
            }
            Self::Bench { suites, quick, json, check, bless, list } => {
                let task = match (check, bless, list) {
                    (true, ..) => bench::Task::Check,
                    (_, true, _) => bench::Task::Bless,
                    (.., true) => bench::Task::List,
                    _ if quick => bench::Task::Measure(bench::Length::Quick),
                    _ => bench::Task::Measure(bench::Length::Full),
                };
                bench::run(&workspace, task, &suites, json.as_deref())?;
                return Ok(ExitCode::SUCCESS);
            }
            single => report.measure(single.name(), || single.check(&workspace)),
        }
        Ok(report.finish(Missing::Fails))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Ci => "ci",
            Self::Test { .. } => "test",
            Self::Chaos { .. } => "chaos",
            Self::Fmt => "fmt",
            Self::Clippy { .. } => "clippy",
            Self::Tidy => "tidy",
            Self::Docs => "docs",
            Self::Deny { .. } => "deny",
            Self::Msrv => "msrv",
            Self::Coverage => "coverage",
            Self::Sbom => "sbom",
            Self::Package { .. } => "package",
            Self::Isolate { .. } => "isolate",
            Self::Bench { .. } => "bench",
        }
    }

    fn check(&self, workspace: &Workspace) -> Result<Verdict> {
        match self {
            Self::Fmt => step::fmt::run(workspace),
            Self::Clippy { benches: false } => clippy::run(workspace, clippy::Scope::DefaultMembers),
            Self::Clippy { benches: true } => clippy::run(workspace, clippy::Scope::Everything),
            Self::Tidy => crate::tidy::run(workspace),
            Self::Docs => step::docs::run(workspace),
            Self::Deny { advisories: false } => deny::run(workspace, deny::Checks::WithoutAdvisories),
            Self::Deny { advisories: true } => deny::run(workspace, deny::Checks::All),
            Self::Msrv => step::msrv::run(workspace),
            Self::Coverage => step::coverage::run(workspace),
            Self::Sbom => step::sbom::run(workspace),
            Self::Package { allow_dirty: false } => package::run(workspace, package::Files::Committed),
            Self::Package { allow_dirty: true } => package::run(workspace, package::Files::AsTheyAre),
            Self::Chaos { only: Some(chaos::Part::Resilience), .. } => chaos::resilience(workspace),
            Self::Chaos { only: Some(chaos::Part::Brokers), .. } => chaos::brokers(workspace),
            Self::Chaos { only: None, kills, images, cuts, stores, publishes } => {
                let (kills, images, cuts) = (*kills, *images, *cuts);
                let length = chaos::Length { kills, images, cuts, stores: *stores, publishes: *publishes };
                chaos::run(workspace, length)
            }
            Self::Isolate { crates } => step::isolate::run(workspace, crates),
            Self::Ci | Self::Test { .. } | Self::Bench { .. } => Ok(Verdict::Passed),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bench_takes_suites_before_its_options() {
        let cli = Cli::try_parse_from(["xtask", "bench", "inproc", "route", "--quick", "--json", "out.json"]);
        let Ok(Cli {
            command: Command::Bench { suites, quick, json, check: false, bless: false, list: false },
        }) = cli
        else {
            panic!("not understood as bench: {cli:?}");
        };
        assert_eq!(suites, ["inproc", "route"]);
        assert!(quick);
        assert_eq!(json, Some(PathBuf::from("out.json")));
    }

    #[test]
    fn a_check_of_the_baseline_takes_no_suites() {
        assert!(Cli::try_parse_from(["xtask", "bench", "--check"]).is_ok());
        assert!(Cli::try_parse_from(["xtask", "bench", "inproc", "--check"]).is_err());
        assert!(Cli::try_parse_from(["xtask", "bench", "--check", "--bless"]).is_err());
    }
}
