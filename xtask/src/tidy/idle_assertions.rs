//! Rule: no line is a bare `matches!(…);`, whose answer nobody looks at.

use super::problem::Problem;
use super::tree::Tree;

/// Every statement that is a bare `matches!(…);`: it reads like an assertion and can never fail.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.rust() {
        for (number, line) in file.code() {
            let statement = line.trim();
            let statement = statement.strip_prefix("let _ = ").unwrap_or(statement);
            if statement.starts_with("matches!(") && statement.ends_with(");") {
                problems.push(Problem::at(
                    &file.path,
                    number,
                    "the answer is dropped: write `assert!(matches!(…))`",
                ));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_answer_is_found() {
        let text = "matches!(a, B);\nlet _ = matches!(a, B);\nassert!(matches!(a, B));\nlet c = matches!(a, B);\nmatches!(a, B)\n";
        assert_eq!(check(&Tree::of(&[("crates/a/tests/it/main.rs", text)])).len(), 2);
    }
}
