//! Rule: crates that must be there once are there once.

use super::problem::Problem;
use super::tree::Tree;

/// Every crate of the list that `Cargo.lock` has in two versions, at the line of each further one.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let Some(lock) = tree.file(LOCK) else { return Vec::new() };
    let mut problems = Vec::new();
    for (name, reason) in ONCE {
        let entry = format!("name = \"{name}\"");
        let further = lock.lines().filter(|(_, line)| *line == entry).skip(1);
        problems.extend(
            further.map(|(number, _)| Problem::at(LOCK, number, format!("{name} a second time: {reason}"))),
        );
    }
    problems
}

const LOCK: &str = "Cargo.lock";

/// Why two copies of it would hurt.
const ONCE: &[(&str, &str)] = &[
    ("parking_lot", "a second copy of the locks, beside the one that our dependencies use"),
    ("bincode", "two formats under one name; only 2.0.1 reads what we write"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_version_is_found_at_its_line() {
        let entry = "[[package]]\nname = \"bincode\"\nversion = \"2.0.1\"\n\n";
        assert!(check(&Tree::of(&[("Cargo.lock", entry)])).is_empty());
        let problems = check(&Tree::of(&[("Cargo.lock", &entry.repeat(2))]));
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 1);
        assert!(
            shown.iter().all(|line| line.starts_with("Cargo.lock:6: bincode a second time")),
            "{shown:?}"
        );
    }
}
