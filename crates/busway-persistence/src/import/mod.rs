//! Import: JSON Lines into a stream.
//!
//! Lines are stored in their order, up to 256 in a commit. Each keeps its id, and counts as one that its publisher gave: within
//! the store's window of ids a line that is there already is not stored again, so that an import that was cut short is repeated as a
//! whole. Everything else that the event carries is kept too. Where it lay is not: it gets the next offset of its partition, which
//! its key or id chooses, and the time of its commit as the time at which the store took it. Lines of anybody's
//! `CloudEvents` are taken as well; seals of an archive are passed over.

mod error;
mod lines;

use std::io::BufRead;

use busway_event::cloudevents::{self, from_json_line};
use busway_event::{AnyEvent, Timestamp};
use crossbeam_channel::bounded;

pub use self::error::{BadLine, ImportCause, ImportError, LineError};
pub use self::lines::LINE_BYTES_MAX;
use self::lines::{Line, next_line};
use crate::append::{Append, Entry};
use crate::error::{AppendError, Fault, Refusal};
use crate::store::Store;
use crate::writer::Request;

/// Where lines go.
#[derive(Debug, Clone)]
pub struct Import {
    stream: String,
    bad_lines: BadLines,
}

/// What becomes of an import that meets a line which cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BadLines {
    /// It ends there with an error that names the line. All lines before it are stored.
    #[default]
    Stop,
    /// The line is counted, and told of in [`Imported::bad`]; the others are stored.
    Skip,
}

impl Import {
    /// Into a stream that the store was opened with.
    pub fn stream(name: impl Into<String>) -> Self {
        Self { stream: name.into(), bad_lines: BadLines::default() }
    }

    /// What becomes of it when a line is bad. Default: [`BadLines::Stop`].
    pub const fn bad_lines(mut self, bad_lines: BadLines) -> Self {
        self.bad_lines = bad_lines;
        self
    }
}

/// What an import did.
#[derive(Debug, Default)]
pub struct Imported {
    /// Lines that were stored now.
    pub stored: u64,
    /// Lines that were there already.
    pub repeated: u64,
    /// Lines that were skipped.
    pub skipped: u64,
    /// The first [`BAD_LISTED`] of those.
    pub bad: Vec<BadLine>,
}

/// An import under way: a batch of lines at a time, for who lends the store for moments only.
#[derive(Debug)]
pub struct Importing {
    import: Import,
    /// Lines that were read.
    read: u64,
    pending: Vec<(u64, AnyEvent)>,
    /// The line at which it ends, when those before it are stored.
    ends: Option<(u64, ImportCause)>,
    imported: Imported,
}

impl Importing {
    /// Begins.
    #[must_use]
    pub fn begin(import: Import) -> Self {
        let (pending, imported) = (Vec::new(), Imported::default());
        Self { import, read: 0, pending, ends: None, imported }
    }

    /// Reads the lines of the next commit. `false` when there was none left.
    pub fn fill(&mut self, reader: &mut impl BufRead) -> bool {
        let mut bytes = 0;
        let mut any = false;
        while self.ends.is_none() && self.pending.len() < LINES && bytes < BYTES {
            let line = match next_line(reader) {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    self.ends = Some((self.read + 1, error.into()));
                    break;
                }
            };
            any = true;
            self.read += 1;
            match line {
                Line::Empty | Line::Seal => {}
                Line::TooLong => self.bad(self.read, LineError::TooLong { limit: LINE_BYTES_MAX }),
                Line::Text(text) => {
                    bytes += text.len();
                    match from_json_line(&text, &cloudevents::Import::new()) {
                        Ok((event, _)) => self.pending.push((self.read, event)),
                        Err(error) => self.bad(self.read, error.into()),
                    }
                }
            }
        }
        any
    }

    /// Stores what was read. `now` is when the store takes it, and each batch is taken when it is stored: by that time the window of ids is
    /// measured, however long the whole import takes.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn store(&mut self, store: &Store, now: Timestamp) -> Result<(), ImportError> {
        let pending = std::mem::take(&mut self.pending);
        if !store.declares(&self.import.stream) {
            let line = pending.first().map_or(self.read, |(line, _)| *line);
            return Err(self.error(line, ImportCause::UnknownStream { stream: self.import.stream.clone() }));
        }
        let (mut lines, mut entries) = (Vec::new(), Vec::new());
        for (line, event) in pending {
            if self.ends.as_ref().is_some_and(|(ends, _)| *ends < line) {
                break;
            }
            match self.entry(store, event, now) {
                Ok(entry) => {
                    lines.push(line);
                    entries.push(entry);
                }
                Err(reason) => self.bad(line, reason),
            }
        }
        self.append(store, &lines, entries)?;
        match self.ends.take() {
            Some((line, cause)) => Err(self.error(line, cause)),
            None => Ok(()),
        }
    }

    /// What was done.
    #[must_use]
    pub fn finish(self) -> Imported {
        self.imported
    }

    fn entry(&self, store: &Store, event: AnyEvent, now: Timestamp) -> Result<Entry, LineError> {
        let stream = &self.import.stream;
        if store.stream_of(event.topic()) != Some(stream) {
            return Err(LineError::NotCaptured { topic: event.topic().clone(), stream: stream.clone() });
        }
        Ok(store.entry(event, true, now)?)
    }

    /// Stores entries in one commit; one by one where one of them stands in the way of the others.
    fn append(&mut self, store: &Store, lines: &[u64], entries: Vec<Entry>) -> Result<(), ImportError> {
        let Some(&first) = lines.first() else { return Ok(()) };
        match put(store, entries) {
            Ok(entries) => {
                let repeated = entries.iter().filter(|entry| entry.first_place.is_some()).count() as u64;
                self.imported.repeated += repeated;
                self.imported.stored += entries.len() as u64 - repeated;
                Ok(())
            }
            Err(AppendError::Refused {
                entries,
                reason:
                    Refusal::Conflict { .. } | Refusal::ConflictScheduled { .. } | Refusal::TwiceInBatch { .. },
            }) if entries.len() > 1 => {
                for (line, entry) in lines.iter().zip(entries) {
                    if self.ends.as_ref().is_none_or(|(ends, _)| line < ends) {
                        self.append(store, &[*line], vec![entry])?;
                    }
                }
                Ok(())
            }
            Err(AppendError::Refused { reason: Refusal::Conflict { id, first: at }, .. }) => {
                self.bad(first, LineError::Conflict { id, first: at });
                Ok(())
            }
            Err(AppendError::Refused { reason: Refusal::ConflictScheduled { id, due }, .. }) => {
                self.bad(first, LineError::ConflictScheduled { id, due });
                Ok(())
            }
            Err(AppendError::Refused { reason, .. }) => Err(self.error(first, reason.into())),
            Err(AppendError::Unknown { fault, .. }) => Err(self.error(first, fault.into())),
        }
    }

    fn bad(&mut self, line: u64, reason: LineError) {
        match self.import.bad_lines {
            BadLines::Stop => {
                if self.ends.as_ref().is_none_or(|(ends, _)| line < *ends) {
                    self.ends = Some((line, reason.into()));
                }
            }
            BadLines::Skip => {
                self.imported.skipped += 1;
                if self.imported.bad.len() < BAD_LISTED {
                    self.imported.bad.push(BadLine { line, reason });
                }
            }
        }
    }

    fn error(&mut self, line: u64, source: ImportCause) -> ImportError {
        ImportError { line, imported: Box::new(std::mem::take(&mut self.imported)), source }
    }
}

/// Stores entries and waits.
fn put(store: &Store, entries: Vec<Entry>) -> Result<Vec<Entry>, AppendError> {
    let ids = entries.iter().map(Entry::id).collect();
    let (answer, answered) = bounded(1);
    store.ask(Request::Append(Append { entries, done: Box::new(move |result| _ = answer.send(result)) }));
    match answered.recv() {
        Ok(result) => result.map(crate::append::Appended::into_entries),
        Err(_) => {
            let fault = Fault { doing: "storing", reason: "the store's writer has ended".to_owned() };
            Err(AppendError::Unknown { ids, fault })
        }
    }
}

impl Store {
    /// Stores lines in their order, see [`Import`]. `now` is the clock, which is asked before each commit, for the time at which the store takes its lines.
    ///
    /// # Errors
    /// [`ImportError`], with the number of the line and what was done before it.
    pub fn import(
        &self,
        import: Import,
        reader: &mut impl BufRead,
        mut now: impl FnMut() -> Timestamp,
    ) -> Result<Imported, ImportError> {
        let mut importing = Importing::begin(import);
        loop {
            let any = importing.fill(reader);
            importing.store(self, now())?;
            if !any {
                return Ok(importing.finish());
            }
        }
    }
}

/// How the seal of an archive's file begins.
pub(crate) const SEAL_START: &[u8] = b"{\"buswayseal\":";
/// Lines of one commit, and bytes.
const LINES: usize = 256;
const BYTES: usize = 1 << 20;
/// Bad lines that are told one by one.
pub const BAD_LISTED: usize = 100;
