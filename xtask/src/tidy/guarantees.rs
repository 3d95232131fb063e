//! Rule: every proof that `docs/design/guarantees.md` names is there.
//!
//! The last cell of a row names proofs in backticks: a file or folder (`it/…` is in the crate's `tests/`, anything else
//! as the crate sees it), then the tests in it. The crate's name without its prefix stands before the first path, outside
//! of the backticks, and holds until another is named.

use super::problem::Problem;
use super::tree::{TextFile, Tree};

/// Every path that leads nowhere, and every test that is not in the file named before it.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let Some(page) = tree.file(PAGE) else { return Vec::new() };
    let mut problems = Vec::new();
    for (number, line) in page.lines() {
        let Some(proofs) = proofs(line) else { continue };
        problems.extend(wrong(tree, proofs).into_iter().map(|message| Problem::at(PAGE, number, message)));
    }
    problems
}

/// The last cell of a row that is neither the head of a table nor its rule.
fn proofs(line: &str) -> Option<&str> {
    let cell = line.trim_end().strip_prefix("| ")?.strip_suffix('|')?.rsplit_once('|')?.1.trim();
    (!cell.is_empty() && cell != "proof").then_some(cell)
}

fn wrong(tree: &Tree, proofs: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let (mut folder, mut place) = (None, None);
    let mut named = 0;
    for (part, at) in proofs.split('`').zip(0_usize..) {
        if at.is_multiple_of(2) {
            let words = part.split(|c: char| !c.is_ascii_lowercase());
            folder = words.filter_map(|word| crate_folder(tree, word)).next_back().or(folder);
            continue;
        }
        named += 1;
        if is_test(part) {
            let found = place.as_deref().is_some_and(|place| has_test(tree, place, part));
            if !found {
                messages
                    .push(format!("there is no test {part} in {}", place.as_deref().unwrap_or("any file")));
            }
            continue;
        }
        let path = folder.as_deref().map(|folder| path_of(folder, part));
        match path.filter(|path| !files(tree, path).is_empty()) {
            Some(path) => place = Some(path),
            None => messages.push(format!("{part} is not there, in the crate named before it")),
        }
    }
    if named == 0 {
        messages.push("a promise without a proof: name a test".to_owned());
    }
    messages
}

fn crate_folder(tree: &Tree, word: &str) -> Option<String> {
    let name = if word == "busway" { word.to_owned() } else { format!("busway-{word}") };
    tree.folders("crates/").contains(&name.as_str()).then(|| format!("crates/{name}/"))
}

fn path_of(folder: &str, part: &str) -> String {
    if part.starts_with("it/") { format!("{folder}tests/{part}") } else { format!("{folder}{part}") }
}

/// A name of a function; paths have a slash or a dot.
fn is_test(part: &str) -> bool {
    part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn files<'a>(tree: &'a Tree, path: &str) -> Vec<&'a TextFile> {
    let below = |file: &&TextFile| file.path == path || (path.ends_with('/') && file.path.starts_with(path));
    tree.files().filter(below).collect()
}

fn has_test(tree: &Tree, place: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    files(tree, place).iter().any(|file| file.text.contains(&head))
}

const PAGE: &str = "docs/design/guarantees.md";

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(row: &str) -> Vec<String> {
        let page = format!("| promise | proof |\n|---|---|\n{row}\n");
        let tree = Tree::of(&[
            (PAGE, &page),
            ("crates/busway-event/src/codec/json.rs", "mod tests { fn it_decodes() {} }"),
            ("crates/busway-engine/tests/it/order.rs", "async fn keys_stay_in_order() {}"),
        ]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn files_folders_and_tests_that_are_there_pass() {
        let row = "| Kept. | engine `it/order.rs`: `keys_stay_in_order`; event `src/codec/`: `it_decodes` |";
        assert!(problems(row).is_empty(), "{:?}", problems(row));
    }

    #[test]
    fn what_is_gone_is_a_problem() {
        assert_eq!(problems("| Kept. | engine `it/orders.rs` |").len(), 1);
        assert_eq!(problems("| Kept. | event `it/order.rs` |").len(), 1);
        assert_eq!(problems("| Kept. | engine `it/order.rs`: `keys_stay` |").len(), 1);
        assert_eq!(problems("| Kept. | `it/order.rs` |").len(), 1);
        assert_eq!(problems("| Kept. | engine `it/order.rs`: `it_decodes` |").len(), 1);
    }

    #[test]
    fn a_promise_needs_a_proof() {
        assert_eq!(problems("| Kept. | by hand |").len(), 1);
    }
}
