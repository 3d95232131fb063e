//! `coverage`: how many lines of `crates/` the tests run, against a floor.
//!
//! cargo-llvm-cov counts best. It needs LLVM's own tools at least as new as the profile format that rustc writes:
//! rustup's `llvm-tools` component has them, and Debian's `llvm-19` can read what Rust 1.95 writes. cargo-tarpaulin
//! needs neither and is the second choice. Test code is not counted, however it was run: all of it always runs, so it
//! would lift the figure and prove nothing. Doctests and loom models do not run for it, nor do crates that are built only when asked for.

mod reports;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::{Call, find_program};
use crate::report::Verdict;
use crate::workspace::Workspace;

use self::reports::{read_lcov, read_tarpaulin, sum};

/// Prints the figure and fails below the floor; left out when no tool is installed.
pub(crate) fn run(workspace: &Workspace) -> Result<Verdict> {
    let folder = workspace.target("coverage");
    fs::create_dir_all(&folder).context("cannot make the folder for the coverage report")?;
    let crates = workspace.root().join("crates");
    let lines = if let Some(tools) = find_llvm_tools(workspace) {
        let report = folder.join("llvm-cov.info");
        run_llvm_cov(workspace, &tools, &report)?;
        sum(&read_lcov(&read(&report)?)?, &crates)
    } else if Call::cargo(workspace).args(["tarpaulin", "--version"]).succeeds() {
        run_tarpaulin(workspace, &folder)?;
        sum(&read_tarpaulin(&read(&folder.join("tarpaulin-report.json"))?)?, &crates)
    } else {
        return Ok(Verdict::LeftOut(
            "neither cargo-llvm-cov with LLVM 19 or newer nor cargo-tarpaulin is installed".to_owned(),
        ));
    };
    let percent = lines.percent().context("the report has no line of crates/ in it")?;
    println!("line coverage of crates/: {percent:.1} % (floor {FLOOR_PERCENT} %)");
    if percent < f64::from(FLOOR_PERCENT) {
        bail!("{} of {} lines is below the floor", lines.covered, lines.all);
    }
    Ok(Verdict::Passed)
}

/// Where `llvm-profdata` and `llvm-cov` come from.
enum LlvmTools {
    /// cargo-llvm-cov finds them by itself: in the environment or in rustup's component.
    AtHand,
    /// From the system, by full path.
    System { profdata: PathBuf, cov: PathBuf },
}

fn find_llvm_tools(workspace: &Workspace) -> Option<LlvmTools> {
    if !Call::cargo(workspace).args(["llvm-cov", "--version"]).succeeds() {
        return None;
    }
    let library = Call::program(workspace, "rustc").args(["--print", "target-libdir"]).output().ok()?;
    let component = Path::new(library.trim()).with_file_name("bin").join("llvm-profdata");
    let named = |name: &str| std::env::var_os(name).is_some();
    if component.is_file() || (named("LLVM_PROFDATA") && named("LLVM_COV")) {
        return Some(LlvmTools::AtHand);
    }
    LLVM_VERSIONS.rev().find_map(|version| {
        Some(LlvmTools::System {
            profdata: find_program(&format!("llvm-profdata-{version}"))?,
            cov: find_program(&format!("llvm-cov-{version}"))?,
        })
    })
}

fn run_llvm_cov(workspace: &Workspace, tools: &LlvmTools, report: &Path) -> Result<()> {
    let mut call = Call::cargo(workspace).arg("llvm-cov");
    if Call::cargo(workspace).args(["nextest", "--version"]).succeeds() {
        call = call.arg("nextest");
    }
    call = call
        // What is measured is what is shipped: no `cfg` that only a measurement sets.
        .args(["--all-features", "--no-cfg-coverage"])
        .args(workspace.published_default_arguments())
        .args(["--lcov", "--output-path"])
        .arg(report);
    if let LlvmTools::System { profdata, cov } = tools {
        call = call.env("LLVM_PROFDATA", profdata).env("LLVM_COV", cov);
    }
    call.run()
}

fn run_tarpaulin(workspace: &Workspace, folder: &Path) -> Result<()> {
    Call::cargo(workspace)
        .args(["tarpaulin", "--all-features", "--skip-clean", "--out", "Json"])
        .arg("--output-dir")
        .arg(folder)
        .arg("--target-dir")
        .arg(workspace.target("tarpaulin"))
        .args(workspace.published_default_arguments())
        .run()
}

fn read(report: &Path) -> Result<String> {
    fs::read_to_string(report).with_context(|| format!("no report at {}", report.display()))
}

/// Line coverage below this fails. Raise it when the figure has been well above for a while; never lower it.
const FLOOR_PERCENT: u8 = 85;

/// Versions of the system's LLVM that are looked for, newest first. 19 is the first that reads the raw profile
/// format 10, which Rust 1.95 writes.
const LLVM_VERSIONS: std::ops::RangeInclusive<u8> = 19..=30;
