//! Export: a stream, or a part of it, as JSON Lines.
//!
//! Each event is a line, as [`to_json_line`](busway_event::cloudevents::to_json_line) makes it: a `CloudEvent` that says where it
//! lay. Lines come partition by partition, in the order of the offsets. The end of each partition is that of the moment when
//! the export began; what is published later is not in it. It reads a page at a time, out of transactions that last for a moment, and
//! holds no more than that page.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::Range;

use busway_event::cloudevents::{Origin, to_json_line};
use busway_event::{EncodeError, Filter};

use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::read::ReadLimits;
use crate::store::Store;

/// What is exported.
#[derive(Debug, Clone)]
pub struct Export {
    stream: String,
    partition: Option<u16>,
    from: u64,
    to: u64,
    filter: Option<Filter>,
    damaged: Damaged,
}

/// What becomes of an export that meets a damaged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Damaged {
    /// It ends with an error that names the record: an export is whole, or fails.
    #[default]
    Stop,
    /// The record is left out and counted: for who saves what can be saved.
    Skip,
}

impl Export {
    /// All of a stream that is there.
    pub fn stream(name: impl Into<String>) -> Self {
        let (from, to, damaged) = (0, u64::MAX, Damaged::default());
        Self { stream: name.into(), partition: None, from, to, filter: None, damaged }
    }

    /// One partition of it, by its place in the stream, from 0. Default: all.
    pub const fn partition(mut self, partition: u16) -> Self {
        self.partition = Some(partition);
        self
    }

    /// From the start of this range to before its end, in each partition. An offset that retention has let go, other than 0, is an
    /// error; an end beyond the last event is the last event. Default: everything.
    pub const fn offsets(mut self, offsets: Range<u64>) -> Self {
        (self.from, self.to) = (offsets.start, offsets.end);
        self
    }

    /// Events whose topic the filter matches. Default: all.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// What becomes of it when a record is damaged. Default: [`Damaged::Stop`].
    pub const fn damaged(mut self, damaged: Damaged) -> Self {
        self.damaged = damaged;
        self
    }
}

/// What was exported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines that were written.
    pub events: u64,
    /// Records that were left out because they are damaged.
    pub damaged: u64,
    /// For each partition that was exported, by its place in the stream, the offset that it was exported up to, excluded: where the
    /// next export goes on.
    pub ends: Vec<(u16, u64)>,
}

/// Why an export ended early. What was written before it, whole lines, is good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The store holds no such stream.
    #[error("the store holds no stream \"{stream}\"")]
    UnknownStream {
        /// The name that was given.
        stream: String,
    },
    /// The stream has no such partition.
    #[error("stream {stream} has no partition {partition}")]
    UnknownPartition {
        /// The stream.
        stream: String,
        /// The partition that was asked for.
        partition: u16,
    },
    /// The events cannot be read: they are gone, damaged, or the system refuses.
    #[error("partition {partition} of stream {stream} cannot be exported")]
    Read {
        /// The stream.
        stream: String,
        /// The partition in it.
        partition: u16,
        /// Why.
        source: ReadError,
    },
    /// An event has no bytes.
    #[error("the event at {stream}/{partition}/{offset} cannot be encoded")]
    Encode {
        /// The stream.
        stream: String,
        /// The partition in it.
        partition: u16,
        /// Where it lies.
        offset: u64,
        /// Why.
        source: EncodeError,
    },
    /// The writer refuses.
    #[error("the export cannot be written")]
    Write(#[from] io::Error),
}

/// An export under way: page by page, for who lends the store for moments only.
#[derive(Debug)]
pub struct Exporting {
    export: Export,
    left: VecDeque<Part>,
    exported: Exported,
}

#[derive(Debug)]
struct Part {
    /// The partition's number in the store.
    number: u32,
    /// Its place in the stream.
    index: u16,
    next: u64,
    end: u64,
}

impl Exporting {
    /// Begins: the ends of all partitions are those of now.
    ///
    /// # Errors
    /// [`ExportError::UnknownStream`], [`ExportError::UnknownPartition`].
    pub fn begin(store: &Store, export: Export) -> Result<Self, ExportError> {
        let Some(numbers) = store.partitions(&export.stream) else {
            return Err(ExportError::UnknownStream { stream: export.stream });
        };
        if let Some(partition) = export.partition.filter(|&partition| usize::from(partition) >= numbers.len())
        {
            return Err(ExportError::UnknownPartition { stream: export.stream, partition });
        }
        let wanted = |index: u16| export.partition.is_none_or(|partition| partition == index);
        let part = |(number, index): (u32, u16)| {
            let (first, end) = store.bounds(number).unwrap_or_default();
            let next = if export.from == 0 { first } else { export.from };
            Part { number, index, next, end: end.min(export.to) }
        };
        let left = numbers.zip(0..).filter(|&(_, index)| wanted(index)).map(part).collect();
        Ok(Self { export, left, exported: Exported::default() })
    }

    /// Adds the lines of the next page to `into`. `false` when there is no other.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn page(&mut self, store: &Store, into: &mut Vec<u8>) -> Result<bool, ExportError> {
        let Self { export, left, exported } = self;
        let Some(part) = left.front_mut() else { return Ok(false) };
        if part.next >= part.end {
            exported.ends.push((part.index, part.next));
            left.pop_front();
            return Ok(true);
        }
        let page = match store.read(part.number, part.next, export.filter.as_ref(), ReadLimits::default()) {
            Ok(page) => page,
            Err(ReadError::Corrupt(corrupt)) if export.damaged == Damaged::Skip => {
                skipped(&corrupt);
                exported.damaged += 1;
                part.next += 1;
                return Ok(true);
            }
            // It began at the start of the log, and retention was quicker.
            Err(ReadError::BeforeStart { first, .. }) if export.from == 0 => {
                part.next = first.min(part.end);
                return Ok(true);
            }
            Err(source) => {
                let (stream, partition) = (export.stream.clone(), part.index);
                return Err(ExportError::Read { stream, partition, source });
            }
        };
        for stored in page.events.iter().take_while(|stored| stored.offset < part.end) {
            let origin = Origin {
                stream: export.stream.clone(),
                partition: part.index,
                offset: stored.offset,
                appended: stored.appended,
            };
            let line = to_json_line(&stored.event, &origin).map_err(|source| {
                let Origin { stream, partition, offset, .. } = origin;
                ExportError::Encode { stream, partition, offset, source }
            })?;
            into.extend(line);
            into.push(b'\n');
            exported.events += 1;
        }
        // Nothing more is there, whatever the bounds said: it ends here rather than never.
        part.next = if page.next > part.next { page.next.min(part.end) } else { part.end };
        Ok(true)
    }

    /// What was exported so far.
    #[must_use]
    pub const fn exported(&self) -> &Exported {
        &self.exported
    }
}

fn skipped(corrupt: &Corrupt) {
    tracing::warn!(%corrupt, "a damaged record is left out of an export");
}

impl Store {
    /// Writes a stream, or a part of it, as JSON Lines: see [`Export`] for what, and the guide to operating a store for the form. What
    /// is in it ends where each partition ended when the export began; it reads in moments, page by page, while the store is in use.
    /// The writer is flushed, not synced.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn export(&self, export: Export, writer: &mut impl Write) -> Result<Exported, ExportError> {
        let mut exporting = Exporting::begin(self, export)?;
        let mut lines = Vec::new();
        while exporting.page(self, &mut lines)? {
            writer.write_all(&lines)?;
            lines.clear();
        }
        writer.flush()?;
        Ok(exporting.exported)
    }
}
