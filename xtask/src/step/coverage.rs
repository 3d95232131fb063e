//! `coverage`: how many lines of `crates/` the tests run, against a floor.
//!
//! cargo-llvm-cov counts best. It needs LLVM's own tools at least as new as the profile format that rustc writes:
//! rustup's `llvm-tools` component has them, and Debian's `llvm-19` can read what Rust 1.95 writes. cargo-tarpaulin
//! needs neither and is the second choice. The two differ by a few percent: the first counts unit tests as the lines
//! of code that they are, the second leaves them out. Doctests and loom models do not run for it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{Call, find_program};
use crate::report::Verdict;
use crate::workspace::Workspace;

/// Prints the figure and fails below the floor; left out when no tool is installed.
pub(crate) fn run(workspace: &Workspace) -> Result<Verdict> {
    let folder = workspace.target("coverage");
    fs::create_dir_all(&folder).context("cannot make the folder for the coverage report")?;
    let crates = workspace.root().join("crates");
    let lines = if let Some(tools) = find_llvm_tools(workspace) {
        let report = folder.join("llvm-cov.json");
        run_llvm_cov(workspace, &tools, &report)?;
        sum(&read_llvm_cov(&read_json(&report)?)?, &crates)
    } else if Call::cargo(workspace).args(["tarpaulin", "--version"]).succeeds() {
        run_tarpaulin(workspace, &folder)?;
        sum(&read_tarpaulin(&read_json(&folder.join("tarpaulin-report.json"))?)?, &crates)
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

/// Lines that can be run, and those that were.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Lines {
    all: u32,
    covered: u32,
}

impl Lines {
    fn percent(self) -> Option<f64> {
        (self.all > 0).then(|| 100.0 * f64::from(self.covered) / f64::from(self.all))
    }
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
        .args(workspace.published_arguments())
        .args(["--json", "--summary-only", "--output-path"])
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
        .args(workspace.published_arguments())
        .run()
}

/// The files of a report of `llvm-cov export`, with their lines.
fn read_llvm_cov(report: &Value) -> Result<Vec<(PathBuf, Lines)>> {
    let files = report.pointer("/data/0/files").and_then(Value::as_array).context("no list of files")?;
    let read = |file: &Value| {
        let name = file.get("filename")?.as_str()?;
        let all = number(file.pointer("/summary/lines/count")?)?;
        let covered = number(file.pointer("/summary/lines/covered")?)?;
        Some((PathBuf::from(name), Lines { all, covered }))
    };
    files.iter().map(|file| read(file).context("a file without its lines")).collect()
}

/// The files of a report of cargo-tarpaulin, which writes a path as the list of its parts.
fn read_tarpaulin(report: &Value) -> Result<Vec<(PathBuf, Lines)>> {
    let files = report.get("files").and_then(Value::as_array).context("no list of files")?;
    let read = |file: &Value| {
        let parts = file.get("path")?.as_array()?;
        let path = parts.iter().map(Value::as_str).collect::<Option<PathBuf>>()?;
        let (all, covered) = (number(file.get("coverable")?)?, number(file.get("covered")?)?);
        Some((path, Lines { all, covered }))
    };
    files.iter().map(|file| read(file).context("a file without its lines")).collect()
}

/// Only sources: a test or an example that runs from end to end would lift the figure and prove nothing.
fn sum(files: &[(PathBuf, Lines)], crates: &Path) -> Lines {
    let sources = files.iter().filter(|(path, _)| {
        let inside = path.strip_prefix(crates).ok();
        inside.is_some_and(|path| path.components().nth(1).is_some_and(|part| part.as_os_str() == "src"))
    });
    sources.fold(Lines::default(), |sum, (_, lines)| Lines {
        all: sum.all + lines.all,
        covered: sum.covered + lines.covered,
    })
}

fn read_json(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("no report at {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("not JSON: {}", file.display()))
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}

/// Line coverage below this fails. Raise it when the figure has been well above for a while; never lower it.
const FLOOR_PERCENT: u8 = 85;

/// Versions of the system's LLVM that are looked for, newest first. 19 is the first that reads the raw profile
/// format 10, which Rust 1.95 writes.
const LLVM_VERSIONS: std::ops::RangeInclusive<u8> = 19..=30;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_reports_give_the_same_lines() {
        let llvm = json!({"data": [{"files": [
            {"filename": "/w/crates/a/src/lib.rs", "summary": {"lines": {"count": 10, "covered": 9}}},
            {"filename": "/w/xtask/src/main.rs", "summary": {"lines": {"count": 10, "covered": 0}}},
        ]}]});
        let tarpaulin = json!({"files": [
            {"path": ["/", "w", "crates", "a", "src", "lib.rs"], "coverable": 10, "covered": 9},
            {"path": ["/", "w", "xtask", "src", "main.rs"], "coverable": 10, "covered": 0},
        ]});
        let expected = Lines { all: 10, covered: 9 };
        let crates = Path::new("/w/crates");
        assert_eq!(sum(&read_llvm_cov(&llvm).unwrap(), crates), expected);
        assert_eq!(sum(&read_tarpaulin(&tarpaulin).unwrap(), crates), expected);
    }

    #[test]
    fn tests_and_examples_do_not_count_as_sources() {
        let lines = Lines { all: 5, covered: 5 };
        let files =
            ["/w/crates/a/tests/it/main.rs", "/w/crates/a/examples/01_hello.rs", "/w/crates/a/src/x/y.rs"];
        let files = files.map(|name| (PathBuf::from(name), lines));
        assert_eq!(sum(&files, Path::new("/w/crates")), lines);
    }

    #[test]
    fn an_empty_report_has_no_percentage() {
        assert_eq!(Lines::default().percent(), None);
        assert_eq!(Lines { all: 8, covered: 6 }.percent(), Some(75.0));
    }

    #[test]
    fn a_report_of_another_shape_is_an_error() {
        assert!(read_llvm_cov(&json!({"data": []})).is_err());
        assert!(read_tarpaulin(&json!({"files": [{"path": 3}]})).is_err());
    }
}
