//! Rule: no test waits for time to pass. It would be slow on a good day and wrong on a bad one.

use super::code::is_word;
use super::problem::Problem;
use super::tree::Tree;

/// Every call of `thread::sleep` or `tokio::time::sleep` in test code. A method such as the manual clock's own
/// `clock.sleep(…)` is another thing and stays.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.rust().filter(|file| !file.is_fixture()) {
        for (number, line) in file.test_code() {
            if sleeps(line) {
                problems.push(Problem::at(
                    &file.path,
                    number,
                    "no sleeping in tests: drive a manual clock or wait for a signal",
                ));
            }
        }
    }
    problems
}

fn sleeps(line: &str) -> bool {
    FUNCTIONS.iter().any(|name| {
        line.match_indices(name).any(|(start, _)| {
            let before = line.get(..start).unwrap_or_default();
            let after = line.get(start + name.len()..).unwrap_or_default();
            let by_path = before.ends_with("thread::") || before.ends_with("time::");
            let bare = !before.ends_with(|last: char| is_word(last) || last == '.' || last == ':')
                && !before.trim_end().ends_with("fn");
            after.starts_with('(') && (by_path || bare)
        })
    })
}

const FUNCTIONS: &[&str] = &["sleep", "sleep_until"];

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn sleeping_is_found_in_test_code_only() {
        let text = "fn f() { std::thread::sleep(d); }\n#[cfg(test)]\nmod tests { fn g() { tokio::time::sleep(d); } }";
        assert_eq!(count("crates/a/src/lib.rs", text), 1);
        assert_eq!(count("crates/a/tests/it/main.rs", "use tokio::time::sleep;\nfn f() { sleep(d) }"), 1);
        assert_eq!(count("crates/a/tests/it/main.rs", "async fn f() { time::sleep_until(t).await }"), 1);
    }

    #[test]
    fn a_clock_of_our_own_may_be_called_what_it_is() {
        let text = "fn sleep(d: Duration) {}\nfn f() { clock.sleep(d); ManualClock::sleep(d); }\n// thread::sleep(d)";
        assert_eq!(count("crates/a/tests/it/main.rs", text), 0);
    }
}
