//! Texts that settings come from, and places in them.
//!
//! A file is read whole, once, and never beyond [`FILE_BYTES_MAX`]; what is not a file of text is refused before anything is parsed.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::problem::escaped;
use crate::secret::{hidden, hidden_from, is_secret};

/// A text with a name: a file, or an environment variable. `Debug` shows the name alone: secrets may be in the text.
#[derive(PartialEq, Eq)]
pub(crate) struct Source {
    name: String,
    text: String,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
    /// Whether all of it is.
    is_secret: bool,
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
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text, lines, is_secret }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// A line without its end, from 1.
    pub(crate) fn line(&self, number: u32) -> Option<&str> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        let begin = *self.lines.get(at)?;
        let end = self.lines.get(at + 1).copied().unwrap_or(self.text.len());
        Some(self.text.get(begin..end)?.trim_end_matches(['\n', '\r']))
    }

    /// The place of some of its bytes.
    pub(crate) fn place(self: &Arc<Self>, bytes: std::ops::Range<usize>) -> Place {
        let line = self.lines.partition_point(|begin| *begin <= bytes.start).max(1);
        let begin = self.lines.get(line - 1).copied().unwrap_or(0);
        let count = |range: std::ops::Range<usize>| {
            let text = self.text.get(range).unwrap_or_default();
            u32::try_from(text.lines().next().unwrap_or_default().chars().count()).unwrap_or(u32::MAX)
        };
        Place {
            column: count(begin..bytes.start).saturating_add(1),
            width: count(bytes.clone()).max(1),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            source: Arc::clone(self),
            is_secret: self.is_secret,
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

    /// Its line, secrets hidden.
    pub(crate) fn source_line(&self) -> Option<Cow<'_, str>> {
        let line = self.source.line(self.line)?;
        Some(if self.is_secret { hidden_from(line, 0) } else { hidden(line) })
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
        assert_eq!(place.source_line().as_deref(), Some("bß = \"xy\""));
        assert_eq!(place.to_string(), "a.toml:2:6");
        let end = source.place(source.text().len()..source.text().len());
        assert_eq!((end.line(), end.column(), end.width()), (3, 1, 1));
    }
}
