//! The reports of the coverage tools, read down to the lines of each file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// Lines that can be run, and those that were.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) all: u32,
    pub(super) covered: u32,
}

impl Lines {
    /// None when there is nothing to run.
    pub(super) fn percent(self) -> Option<f64> {
        (self.all > 0).then(|| 100.0 * f64::from(self.covered) / f64::from(self.all))
    }
}

/// Which lines of a file can be run, by number, and whether they were.
pub(super) type Hits = BTreeMap<usize, bool>;

/// The files of a report in the format of lcov (`man geninfo`, "Files"), which llvm-cov writes. Of its records only
/// `SF:path` and `DA:line,count` are read.
pub(super) fn read_lcov(report: &str) -> Result<Vec<(PathBuf, Hits)>> {
    let mut files: Vec<(PathBuf, Hits)> = Vec::new();
    for record in report.lines() {
        if let Some(path) = record.strip_prefix("SF:") {
            files.push((PathBuf::from(path), Hits::new()));
        } else if let Some(data) = record.strip_prefix("DA:") {
            let read = || {
                let mut parts = data.split(',');
                let line = parts.next()?.parse::<usize>().ok()?;
                Some((line, parts.next()?.parse::<u64>().ok()? > 0))
            };
            let (line, hit) = read().with_context(|| format!("not a line with its count: {record}"))?;
            let (_, hits) = files.last_mut().context("a line before the first file")?;
            *hits.entry(line).or_default() |= hit;
        }
    }
    Ok(files)
}

/// The files of a report of cargo-tarpaulin, which writes a path as the list of its parts.
pub(super) fn read_tarpaulin(report: &str) -> Result<Vec<(PathBuf, Hits)>> {
    let report: Value = serde_json::from_str(report).context("the report is not JSON")?;
    let files = report.get("files").and_then(Value::as_array).context("no list of files")?;
    let read_trace = |trace: &Value| {
        let line = usize::try_from(trace.get("line")?.as_u64()?).ok()?;
        Some((line, trace.pointer("/stats/Line")?.as_u64()? > 0))
    };
    let read_file = |file: &Value| {
        let path = file.get("path")?.as_array()?.iter().map(Value::as_str).collect::<Option<PathBuf>>()?;
        let hits = file.get("traces")?.as_array()?.iter().map(read_trace).collect::<Option<Hits>>()?;
        Some((path, hits))
    };
    files.iter().map(|file| read_file(file).context("a file without its lines")).collect()
}

/// The sum over the sources of all crates, without the unit tests at their ends.
pub(super) fn sum(files: &[(PathBuf, Hits)], crates: &Path) -> Lines {
    let mut sum = Lines::default();
    for (path, hits) in files.iter().filter(|(path, _)| is_source(path, crates)) {
        let tests =
            fs::read_to_string(path).ok().and_then(|source| first_test_line(&source)).unwrap_or(usize::MAX);
        for (_, hit) in hits.range(..tests) {
            sum.all += 1;
            sum.covered += u32::from(*hit);
        }
    }
    sum
}

fn is_source(path: &Path, crates: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(crates) else { return false };
    let in_src = inside.components().nth(1).is_some_and(|part| part.as_os_str() == "src");
    in_src && !inside.iter().any(|part| part == "tests" || part == "tests.rs")
}

/// Where the unit tests of a file begin, counted from 1. They stand at its end, in a module of their own.
fn first_test_line(source: &str) -> Option<usize> {
    let next = source.lines().skip(1);
    let start = source.lines().zip(next).position(|(line, next)| {
        let only_in_tests = line.starts_with("#[cfg(test") || line.starts_with("#[cfg(all(test");
        only_in_tests && next.starts_with("mod ") && next.ends_with('{')
    });
    start.map(|position| position + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_reports_give_the_same_lines() {
        let lcov = "TN:\nSF:/w/crates/a/src/lib.rs\nFN:1,f\nDA:1,3\nDA:2,0\nDA:1,0\nLF:2\nend_of_record\n\
                    SF:/w/xtask/src/main.rs\nDA:1,0\nend_of_record\n";
        let tarpaulin = r#"{"files": [
            {"path": ["/", "w", "crates", "a", "src", "lib.rs"], "traces": [
                {"line": 1, "stats": {"Line": 3}}, {"line": 2, "stats": {"Line": 0}}]},
            {"path": ["/", "w", "xtask", "src", "main.rs"], "traces": [{"line": 1, "stats": {"Line": 0}}]}
        ]}"#;
        let expected = Lines { all: 2, covered: 1 };
        let crates = Path::new("/w/crates");
        assert_eq!(sum(&read_lcov(lcov).unwrap(), crates), expected);
        assert_eq!(sum(&read_tarpaulin(tarpaulin).unwrap(), crates), expected);
    }

    #[test]
    fn tests_and_examples_do_not_count_as_sources() {
        let crates = Path::new("/w/crates");
        let counts = |path: &str| is_source(&crates.join(path), crates);
        assert!(counts("a/src/x/y.rs"));
        for path in ["a/tests/it/main.rs", "a/examples/01_hello.rs", "a/src/x/tests.rs"] {
            assert!(!counts(path), "{path}");
        }
        assert!(!is_source(Path::new("/w/xtask/src/main.rs"), crates));
    }

    #[test]
    fn unit_tests_begin_at_their_module_and_not_at_an_import() {
        let source = "#[cfg(test)]\nuse a::B;\nfn f() {}\n\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(first_test_line(source), Some(5));
        assert_eq!(first_test_line("#[cfg(test)]\nmod tests;\nfn f() {}\n"), None);
    }

    #[test]
    fn an_empty_report_has_no_percentage() {
        assert_eq!(Lines::default().percent(), None);
        assert_eq!(Lines { all: 8, covered: 6 }.percent(), Some(75.0));
    }

    #[test]
    fn a_report_of_another_shape_is_an_error() {
        assert!(read_lcov("DA:1,1").is_err());
        assert!(read_lcov("SF:/a\nDA:one,1").is_err());
        assert!(read_tarpaulin("{}").is_err());
        assert!(read_tarpaulin(r#"{"files": [{"path": 3}]}"#).is_err());
    }
}
