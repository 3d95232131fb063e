//! Rule: nothing in the tree depends on where somebody's checkout, home or scratch folder lies.

use super::problem::Problem;
use super::tree::Tree;

/// Every absolute path into a folder that is there on one machine and not on the next.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.files() {
        for (number, line) in file.lines() {
            if let Some(folder) = FOLDERS.iter().find(|folder| starts_a_path(line, folder)) {
                problems.push(Problem::at(&file.path, number, format!("{folder} is a path of one machine")));
            }
        }
    }
    problems
}

/// Whether a path begins with `folder` in this line: `see https://host/work/x` has the letters, but begins earlier.
fn starts_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        let before = line.get(..start).and_then(|text| text.chars().next_back());
        before.is_none_or(|last| !last.is_alphanumeric() && !"._-~/}*$".contains(last))
    })
}

/// Written in two parts, so that this file does not break its own rule.
const FOLDERS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/tm", "p/"),
    concat!("/wo", "rk/"),
    concat!("/Use", "rs/"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        check(&Tree::of(&[("docs/guide/a.md", text)])).len()
    }

    #[test]
    fn a_path_of_one_machine_is_found_wherever_it_is_quoted() {
        assert_eq!(count(concat!("see `/ho", "me/me/busway`\n\"/tm", "p/x\"\n/ro", "ot/.cargo\n")), 3);
    }

    #[test]
    fn a_part_of_a_longer_path_is_not_one() {
        assert_eq!(count(concat!("https://example.org/wo", "rk/x\n$HOME/tm", "p/x\n../tm", "p/x\n")), 0);
    }
}
