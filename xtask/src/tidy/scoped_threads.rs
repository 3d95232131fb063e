//! Rule: no threads in the crates but those that the engine owns, not even ones that end with their scope.
//!
//! `clippy.toml` bans the ways to start a thread; it cannot ban `thread::scope`, which tests use for good reasons and which
//! leaves nothing behind there.

use std::collections::BTreeSet;

use super::code::has_word;
use super::problem::Problem;
use super::tree::Tree;

/// Every scope of threads in the crates' sources, tests left out.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.rust().filter(|file| file.path.starts_with("crates/") && file.path.contains("/src/")) {
        let tests: BTreeSet<usize> = file.test_code().map(|(number, _)| number).collect();
        for (number, line) in file.code().filter(|(number, _)| !tests.contains(number)) {
            if line.contains("thread::scope(") || has_word(line, "spawn_scoped") {
                problems.push(Problem::at(&file.path, number, "threads belong to the engine's supervisor"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn a_scope_of_threads_is_found_outside_of_tests_only() {
        let text = "fn f() { thread::scope(|s| g(s)); }\n#[cfg(test)]\nmod tests { fn g() { std::thread::scope(|s| h(s)); } }";
        assert_eq!(count("crates/a/src/lib.rs", text), 1);
        assert_eq!(count("crates/a/tests/it/main.rs", "fn f() { thread::scope(|s| g(s)); }"), 0);
        assert_eq!(count("xtask/src/process.rs", "fn f() { thread::scope(|s| g(s)); }"), 0);
    }
}
