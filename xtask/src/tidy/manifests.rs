//! Rule: manifests say the same things in the same way.
//!
//! Folder and crate share a name; the workspace's lints apply; a crate has at most five features; the test kit comes
//! in by path alone, because a dev-dependency with a version would have to be on the registry before the crates that
//! it tests.

use cargo_metadata::{DependencyKind, Package};

use super::layers::manifest_path;
use super::problem::Problem;
use super::tree::Tree;

/// What the rule needs to know of a member.
#[derive(Debug)]
pub(crate) struct Member {
    name: String,
    manifest: String,
    features: usize,
    /// Members that it uses in tests and asks for in a certain version.
    versioned_dev_dependencies: Vec<String>,
}

/// Reads what cargo says.
pub(crate) fn members(packages: &[&Package]) -> Vec<Member> {
    let member = |package: &&Package| Member {
        name: package.name.to_string(),
        manifest: manifest_path(package),
        features: package.features.keys().filter(|name| *name != "default").count(),
        versioned_dev_dependencies: package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Development)
            .filter(|dependency| dependency.path.is_some() && dependency.req.to_string() != "*")
            .map(|dependency| dependency.name.clone())
            .collect(),
    };
    packages.iter().map(member).collect()
}

/// Every manifest that is different.
pub(crate) fn check(members: &[Member], tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for Member { name, manifest, features, versioned_dev_dependencies } in members {
        let mut complain = |message: String| problems.push(Problem::of(manifest, message));
        if manifest.starts_with("crates/") && *manifest != format!("crates/{name}/Cargo.toml") {
            complain(format!("the folder of {name} must have its name"));
        }
        let most = if name == FACADE { FACADE_FEATURES_MAX } else { FEATURES_MAX };
        if *features > most {
            complain(format!("{features} features; at most {most}, each of which adds an integration"));
        }
        for dependency in versioned_dev_dependencies {
            complain(format!("the dev-dependency {dependency} must be a path without a version"));
        }
        let has_lints = tree.file(manifest).is_some_and(|file| has_workspace_lints(&file.text));
        if !has_lints {
            complain("write `[lints]` and below it `workspace = true`".to_owned());
        }
    }
    problems
}

fn has_workspace_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    lines.next() == Some("workspace = true")
}

/// More are combinations that nobody tests.
const FEATURES_MAX: usize = 5;
/// It passes on one for each integration, see ADR 0034; it has no code that depends on two of them.
const FACADE_FEATURES_MAX: usize = 9;
const FACADE: &str = "busway";

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(name: &str, manifest: &str, features: usize, versioned: &[&str], text: &str) -> Vec<String> {
        let member = Member {
            name: name.to_owned(),
            manifest: manifest.to_owned(),
            features,
            versioned_dev_dependencies: versioned.iter().map(|&name| name.to_owned()).collect(),
        };
        check(&[member], &Tree::of(&[(manifest, text)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_plain_member_passes() {
        assert!(problems("a", "crates/a/Cargo.toml", 5, &[], "[lints]\nworkspace = true\n").is_empty());
    }

    #[test]
    fn each_difference_is_a_problem_of_its_own() {
        let found = problems("a", "crates/b/Cargo.toml", 6, &["busway-testkit"], "[package]\n");
        assert_eq!(found.len(), 4, "{found:?}");
    }
}
