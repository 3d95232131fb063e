//! `test`: everything that proves the project.
//!
//! Unit and integration tests (compile-fail tests and the examples among them) run under cargo-nextest when it is
//! installed and under `cargo test` when not; then come the doctests, which nextest cannot run, and the loom models,
//! which need the crate built another way.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::process::Call;
use crate::report::{Report, Verdict};
use crate::tally::{Ended, Runner, Summary};
use crate::workspace::Workspace;

/// Whether the loom models are run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loom {
    /// Run them, after everything else.
    Run,
    /// Leave them out: they take an optimized build of their own.
    LeaveOut,
}

/// Runs all of it, whatever fails on the way, and adds the runners' summaries to the report.
pub(crate) fn run(workspace: &Workspace, report: &mut Report, loom: Loom) {
    let cargo = || Call::cargo(workspace);
    if cargo().args(["nextest", "--version"]).succeeds() {
        let tests = cargo().args(["nextest", "run", "--all-features", "--no-fail-fast"]);
        run_one(report, "tests", Runner::Nextest, tests);
        let doctests = cargo().args(["test", "--doc", "--all-features", "--no-fail-fast"]);
        run_one(report, "doctests", Runner::BuiltIn, doctests);
    } else {
        let tests = cargo().args(["test", "--all-features", "--no-fail-fast"]);
        run_one(report, "tests and doctests", Runner::BuiltIn, tests);
    }
    match loom {
        Loom::Run => run_models(workspace, report),
        Loom::LeaveOut => report.measure("loom", || Ok(Verdict::LeftOut("--no-loom was given".to_owned()))),
    }
}

fn run_one(report: &mut Report, name: &str, runner: Runner, call: Call) {
    let mut summary = Summary::default();
    report.measure(name, || {
        let echoed = call.echoed()?;
        let status = echoed.status();
        summary = Summary::of(name, runner, &echoed.lines, ended(&status));
        status?;
        Ok(Verdict::Passed)
    });
    report.add_summary(summary);
}

fn ended(status: &Result<()>) -> Ended {
    if status.is_ok() { Ended::Well } else { Ended::Badly }
}

/// Loom tries every order in which threads can meet, up to a number of forced switches. It needs its own types in place of those of the standard
/// library, hence the `cfg` and a target folder of its own: sharing one would build everything twice each time.
fn run_models(workspace: &Workspace, report: &mut Report) {
    let Models { package, filter } = LOOM;
    let depth = env::var("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|_| PREEMPTIONS_MAX.to_owned());
    let mut summary = None;
    report.measure("loom", || {
        if !has_models(&workspace.root().join("crates").join(package).join("src"))? {
            return Ok(Verdict::LeftOut(format!("{package} has no loom models")));
        }
        let echoed = Call::cargo(workspace)
            .args(["test", "-p", package, "--release", "--lib", filter])
            .env("RUSTFLAGS", "--cfg busway_loom")
            .env("LOOM_MAX_PREEMPTIONS", &depth)
            .env("CARGO_TARGET_DIR", workspace.target("loom"))
            .echoed()?;
        let status = echoed.status();
        let found = summary.insert(Summary::of("loom", Runner::BuiltIn, &echoed.lines, ended(&status)));
        status?;
        if found.tally.is_none_or(|tally| tally.passed == 0) {
            bail!("{package} has loom models, and the filter `{filter}` ran none of them");
        }
        Ok(Verdict::Passed)
    });
    if let Some(summary) = summary {
        report.add_summary(summary);
    }
}

/// Whether any source file below the folder calls `loom::model`.
fn has_models(folder: &Path) -> Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            has_models(&path)?
        } else {
            path.extension().is_some_and(|end| end == "rs")
                && fs::read_to_string(&path)?.contains("loom::model")
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

struct Models {
    package: &'static str,
    filter: &'static str,
}

/// Where the loom models live: unit tests of this crate whose path contains this word.
const LOOM: Models = Models { package: "busway-engine", filter: "loom" };

/// How often a model may take the processor from a thread that could go on. Orders grow exponentially with it: loom's
/// manual advises 2 or 3, which find nearly all faults. At 4 the models of the engine take seconds; without a bound
/// they do not end in ten minutes. The environment variable of the same meaning overrides it.
const PREEMPTIONS_MAX: &str = "4";
