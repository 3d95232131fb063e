//! `isolate`: each crate compiles and passes its tests by itself, with each of its features by itself.
//!
//! A workspace build turns on, for everybody, every feature that anybody asked for. A crate that forgot to ask for
//! what it uses compiles there and breaks for its first user. So each crate is built in runs of its own: first its
//! library alone (dev-dependencies turn features on as well), then all of it. Without features and with the default ones, as most
//! users have it, what was built is run as well: tests, examples and doctests that hold with all features may fail without them.

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
            let is_run = features.is_empty() || features == default;
            for check in [Check::Library, if is_run { Check::Tests } else { Check::Targets }] {
                if check.call(workspace, &package.name, &list).run().is_err() {
                    failures.push(format!("the {} of {} with [{list}]", check.subject(), package.name));
                }
            }
        }
    }
    if !failures.is_empty() {
        bail!("does not stand alone: {}", failures.join("; "));
    }
    Ok(Verdict::Passed)
}

/// What is asked of a crate with one set of features.
#[derive(Debug, Clone, Copy)]
enum Check {
    /// It compiles without its dev-dependencies and without a warning.
    Library,
    /// Unit and integration tests and examples compile.
    Targets,
    /// They do, doctests too, and those that run pass.
    Tests,
}

impl Check {
    fn call(self, workspace: &Workspace, package: &str, features: &str) -> Call {
        let cargo = Call::cargo(workspace);
        let call = match self {
            // Clippy, because it can deny warnings here without building every dependency again.
            Self::Library => cargo.args(["clippy", "--quiet", "--no-deps", "--lib"]),
            Self::Targets => cargo.args(["check", "--quiet", "--all-targets"]),
            Self::Tests => cargo.args(["test", "--quiet", "--no-fail-fast"]),
        };
        let call = call.args(["-p", package, "--no-default-features"]);
        let call = if features.is_empty() { call } else { call.args(["--features", features]) };
        match self {
            Self::Library => call.args(["--", "-D", "warnings"]),
            Self::Targets | Self::Tests => call,
        }
    }

    const fn subject(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Targets => "test code",
            Self::Tests => "tests",
        }
    }
}

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
}
