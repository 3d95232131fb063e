//! Rule: `unsafe` is written only in files that were looked at for it.

use super::code::has_word;
use super::problem::Problem;
use super::tree::Tree;

/// Every `unsafe` outside the list. The lint says the same, but a lint can be switched off in any file.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    check_with(tree, ALLOWED)
}

fn check_with(tree: &Tree, allowed: &[&str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.rust().filter(|file| !allowed.contains(&file.path.as_str())) {
        for (number, line) in file.code() {
            if has_word(line, "unsafe") {
                problems.push(Problem::at(
                    &file.path,
                    number,
                    "unsafe needs a decision record and a place in the list",
                ));
            }
        }
    }
    problems
}

/// Files with `unsafe` in them, each with a decision record that says why.
const ALLOWED: &[&str] = &[
    "benches/src/durable/lmdb.rs",
    "crates/busway-persistence/src/lmdb.rs",
    "crates/busway-persistence/tests/power/bare.rs",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_found_outside_the_list_only() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "#![deny(unsafe_code)]\n// unsafe\nunsafe fn f() {}\n"),
            ("crates/a/src/ring.rs", "unsafe { g() }\n"),
        ]);
        assert_eq!(check_with(&tree, &[]).len(), 2);
        assert_eq!(check_with(&tree, &["crates/a/src/ring.rs"]).len(), 1);
    }
}
