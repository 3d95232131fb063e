//! The rules of a topic, once more, so that a bad one is an error at compile time.
//!
//! This crate cannot depend on `busway-event`, which depends on it. Far end: `busway-event/src/topic/scan.rs`;
//! `tests/it` holds the two against each other.

/// The first rule that `text` breaks: the byte at which it does, and what to do about it.
pub(crate) fn flaw(text: &str) -> Option<(usize, String)> {
    if text.is_empty() {
        return Some((0, "it is empty; name at least one segment".to_owned()));
    }
    if text.len() > TOPIC_BYTES_MAX {
        let reason = format!("it has {} bytes, the limit is {TOPIC_BYTES_MAX}", text.len());
        return Some((TOPIC_BYTES_MAX, reason));
    }
    let mut start = 0;
    for (index, segment) in text.split('.').enumerate() {
        if index == SEGMENTS_MAX {
            let count = text.split('.').count();
            return Some((start, format!("it has {count} segments, the limit is {SEGMENTS_MAX}")));
        }
        if segment.is_empty() {
            return Some((
                start,
                "the segment is empty; take the extra dot away or name the segment".to_owned(),
            ));
        }
        if let Some((offset, character)) =
            segment.char_indices().find(|(_, character)| !is_allowed(*character))
        {
            let reason = match character {
                '+' | '#' => {
                    format!("the wildcard `{character}` is for filters; an event has a concrete topic")
                }
                _ => format!("the character {character:?} is not allowed; use A-Z a-z 0-9 _ - and dots"),
            };
            return Some((start + offset, reason));
        }
        start += segment.len() + 1;
    }
    None
}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '-'
}

const TOPIC_BYTES_MAX: usize = 255;
const SEGMENTS_MAX: usize = 16;
