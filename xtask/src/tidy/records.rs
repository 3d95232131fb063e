//! Rule: decision records are numbered without gaps, titled by their number, and listed.

use super::problem::Problem;
use super::tree::{TextFile, Tree};

/// Every record in `docs/adr/` with a bad name, number or title, and every one that its README does not link to.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let records: Vec<_> = tree.files().filter_map(|file| Some((record_name(file)?, file))).collect();
    if records.is_empty() {
        return Vec::new();
    }
    let list = tree.file(LIST).map(|file| file.text.as_str()).unwrap_or_default();
    let mut problems = Vec::new();
    let mut next = 0;
    for (name, file) in records {
        let mut complain = |message: String| problems.push(Problem::of(&file.path, message));
        let Some(number) = number(name) else {
            complain("name it `NNNN-what-was-decided.md`".to_owned());
            continue;
        };
        if number != next {
            complain(format!("the next number is {next:04}"));
        }
        next = number + 1;
        if !file.text.starts_with(&format!("# {number:04}")) {
            complain(format!("open with the title `# {number:04}: …`"));
        }
        if !list.contains(&format!("]({name})")) {
            complain(format!("not listed in {LIST}"));
        }
    }
    problems
}

fn record_name(file: &TextFile) -> Option<&str> {
    let name = file.path.strip_prefix(FOLDER)?;
    (!name.contains('/') && !NO_RECORDS.contains(&name)).then_some(name)
}

/// The number of `0007-short-name.md`.
fn number(name: &str) -> Option<u32> {
    let (digits, rest) = name.split_once('-')?;
    let words = rest.strip_suffix(".md")?;
    let plain = words.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    (digits.len() == 4 && plain && !words.is_empty()).then(|| digits.parse().ok())?
}

const FOLDER: &str = "docs/adr/";
const LIST: &str = "docs/adr/README.md";
const NO_RECORDS: &[&str] = &["README.md", "template.md"];

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn numbered_titled_and_listed_records_pass() {
        let found = problems(&[
            ("docs/adr/0000-record-decisions.md", "# 0000: Record decisions\n"),
            ("docs/adr/0001-one-lock.md", "# 0001: One lock\n"),
            ("docs/adr/README.md", "* [a](0000-record-decisions.md)\n* [b](0001-one-lock.md)\n"),
            ("docs/adr/template.md", ""),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_gap_a_bad_title_and_a_missing_line_are_problems() {
        let found = problems(&[("docs/adr/0000-a.md", "# 0000: A\n"), ("docs/adr/0002-b.md", "# B\n")]);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found.iter().any(|line| line.contains("the next number is 0001")));
    }

    #[test]
    fn a_record_without_a_number_is_a_problem() {
        assert_eq!(problems(&[("docs/adr/we-like-locks.md", "")]).len(), 1);
        assert_eq!(problems(&[("docs/adr/0001_locks.md", "")]).len(), 1);
    }
}
