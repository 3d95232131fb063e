//! Texts that settings come from, and places in them.
//!
//! A file is read whole, once, and never beyond [`FILE_BYTES_MAX`]; what is not a file of text is refused before anything is parsed.

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::index::Index;
use crate::problem::escaped;
use crate::secret::{end_of_first_secret, hidden_from, is_secret};

/// A text with a name: a file, or an environment variable. `Debug` shows the name alone: secrets may be in the text.
pub(crate) struct Source {
    name: String,
    text: String,
    /// Where its lines and characters are: a file may be one line, of which each value has a place.
    index: Index,
    /// Whether all of it is.
    is_secret: bool,
    /// Where the first secret of a line begins, of the line that was last shown: all problems of a file may be in one.
    last_shown: Mutex<Option<(u32, Option<usize>)>>,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.text, self.is_secret) == (&other.name, &other.text, other.is_secret)
    }
}

impl Eq for Source {}

/// As much of a line as is shown of it, secrets hidden.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) text: String,
    /// Characters before it, and whether there are some behind.
    pub(crate) from: usize,
    pub(crate) goes_on: bool,
}

impl Source {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self::of(name.into(), text.into(), false))
    }

    /// The value of an environment variable.
    pub(crate) fn of_variable(name: &str, value: String) -> Arc<Self> {
        Arc::new(Self::of(format!("environment variable {name}"), value, is_secret(name)))
    }

    fn of(name: String, text: String, is_secret: bool) -> Self {
        let index = Index::of(&text);
        Self { name, text, index, is_secret, last_shown: Mutex::default() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Characters of a line, without the spaces that it ends with.
    pub(crate) fn width_of(&self, line: u32) -> Option<usize> {
        Some(self.index.characters(&self.text, self.index.trimmed(line)?))
    }

    /// The place of some of its bytes; of what goes over several lines, as much as is in the first.
    pub(crate) fn place(self: &Arc<Self>, bytes: Range<usize>) -> Place {
        let number = self.index.line_at(bytes.start);
        let line = self.index.line(number).unwrap_or(0..self.text.len());
        let count = |range| u32::try_from(self.index.characters(&self.text, range)).unwrap_or(u32::MAX);
        Place {
            column: count(line.start..bytes.start).saturating_add(1),
            width: count(bytes.start..bytes.end.min(line.end)).max(1),
            line: number,
            source: Arc::clone(self),
            is_secret: self.is_secret,
        }
    }

    /// Where the first secret of a line begins, in its bytes.
    fn secret_of(&self, number: u32, line: &str) -> Option<usize> {
        let mut last = self.last_shown.lock();
        match *last {
            Some((shown, from)) if shown == number => from,
            _ => last.insert((number, end_of_first_secret(line))).1,
        }
    }

    /// A place by its line and column.
    pub(crate) fn place_at(self: &Arc<Self>, line: u32, column: u32, width: u32) -> Place {
        let (line, column, width) = (line.max(1), column.max(1), width.max(1));
        Place { source: Arc::clone(self), line, column, width, is_secret: self.is_secret }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A place in a file or in an environment variable: where a setting was given.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    source: Arc<Source>,
    line: u32,
    column: u32,
    width: u32,
    /// Whether its line is.
    is_secret: bool,
}

impl Place {
    /// Its line is shown to nobody from now on.
    pub(crate) const fn hide(&mut self) {
        self.is_secret = true;
    }

    /// The file, or `environment variable NAME`.
    #[must_use]
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// The line, from 1.
    #[must_use]
    pub const fn line(&self) -> u32 {
        self.line
    }

    /// The column in characters, from 1.
    #[must_use]
    pub const fn column(&self) -> u32 {
        self.column
    }

    /// Characters that are meant, at least 1.
    pub(crate) const fn width(&self) -> u32 {
        self.width
    }

    /// Some characters of its line, from one on, secrets hidden.
    pub(crate) fn window(&self, from: usize, characters: usize) -> Option<Window> {
        let Source { text, index, .. } = &*self.source;
        let bytes = index.line(self.line)?;
        let line = text.get(bytes.clone())?;
        let byte_of = |characters| index.byte_of(text, &bytes, characters) - bytes.start;
        let shown = byte_of(from)..byte_of(from.saturating_add(characters));
        let secret = if self.is_secret { Some(0) } else { self.source.secret_of(self.line, line) };
        let window = line.get(shown.clone())?;
        let window = match secret {
            Some(secret) if secret < shown.end => hidden_from(window, secret.saturating_sub(shown.start)),
            _ => window.to_owned(),
        };
        Some(Window { text: window, from, goes_on: shown.end < line.len() })
    }
}

/// `busway.yaml:14:5`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", escaped(self.source.name()), self.line, self.column)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads a file of text that is no larger than [`FILE_BYTES_MAX`].
pub(crate) fn read(path: &Path) -> Result<Arc<Source>, ReadFileError> {
    check_owner(path)?;
    // Whoever opens a pipe waits until somebody writes into it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(ReadFileError::NoFile);
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "configuration is read here and nowhere else: once, and up to a bound"
    )]
    let file = std::fs::File::open(path)?;
    // Of the file that is open, so that nobody puts another one there in between. What is not a regular file may have no end.
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadFileError::NoFile);
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(ReadFileError::TooLarge { bytes: metadata.len() });
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if length > FILE_BYTES_MAX {
        return Err(ReadFileError::TooLarge { bytes: length });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
        ReadFileError::NotText { line }
    })?;
    Ok(Source::new(path.display().to_string(), text))
}

/// Who may write a link could make a privileged program read a file of somebody else's.
#[cfg(unix)]
fn check_owner(path: &Path) -> Result<(), ReadFileError> {
    use std::os::unix::fs::MetadataExt;
    let (link, target) = (std::fs::symlink_metadata(path)?, std::fs::metadata(path)?);
    match link.uid() == target.uid() || link.uid() == 0 {
        true => Ok(()),
        false => Err(ReadFileError::OtherOwner { link: link.uid(), target: target.uid() }),
    }
}

#[cfg(not(unix))]
fn check_owner(_path: &Path) -> Result<(), ReadFileError> {
    Ok(())
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFileError {
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("it is no regular file")]
    NoFile,
    #[error("it has {bytes} bytes; a configuration has at most {FILE_BYTES_MAX}")]
    TooLarge { bytes: u64 },
    #[error("line {line} is not UTF-8")]
    NotText { line: usize },
    #[error("it is a link of user {link} to a file of user {target}; whose file it is must own the link")]
    OtherOwner { link: u32, target: u32 },
}

/// Bytes of a file: some thousand routes fit into it.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_by_bytes_and_counts_characters() {
        let source = Source::new("a.toml", "ä = 1\nbß = \"xy\"\n");
        let place = source.place(13..17);
        assert_eq!((place.line(), place.column(), place.width()), (2, 6, 4));
        let text = "bß = \"xy\"".to_owned();
        assert_eq!(place.window(0, 60), Some(Window { text, from: 0, goes_on: false }));
        let text = "ß =".to_owned();
        assert_eq!(place.window(1, 3), Some(Window { text, from: 1, goes_on: true }));
        assert_eq!(place.to_string(), "a.toml:2:6");
        let end = source.place(source.text().len()..source.text().len());
        assert_eq!((end.line(), end.column(), end.width()), (3, 1, 1));
    }
}
