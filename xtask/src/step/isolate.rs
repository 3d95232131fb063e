//! `isolate`: each crate compiles by itself, with each of its features by itself, and passes its tests as most users have it.
//!
//! A workspace build turns on, for everybody, every feature that anybody asked for. A crate that forgot to ask for
//! what it uses compiles there and breaks for its first user. So each crate is built in runs of its own, its library alone: dev-dependencies turn
//! features on as well. Without features and with the default ones its tests, examples and doctests are built and run too: what holds with all
//! features may fail without them. Tests of crates that are built only when asked for are run by `test`, without features.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use crate::process::Call;
use crate::report::Verdict;
use crate::workspace::Workspace;

/// Checks the named crates, or all published ones, and names every combination that failed.
pub(crate) fn run(workspace: &Workspace, only: &[String]) -> Result<Verdict> {
    let names: Vec<_> = workspace.published().map(|package| package.name.to_string()).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
        bail!("no published crate is called {unknown}");
    }
    let mut failures = Vec::new();
    for package in workspace.published().filter(|package| only.is_empty() || only.contains(&package.name)) {
        let default = closure(&package.features, "default");
        for features in combinations(&package.features) {
            let list = features.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            let is_run = (features.is_empty() || features == default) && workspace.is_default(package);
            if library(workspace, &package.name, &list).run().is_err() {
                failures.push(format!("the library of {} with [{list}]", package.name));
            }
            if is_run {
                let run = tests(workspace, &package.name, &list).echoed()?;
                if run.status().is_err() {
                    let said = reasons(&run.lines).join(" | ");
                    failures.push(format!("the tests of {} with [{list}]: {said}", package.name));
                }
            }
        }
    }
    if !failures.is_empty() {
        bail!("does not stand alone: {}", failures.join("; "));
    }
    Ok(Verdict::Passed)
}

/// It compiles without its dev-dependencies and without a warning. Clippy, because it can deny warnings here without building every dependency again.
fn library(workspace: &Workspace, package: &str, features: &str) -> Call {
    let call = Call::cargo(workspace).args(["clippy", "--quiet", "--no-deps", "--lib"]);
    with(call, package, features).args(["--", "-D", "warnings"])
}

/// Unit and integration tests, examples and doctests compile, and those that run pass.
fn tests(workspace: &Workspace, package: &str, features: &str) -> Call {
    with(Call::cargo(workspace).args(["test", "--quiet", "--no-fail-fast"]), package, features)
}

fn with(call: Call, package: &str, features: &str) -> Call {
    let call = call.args(["-p", package, "--no-default-features"]);
    if features.is_empty() { call } else { call.args(["--features", features]) }
}

/// The lines that say why tests failed: which did, what they panicked with, what did not compile. The output before them may be thousands of lines long.
fn reasons(lines: &[String]) -> Vec<&str> {
    let said = |at: usize, line: &str| {
        let panicked = at > 0 && lines.get(at - 1).is_some_and(|before| before.contains("panicked at"));
        panicked
            || line.starts_with("---- ")
            || line.starts_with("error")
            || ["panicked at", "... mismatch", "... FAILED"].iter().any(|part| line.contains(part))
    };
    let lines = lines.iter().enumerate().filter(|(at, line)| said(*at, line)).map(|(_, line)| line.trim());
    lines.take(REASONS_MAX).collect()
}

const REASONS_MAX: usize = 12;

/// No feature, the defaults, each feature, all features; each with what it turns on, equal sets once.
fn combinations(features: &BTreeMap<String, Vec<String>>) -> BTreeSet<BTreeSet<String>> {
    let all: BTreeSet<String> = features.keys().filter(|name| *name != "default").cloned().collect();
    let each = features.keys().map(|name| closure(features, name));
    [BTreeSet::new(), all.clone()].into_iter().chain(each).collect()
}

/// A feature of this crate with all those of this crate that it turns on; `default` is only what it stands for.
fn closure(features: &BTreeMap<String, Vec<String>>, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![name];
    while let Some(next) = open.pop() {
        let Some(parts) = features.get(next) else { continue };
        if next == "default" || found.insert(next.to_owned()) {
            open.extend(parts.iter().map(String::as_str));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(list: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let owned = |parts: &[&str]| parts.iter().map(|&part| part.to_owned()).collect();
        list.iter().map(|(name, parts)| ((*name).to_owned(), owned(parts))).collect()
    }

    fn shown(list: &[(&str, &[&str])]) -> Vec<String> {
        combinations(&features(list))
            .iter()
            .map(|set| set.iter().cloned().collect::<Vec<_>>().join(","))
            .collect()
    }

    #[test]
    fn a_crate_without_features_is_checked_once() {
        assert_eq!(shown(&[]), [""]);
        assert_eq!(shown(&[("default", &[])]), [""]);
    }

    #[test]
    fn each_feature_is_checked_alone_and_with_all_others() {
        let sets = shown(&[("default", &["a"]), ("a", &["dep:x"]), ("b", &[]), ("c", &["b"])]);
        assert_eq!(sets, ["", "a", "a,b,c", "b", "b,c"]);
    }

    #[test]
    fn features_that_turn_each_other_on_do_not_loop() {
        assert_eq!(shown(&[("a", &["b"]), ("b", &["a"])]), ["", "a,b"]);
    }

    #[test]
    fn of_a_long_output_the_reasons_are_told() {
        let lines = "running 3 tests\n.F.\n---- it::a stdout ----\nthread 'it::a' panicked at a.rs:1:2:\nleft: 1\nnote: x\nerror: 1 target failed:";
        let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        let expected = [
            "---- it::a stdout ----",
            "thread 'it::a' panicked at a.rs:1:2:",
            "left: 1",
            "error: 1 target failed:",
        ];
        assert_eq!(reasons(&lines), expected);
    }
}
