//! Metadata by name: the fixed fields and the free pairs, of an event or of a draft.

use std::cell::OnceCell;
use std::fmt;

use busway_event::{DraftHead, Metadata, MetadataDraft, TraceContext};

/// What rules and authorization functions see of an event's metadata, around handling and around publishing.
///
/// [`get`](Self::get) knows each field by one name: `producer`, `version`, `trace_id`, `traceparent` and `tracestate`
/// are the fixed fields, every other name is a free pair.
///
/// Around publishing, what the publisher did not set is not there: busway fills in the bus's own producer, and the
/// version of the payload's type, after all publish middleware.
pub struct Pairs<'a> {
    source: Source<'a>,
    // Texts of what is no text, made when they are asked for.
    version: OnceCell<String>,
    trace_id: OnceCell<String>,
    traceparent: OnceCell<String>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Event(&'a Metadata),
    Draft(&'a MetadataDraft),
}

impl<'a> Pairs<'a> {
    const fn new(source: Source<'a>) -> Self {
        Self { source, version: OnceCell::new(), trace_id: OnceCell::new(), traceparent: OnceCell::new() }
    }

    /// The value of the fixed field or free pair `name`. The texts of `version`, `trace_id` and `traceparent` are made
    /// here, which allocates; the others are only looked up.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        match name {
            PRODUCER => self.producer(),
            VERSION => self.version().map(|version| text(&self.version, || version.to_string())),
            "trace_id" => self.trace().map(|trace| text(&self.trace_id, || trace.trace_id_hex())),
            "traceparent" => self.trace().map(|trace| text(&self.traceparent, || trace.to_string())),
            "tracestate" => self.trace()?.state(),
            _ => match self.source {
                Source::Event(metadata) => metadata.get(name),
                Source::Draft(draft) => draft.get(name),
            },
        }
    }

    /// Who publishes the event: always there on an event, on a draft when its publisher says so.
    #[must_use]
    pub fn producer(&self) -> Option<&str> {
        match self.source {
            Source::Event(metadata) => Some(metadata.producer()),
            Source::Draft(draft) => draft.producer(),
        }
    }

    /// The schema version of the payload; `None` on a draft: its payload's type says it.
    #[must_use]
    pub const fn version(&self) -> Option<u16> {
        match self.source {
            Source::Event(metadata) => Some(metadata.version()),
            Source::Draft(_) => None,
        }
    }

    /// The trace that the event belongs to.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        match self.source {
            Source::Event(metadata) => metadata.trace(),
            Source::Draft(draft) => draft.trace(),
        }
    }

    /// Whether busway fills in the field `name` after those who see it here.
    pub(super) fn is_filled_in_later(&self, name: &str) -> bool {
        matches!(self.source, Source::Draft(_)) && matches!(name, PRODUCER | VERSION)
    }
}

fn text(cell: &OnceCell<String>, make: impl FnOnce() -> String) -> &str {
    cell.get_or_init(make)
}

impl<'a> From<&'a Metadata> for Pairs<'a> {
    fn from(metadata: &'a Metadata) -> Self {
        Self::new(Source::Event(metadata))
    }
}

impl<'a> From<&'a DraftHead> for Pairs<'a> {
    fn from(draft: &'a DraftHead) -> Self {
        Self::new(Source::Draft(draft.metadata()))
    }
}

/// Names nothing: values may be secrets.
impl fmt::Debug for Pairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pairs").finish_non_exhaustive()
    }
}

const PRODUCER: &str = "producer";
const VERSION: &str = "version";
