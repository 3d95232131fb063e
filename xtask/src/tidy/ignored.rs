//! Rule: a test that does not run says why.

use super::problem::Problem;
use super::tree::Tree;

/// Every `#[ignore]` without a reason.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.rust() {
        for (number, line) in file.code() {
            let squeezed: String = line.chars().filter(|character| !character.is_whitespace()).collect();
            if squeezed.contains("#[ignore]") || squeezed.contains(",ignore)") {
                problems.push(Problem::at(&file.path, number, "write `#[ignore = \"reason\"]`"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_test_needs_a_reason() {
        let text = "#[ignore]\n#[ignore = \"needs a broker\"]\n#[cfg_attr(miri, ignore)]\n// #[ignore]\n";
        let problems = check(&Tree::of(&[("crates/a/tests/it/main.rs", text)]));
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert!(shown.iter().any(|line| line.starts_with("crates/a/tests/it/main.rs:3: ")));
    }
}
