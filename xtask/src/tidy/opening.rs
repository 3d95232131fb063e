//! Rule: the first line of a source says what the file is.

use super::problem::Problem;
use super::tree::Tree;

/// Every source that does not open with `//!`. Compile-fail fixtures are exempt: their line numbers are expected.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    tree.rust()
        .filter(|file| !file.is_fixture())
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| Problem::of(&file.path, "open with a `//!` line that says what this file is"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_opens_with_what_it_is() {
        let tree = Tree::of(&[
            ("crates/a/src/good.rs", "//! Lanes.\n"),
            ("crates/a/src/bad.rs", "// Lanes.\n"),
            ("crates/a/src/late.rs", "\n//! Lanes.\n"),
            ("crates/a/tests/ui/no_topic.rs", "fn main() {}\n"),
        ]);
        assert_eq!(check(&tree).len(), 2);
    }
}
