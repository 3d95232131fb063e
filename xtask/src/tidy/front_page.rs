//! Rule: the code on the front page is code that a doctest runs.
//!
//! The project's README lies outside of every crate, where no doctest finds it; the facade's README is run by one and
//! goes to the registry with it. So what the first shows has to stand in the second, letter by letter.

use super::problem::Problem;
use super::tree::Tree;

/// Every block of Rust in the project's README that the facade's README does not have.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let Some(front) = tree.file(FRONT) else { return Vec::new() };
    let run = tree.file(RUN).map(|file| blocks(&file.text)).unwrap_or_default();
    let run: Vec<_> = run.into_iter().map(|(_, code)| code).collect();
    let unproved = blocks(&front.text).into_iter().filter(|(_, code)| !run.contains(code));
    let message = format!("this code is not in {RUN}, which is run as a doctest: make them equal");
    unproved.map(|(number, _)| Problem::at(FRONT, number, message.clone())).collect()
}

/// Each fenced block of Rust, without the fences, and the line of its opening fence.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (line, number) in text.lines().zip(1..) {
        match &mut open {
            Some(_) if line.trim_end() == "```" => found.extend(open.take()),
            Some((_, code)) => {
                code.push_str(line);
                code.push('\n');
            }
            None if line.starts_with("```rust") => open = Some((number, String::new())),
            None => {}
        }
    }
    found
}

const FRONT: &str = "README.md";
const RUN: &str = "crates/busway/README.md";

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "# a\n\n```rust\nf();\n```\n\n```sh\ncargo test\n```\n";

    #[test]
    fn code_that_both_show_passes_whatever_stands_around_it() {
        let facade = "# b\n\nIt.\n\n```rust\nf();\n```\n";
        assert!(check(&Tree::of(&[(FRONT, CODE), (RUN, facade)])).is_empty());
    }

    #[test]
    fn code_that_no_doctest_runs_is_found_at_its_line() {
        for facade in ["# b\n", "# b\n\n```rust\nf(1);\n```\n"] {
            let problems = check(&Tree::of(&[(FRONT, CODE), (RUN, facade)]));
            let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(shown.len(), 1);
            assert!(shown.iter().all(|line| line.starts_with("README.md:3: ")), "{shown:?}");
        }
    }
}
