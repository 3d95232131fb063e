//! Why a text is not a topic.

use super::text::Excerpt;
use super::{SEGMENTS_MAX, TOPIC_BYTES_MAX};

/// Why a text is not a topic: the broken rule, where, and what to do about it.
///
/// Its message shows the text (at most [`TOPIC_BYTES_MAX`] bytes of it) with everything unprintable escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("topic {input} is refused at byte {position} (segment {segment}): {kind}")]
pub struct TopicError {
    pub(super) kind: TopicErrorKind,
    pub(super) position: usize,
    pub(super) segment: usize,
    pub(super) input: Excerpt,
}

impl TopicError {
    /// The broken rule.
    pub fn kind(&self) -> TopicErrorKind {
        self.kind
    }

    /// The byte at which the rule breaks, counted from 0.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The segment in which the rule breaks, counted from 0.
    pub fn segment(&self) -> usize {
        self.segment
    }

    /// The refused text, cut after [`TOPIC_BYTES_MAX`] bytes; never escaped.
    pub fn input(&self) -> &str {
        &self.input.text
    }
}

/// The rule that a refused topic breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicErrorKind {
    /// There is no text.
    #[error("it is empty; name at least one segment")]
    Empty,
    /// The text is longer than [`TOPIC_BYTES_MAX`] bytes.
    #[error(
        "it has {len} bytes, the limit is {TOPIC_BYTES_MAX}; put details into the payload or the metadata"
    )]
    TooLong {
        /// Bytes of the refused text.
        len: usize,
    },
    /// There are more than [`SEGMENTS_MAX`] segments.
    #[error("it has {count} segments, the limit is {SEGMENTS_MAX}; join some of them with `-` or `_`")]
    TooManySegments {
        /// Segments of the refused text.
        count: usize,
    },
    /// Two dots meet, or the text begins or ends with a dot.
    #[error("the segment is empty; take the extra dot away or name the segment")]
    EmptySegment,
    /// A character is outside `A-Z a-z 0-9 _ -`.
    #[error("the character {0:?} is not allowed; use A-Z a-z 0-9 _ - and dots between segments")]
    ForeignCharacter(char),
    /// A `+` or `#`: the text is a pattern.
    #[error("the wildcard `{0}` is for filters; publish under a concrete name, or subscribe with a filter")]
    Wildcard(char),
}
