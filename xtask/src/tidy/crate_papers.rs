//! Rule: every crate explains itself, and `crates/README.md` lists exactly the crates that exist.

use super::problem::Problem;
use super::tree::Tree;

/// Every crate without a README that says something, without docs in `lib.rs`, or missing from the list; and every
/// line of the list without a crate.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let crates = tree.folders("crates/");
    let mut problems = Vec::new();
    for name in &crates {
        let readme = format!("crates/{name}/README.md");
        if !tree.file(&readme).is_some_and(|file| says_something(&file.text, name)) {
            problems.push(Problem::of(&readme, format!("open with `# {name}`, then say what it is")));
        }
        let library = format!("crates/{name}/src/lib.rs");
        if tree.file(&library).is_none_or(|file| doc_lines(&file.text) < DOC_LINES_MIN) {
            let message = format!("say in at least {DOC_LINES_MIN} lines of `//!` what {name} is and is not");
            problems.push(Problem::of(&library, message));
        }
    }
    problems.extend(check_list(tree, &crates));
    problems
}

fn check_list(tree: &Tree, crates: &[&str]) -> Vec<Problem> {
    if crates.is_empty() {
        return Vec::new();
    }
    let Some(list) = tree.file(LIST) else {
        return vec![Problem::of(LIST, "missing: list the crates by layer")];
    };
    let listed: Vec<_> =
        list.lines().filter_map(|(number, line)| Some((number, listed_crate(line)?))).collect();
    let missing = crates.iter().filter(|name| !listed.iter().any(|(_, other)| other == *name));
    let unknown = listed.iter().filter(|(_, name)| !crates.contains(name));
    missing
        .map(|name| Problem::of(LIST, format!("{name} is not listed")))
        .chain(unknown.map(|(number, name)| Problem::at(LIST, *number, format!("there is no crate {name}"))))
        .collect()
}

/// The crate that a row of the table is about: its second cell, a link `[name](name/)`.
fn listed_crate(line: &str) -> Option<&str> {
    let cell = line.strip_prefix('|')?.split('|').nth(1)?.trim();
    let (name, _) = cell.strip_prefix('[')?.split_once("](")?;
    Some(name.trim_matches('`'))
}

fn says_something(readme: &str, name: &str) -> bool {
    let mut lines = readme.lines().filter(|line| !line.trim().is_empty());
    lines.next() == Some(&format!("# {name}")) && lines.next().is_some()
}

fn doc_lines(library: &str) -> usize {
    library
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .filter(|line| line.len() > "//! ".len())
        .count()
}

const LIST: &str = "crates/README.md";

/// What it is, what it is not, and how it is used do not fit in less.
const DOC_LINES_MIN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = "//! Lanes.\n//!\n//! Not queues.\n//! See there.\n";
    const TABLE: &str = "| layer | crate | it is |\n|---|---|---|\n| L0 | [`a`](a/) | it |\n";

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_crate_that_explains_itself_passes() {
        let found = problems(&[
            ("crates/README.md", TABLE),
            ("crates/a/README.md", "# a\n\nWhat is said.\n"),
            ("crates/a/src/lib.rs", DOCS),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_title_alone_explains_nothing() {
        let found = problems(&[
            ("crates/README.md", TABLE),
            ("crates/a/README.md", "# a\n"),
            ("crates/a/src/lib.rs", "//! a\n"),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn the_list_and_the_folders_agree() {
        let found = problems(&[
            ("crates/README.md", TABLE),
            ("crates/b/README.md", "# b\nIt.\n"),
            ("crates/b/src/lib.rs", DOCS),
        ]);
        assert_eq!(found, ["crates/README.md:1: b is not listed", "crates/README.md:3: there is no crate a"]);
    }
}
