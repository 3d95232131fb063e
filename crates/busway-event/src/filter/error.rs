//! Why a text is not a filter.

use crate::topic::text::Excerpt;
use crate::topic::{SEGMENTS_MAX, TOPIC_BYTES_MAX};

/// Why a text is not a filter: the broken rule, where, and what to do about it.
///
/// Its message shows the text (at most [`TOPIC_BYTES_MAX`] bytes of it) with everything unprintable escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter {input} is refused at byte {position} (segment {segment}): {kind}")]
pub struct FilterError {
    pub(super) kind: FilterErrorKind,
    pub(super) position: usize,
    pub(super) segment: usize,
    pub(super) input: Excerpt,
}

impl FilterError {
    /// The broken rule.
    pub fn kind(&self) -> FilterErrorKind {
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

/// The rule that a refused filter breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterErrorKind {
    /// There is no text.
    #[error("it is empty; `#` matches every topic")]
    Empty,
    /// The text is longer than [`TOPIC_BYTES_MAX`] bytes.
    #[error("it has {len} bytes, the limit is {TOPIC_BYTES_MAX}, and so it is for topics")]
    TooLong {
        /// Bytes of the refused text.
        len: usize,
    },
    /// There are more than [`SEGMENTS_MAX`] segments.
    #[error(
        "it has {count} segments, the limit is {SEGMENTS_MAX}; end with `#` to take in all that is deeper"
    )]
    TooManySegments {
        /// Segments of the refused text.
        count: usize,
    },
    /// Two dots meet, or the text begins or ends with a dot.
    #[error("the segment is empty; take the extra dot away, or write `+` for any one segment")]
    EmptySegment,
    /// A character is neither a wildcard nor one of `A-Z a-z 0-9 _ -`.
    #[error(
        "the character {0:?} is not allowed; use A-Z a-z 0-9 _ - with dots between segments, `+` and `#`"
    )]
    ForeignCharacter(char),
    /// A `+` or `#` stands beside other characters of its segment.
    #[error(
        "the wildcard `{0}` is only a part of its segment; it stands for whole segments: put dots around it"
    )]
    PartialWildcard(char),
    /// A `#` is followed by another segment.
    #[error("`#` takes all that follows, so it must come last; write `+` for exactly one segment")]
    RestNotLast,
}
