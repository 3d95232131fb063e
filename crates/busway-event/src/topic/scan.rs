//! The one scanner that reads topics and filters, so that no rule is written twice.

use super::{SEGMENTS_MAX, TOPIC_BYTES_MAX};

/// Which wildcards the scanner lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// None.
    Topic,
    /// `+` as a whole segment, `#` as the whole last segment.
    Filter,
}

/// The first rule that a text breaks.
#[derive(Debug)]
pub(crate) struct Flaw {
    pub(crate) kind: FlawKind,
    pub(crate) position: usize,
    pub(crate) segment: usize,
}

#[derive(Debug)]
pub(crate) enum FlawKind {
    Empty,
    TooLong {
        len: usize,
    },
    TooManySegments {
        count: usize,
    },
    EmptySegment,
    Foreign(char),
    /// In a topic: any wildcard. In a filter: one that is only a part of its segment.
    Wildcard(char),
    /// In a filter: `#` is a whole segment, but not the last.
    RestNotLast,
}

/// Reads `text` from the left and reports the first flaw. Length comes first, so that hostile input costs no scan.
pub(crate) fn scan(text: &str, grammar: Grammar) -> Result<(), Flaw> {
    if text.is_empty() {
        return Err(Flaw { kind: FlawKind::Empty, position: 0, segment: 0 });
    }
    if text.len() > TOPIC_BYTES_MAX {
        let segment = text.bytes().take(TOPIC_BYTES_MAX).filter(|&byte| byte == b'.').count();
        return Err(Flaw { kind: FlawKind::TooLong { len: text.len() }, position: TOPIC_BYTES_MAX, segment });
    }
    if is_plain(text) {
        return Ok(());
    }
    let mut start = 0;
    for (index, segment) in text.split('.').enumerate() {
        if index == SEGMENTS_MAX {
            let count = text.split('.').count();
            return Err(Flaw { kind: FlawKind::TooManySegments { count }, position: start, segment: index });
        }
        let end = start + segment.len();
        if let Some((offset, kind)) = segment_flaw(segment, grammar, end == text.len()) {
            return Err(Flaw { kind, position: start + offset, segment: index });
        }
        start = end + 1;
    }
    Ok(())
}

/// Whether it is a name without wildcards and without a flaw, as nearly all are: told in one pass.
fn is_plain(text: &str) -> bool {
    // A dot before the first byte: a name that begins with one has two in a row.
    let (mut segments, mut behind_dot) = (1, true);
    for byte in text.bytes() {
        let is_dot = byte == b'.';
        if (is_dot && behind_dot) || !(is_dot || is_segment_byte(byte)) {
            return false;
        }
        segments += usize::from(is_dot);
        behind_dot = is_dot;
    }
    !behind_dot && segments <= SEGMENTS_MAX
}

/// What is wrong with one segment, and at which of its bytes.
fn segment_flaw(segment: &str, grammar: Grammar, last: bool) -> Option<(usize, FlawKind)> {
    match (segment, grammar) {
        ("", _) => return Some((0, FlawKind::EmptySegment)),
        ("+", Grammar::Filter) => return None,
        ("#", Grammar::Filter) => return (!last).then_some((0, FlawKind::RestNotLast)),
        _ => {}
    }
    let offset = segment.bytes().position(|byte| !is_segment_byte(byte))?;
    let character = segment.get(offset..).and_then(|rest| rest.chars().next())?;
    let kind = match character {
        '+' | '#' => FlawKind::Wildcard(character),
        _ => FlawKind::Foreign(character),
    };
    Some((offset, kind))
}

fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}
