//! Rule: a file or module is named after what is in it, never after the fact that something had to go somewhere.

use super::problem::Problem;
use super::tree::Tree;

/// Every file, folder or inline module whose name contains a banned word.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.rust() {
        let mut parts = file.path.split('/').map(|part| part.trim_end_matches(".rs"));
        if let Some(word) = parts.find_map(banned_word) {
            problems.push(Problem::of(&file.path, format!("{word} says nothing: name the concept")));
        }
        for (number, line) in file.code() {
            let name = line.split_once("mod ").map(|(_, rest)| rest.trim_end_matches([';', '{', '}', ' ']));
            if line.contains('{')
                && let Some(word) = name.and_then(banned_word)
            {
                problems.push(Problem::at(
                    &file.path,
                    number,
                    format!("{word} says nothing: name the concept"),
                ));
            }
        }
    }
    problems
}

fn banned_word(name: &str) -> Option<&'static str> {
    name.split(['_', '-']).find_map(|part| BANNED.iter().find(|word| **word == part)).copied()
}

/// Nobody can predict what lies behind these words, and soon everything depends on it.
const BANNED: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "managers"];

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn banned_words_are_found_in_files_folders_and_parts_of_names() {
        assert_eq!(count("crates/a/src/utils.rs", ""), 1);
        assert_eq!(count("crates/a/src/common/x.rs", ""), 1);
        assert_eq!(count("crates/a/src/lane_manager.rs", ""), 1);
        assert_eq!(count("crates/a/src/uncommon.rs", ""), 0);
    }

    #[test]
    fn inline_modules_count_and_talk_about_them_does_not() {
        assert_eq!(count("crates/a/src/lib.rs", "mod helpers {\n}\n"), 1);
        assert_eq!(count("crates/a/src/lib.rs", "// mod helpers {\nmod lanes {\n}\n"), 0);
    }
}
