//! Rule: every crate carries the texts of both licences, because a package on the registry is all that its user gets.

use super::problem::Problem;
use super::tree::Tree;

/// Every crate without one of the texts, or with one that differs from the project's.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for name in TEXTS {
        let Some(original) = tree.file(name) else {
            problems.push(Problem::of(name, "missing: the project's own copy"));
            continue;
        };
        for folder in tree.folders("crates/") {
            let path = format!("crates/{folder}/{name}");
            match tree.file(&path) {
                None => problems.push(Problem::of(&path, format!("missing: copy {name} of the project"))),
                Some(copy) if copy.text != original.text => {
                    problems.push(Problem::of(
                        &path,
                        format!("differs from {name} of the project: copy it again"),
                    ));
                }
                Some(_) => {}
            }
        }
    }
    problems
}

const TEXTS: &[&str] = &["LICENSE-APACHE", "LICENSE-MIT"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_copies_pass() {
        let tree = Tree::of(&[
            ("LICENSE-APACHE", "a"),
            ("LICENSE-MIT", "m"),
            ("crates/x/LICENSE-APACHE", "a"),
            ("crates/x/LICENSE-MIT", "m"),
        ]);
        assert!(check(&tree).is_empty());
    }

    #[test]
    fn a_missing_text_and_a_changed_one_are_problems() {
        let tree = Tree::of(&[
            ("LICENSE-APACHE", "a"),
            ("LICENSE-MIT", "m"),
            ("crates/x/LICENSE-MIT", "n"),
            ("crates/x/src/lib.rs", ""),
        ]);
        let shown: Vec<_> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert!(shown.iter().any(|line| line.starts_with("crates/x/LICENSE-APACHE:1: missing")), "{shown:?}");
        assert!(shown.iter().any(|line| line.starts_with("crates/x/LICENSE-MIT:1: differs")), "{shown:?}");
    }
}
