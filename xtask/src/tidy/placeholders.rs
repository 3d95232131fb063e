//! Rule: what is in the tree is finished; what is not, is in an issue.

use super::code::has_word;
use super::problem::Problem;
use super::tree::Tree;

/// Every macro that stands for missing code, and every marker that promises to come back.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.rust() {
        for (number, line) in file.code() {
            if let Some(name) =
                MACROS.iter().find(|name| has_word(line, name) && line.contains(&format!("{name}!")))
            {
                problems.push(Problem::at(
                    &file.path,
                    number,
                    format!("{name}! stands for code that is missing"),
                ));
            }
        }
        for (number, line) in file.lines() {
            if let Some(marker) = MARKERS.iter().find(|marker| has_word(line, marker)) {
                problems.push(Problem::at(
                    &file.path,
                    number,
                    format!("{marker}: do it now or open an issue"),
                ));
            }
        }
    }
    problems
}

const MACROS: &[&str] = &["todo", "unimplemented"];

/// Written in two parts, so that this file does not break its own rule.
const MARKERS: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X")];

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        check(&Tree::of(&[("crates/a/src/lib.rs", text)])).len()
    }

    #[test]
    fn missing_code_is_found_and_talk_about_it_is_not() {
        assert_eq!(count("fn f() { todo!() }\nfn g() { unimplemented!(\"no\") }"), 2);
        assert_eq!(count("//! Never writes `todo!()`.\nconst S: &str = \"todo!\";"), 0);
    }

    #[test]
    fn markers_are_found_in_comments() {
        assert_eq!(count(concat!("// FIX", "ME: later\n// XX", "X\n")), 2);
        assert_eq!(count("// XXXL is a size"), 0);
    }
}
