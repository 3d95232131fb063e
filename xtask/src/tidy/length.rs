//! Rule: a file of Rust is short enough to be read in one go, a numbered example shorter still.

use super::problem::Problem;
use super::tree::{TextFile, Tree};

/// Every file that is too long.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let too_long = |file: &TextFile| {
        let (max, cure) = if is_numbered_example(&file.path) {
            (EXAMPLE_LINES_MAX, "show one thing")
        } else {
            (LINES_MAX, "make it a folder of small files")
        };
        let lines = file.lines().count();
        (lines > max)
            .then(|| Problem::at(&file.path, max + 1, format!("{lines} lines, at most {max}: {cure}")))
    };
    tree.rust().filter_map(too_long).collect()
}

/// `crates/busway/examples/03_priorities.rs`, or a file in a folder `03_priorities/`.
fn is_numbered_example(path: &str) -> bool {
    let name = path.strip_prefix("crates/busway/examples/").unwrap_or_default();
    let digits = name.chars().take_while(char::is_ascii_digit).count();
    digits == 2 && name.chars().nth(2) == Some('_')
}

/// Longer files hold more than one concept.
const LINES_MAX: usize = 400;

/// An example is read before the first line is written with the crate.
const EXAMPLE_LINES_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, lines: usize) -> usize {
        check(&Tree::of(&[(path, &"x\n".repeat(lines))])).len()
    }

    #[test]
    fn sources_end_at_four_hundred_lines() {
        assert_eq!(count("crates/a/src/lib.rs", 400), 0);
        assert_eq!(count("crates/a/src/lib.rs", 401), 1);
        assert_eq!(count("docs/guide/long.md", 401), 0);
    }

    #[test]
    fn numbered_examples_end_at_one_hundred_and_twenty() {
        assert_eq!(count("crates/busway/examples/01_hello.rs", 121), 1);
        assert_eq!(count("crates/busway/examples/01_hello.rs", 120), 0);
        assert_eq!(count("crates/busway/examples/flights/main.rs", 121), 0);
    }
}
