//! Rule: a tool that the checks install has one version, wherever it is installed.
//!
//! With two, a check that fails in one place passes in the other, and nobody can tell why.

use std::collections::BTreeMap;

use super::problem::Problem;
use super::tree::{TextFile, Tree};

/// Every tool whose version here differs from the one that was stated first.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut first: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut problems = Vec::new();
    for file in tree.files().filter(|file| states_versions(file)) {
        for (number, line) in file.lines() {
            for (tool, version) in pins(line) {
                match first.get(&tool) {
                    Some((other, place)) if *other != version => problems.push(Problem::at(
                        &file.path,
                        number,
                        format!("{tool} is {version} here and {other} in {place}"),
                    )),
                    Some(_) => {}
                    None => {
                        first.insert(tool, (version, format!("{}:{number}", file.path)));
                    }
                }
            }
        }
    }
    problems
}

fn states_versions(file: &TextFile) -> bool {
    file.path.starts_with(".ci/") || file.path.starts_with(".github/workflows/")
}

/// `cargo-deny@0.20.2` in a list of tools, `LLVM_COV_VERSION=0.9.1` in a script: of cargo's companions alone.
fn pins(line: &str) -> Vec<(String, String)> {
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.@=".contains(c)));
    words.filter_map(pin).collect()
}

fn pin(word: &str) -> Option<(String, String)> {
    let (tool, version) = match word.split_once('@') {
        Some((tool, version)) => (tool.to_owned(), version),
        None => {
            let (name, version) = word.split_once("_VERSION=")?;
            (format!("cargo-{}", name.to_ascii_lowercase().replace('_', "-")), version)
        }
    };
    let is_version = version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.');
    (tool.starts_with("cargo-") && is_version).then(|| (tool, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(script: &str, workflow: &str) -> Vec<String> {
        let tree = Tree::of(&[(".ci/run", script), (".github/workflows/ci.yml", workflow)]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_version_everywhere_passes() {
        let workflow =
            "{ tools: cargo-llvm-cov@0.9.0,cargo-nextest@0.9.143 }\n{ tools: cargo-nextest@0.9.143 }\n";
        assert!(problems("LLVM_COV_VERSION=0.9.0\n", workflow).is_empty());
    }

    #[test]
    fn a_second_version_is_found_where_it_stands() {
        let found = problems("LLVM_COV_VERSION=0.9.1\n", "a\n{ tools: cargo-llvm-cov@0.9.0 }\n");
        assert_eq!(
            found,
            [".github/workflows/ci.yml:2: cargo-llvm-cov is 0.9.0 here and 0.9.1 in .ci/run:1"]
        );
    }

    #[test]
    fn actions_are_pinned_by_their_own_rule() {
        assert!(problems("", "uses: a/b@3d3c # v7.0.1\nuses: a/b@6323 # v2.9.2\n").is_empty());
    }
}
