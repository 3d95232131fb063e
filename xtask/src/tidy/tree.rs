//! The files that the rules look at.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::code::code_only;

/// Every text file of the workspace, sorted by path.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: Vec<TextFile>,
}

/// One file.
#[derive(Debug)]
pub(crate) struct TextFile {
    /// From the root, with `/` between the parts.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
    /// For Rust, the text without comments and literals; else empty.
    code: String,
}

impl Tree {
    /// Reads what lies below the root, leaving out what is built, what is binary, and what is too large to be
    /// written by hand. It walks folders and does not ask git, which refuses to answer in a checkout of another
    /// user.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        tree.files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(tree)
    }

    /// A tree made of these paths and texts.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(path, text)| TextFile::new((*path).to_owned(), (*text).to_owned()))
                .collect(),
        }
    }

    /// All files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &TextFile> {
        self.files.iter()
    }

    /// The Rust sources.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &TextFile> {
        self.files().filter(|file| file.is_rust())
    }

    /// The file at this path.
    pub(crate) fn file(&self, path: &str) -> Option<&TextFile> {
        self.files().find(|file| file.path == path)
    }

    /// The names of the folders directly below `folder`, which ends in `/`.
    pub(crate) fn folders(&self, folder: &str) -> Vec<&str> {
        let below = self.files().filter_map(|file| file.path.strip_prefix(folder)?.split_once('/'));
        let mut names: Vec<_> = below.map(|(name, _)| name).collect();
        names.dedup();
        names
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() && !BUILT.contains(&name.as_str()) {
                self.read_folder(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() && entry.metadata()?.len() <= BYTES_MAX {
                let bytes = fs::read(entry.path()).with_context(|| format!("cannot read {path}"))?;
                if let Ok(text) = String::from_utf8(bytes) {
                    self.files.push(TextFile::new(path, text));
                }
            }
        }
        Ok(())
    }
}

impl TextFile {
    fn new(path: String, text: String) -> Self {
        let code = if ends_in_rs(&path) { code_only(&text) } else { String::new() };
        Self { path, text, code }
    }

    pub(crate) fn is_rust(&self) -> bool {
        ends_in_rs(&self.path)
    }

    /// A source that a compile-fail test feeds to the compiler, wrong on purpose.
    pub(crate) fn is_fixture(&self) -> bool {
        self.path.contains("/tests/ui/")
    }

    /// Lines with their numbers, as written.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().zip(1..).map(|(line, number)| (number, line))
    }

    /// Lines of code with their numbers: no comments, nothing inside literals.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().zip(1..).map(|(line, number)| (number, line))
    }

    /// The lines of code that are test code: all of a file in `tests/`, and what follows `#[cfg(test)]` elsewhere.
    pub(crate) fn test_code(&self) -> impl Iterator<Item = (usize, &str)> {
        let all = self.path.split('/').any(|part| part == "tests" || part == "tests.rs");
        let mut inside = all;
        self.code().filter(move |(_, line)| {
            inside |= line.contains("cfg(test)") || line.contains("cfg(all(test");
            inside
        })
    }
}

fn ends_in_rs(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|end| end == "rs")
}

/// Folders that hold what tools made: cargo, git, and trybuild when it records new expectations.
const BUILT: &[&str] = &["target", ".git", "wip"];

/// Larger files are data.
const BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_listed_once_each() {
        let tree = Tree::of(&[
            ("crates/README.md", ""),
            ("crates/a/x.rs", ""),
            ("crates/a/y.rs", ""),
            ("docs/b/z.md", ""),
        ]);
        assert_eq!(tree.folders("crates/"), ["a"]);
    }

    #[test]
    fn test_code_starts_at_the_test_module_or_covers_the_test_folder() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "fn a() {}\n#[cfg(test)]\nmod tests {}"),
            ("crates/a/tests/it/main.rs", "mod a;\nmod b;"),
        ]);
        let counts: Vec<_> = tree.rust().map(|file| file.test_code().count()).collect();
        assert_eq!(counts, [2, 2]);
    }
}
