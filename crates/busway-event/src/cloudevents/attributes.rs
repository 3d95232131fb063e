//! Attributes: their names, which characters they may hold, and the set of them that an import works off.

use std::borrow::Cow;

use super::error::{CloudEventError, cut};
use super::known::{Known, Name};

/// Names that the specification gives a meaning (CloudEvents 1.0.2, "Context Attributes"), and `data`.
const CONTEXT: [&str; 9] =
    ["specversion", "id", "source", "type", "datacontenttype", "dataschema", "subject", "time", "data"];

/// Names that busway's own header fields have.
const OURS: [&str; 7] = [SCHEMA_VERSION, KEY, PRIORITY, EXPIRY, TRACE_PARENT, TRACE_STATE, META];

/// Where an event lay in a log, on a [`line`](super::line): stream, partition, offset, when the log took it. Metadata pairs of these
/// names are never attributes, so that a line says each once.
pub(super) const ORIGIN: [&str; 4] = ["buswaystream", "buswaypartition", "buswayoffset", "buswayappended"];

pub(super) const SCHEMA_VERSION: &str = "schemaversion";
pub(super) const KEY: &str = "partitionkey";
pub(super) const PRIORITY: &str = "priority";
pub(super) const EXPIRY: &str = "expirytime";
pub(super) const TRACE_PARENT: &str = "traceparent";
pub(super) const TRACE_STATE: &str = "tracestate";
/// Metadata pairs that cannot be attributes, as the text of a JSON object.
pub(super) const META: &str = "buswaymeta";
/// The member of [`META`] that is the key, when that holds characters which no attribute may hold. No metadata pair can
/// have this name.
pub(super) const KEY_IN_META: &str = "@partitionkey";
/// The member of [`META`] that is the producer, when that is no URI reference and `source` is what was made of it.
pub(super) const PRODUCER_IN_META: &str = "@producer";
/// Members of [`META`] that say exactly what attributes cannot, see [`line`](super::line). No metadata pair can have these names.
pub(super) const ID_IN_META: &str = "@id";
pub(super) const ORIGIN_ID_IN_META: &str = "@originid";
pub(super) const TYPE_IN_META: &str = "@typename";
pub(super) const TTL_IN_META: &str = "@ttl";
/// What the names of foreign attributes start with that metadata pairs must not have.
pub(super) const FOREIGN: &str = "ce-";
/// Foreign attributes that are kept under [`FOREIGN`] names and exported under their own. The content type is one
/// more, with a condition.
pub(super) const KEPT: [&str; 3] = ["dataschema", "producer", "version"];

/// Whether a metadata pair of this name can be an attribute: a legal name that means nothing else.
pub(super) fn is_free_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(legal)
        && !CONTEXT.contains(&name)
        && !OURS.contains(&name)
        && !KEPT.contains(&name)
        && !ORIGIN.contains(&name)
}

/// The byte at which `text` holds a character that no attribute may hold: a control character or a noncharacter
/// (CloudEvents 1.0.2, "Type System").
pub(super) fn forbidden_at(text: &str) -> Option<usize> {
    // Nearly all are.
    if is_printable_ascii(text.as_bytes()) {
        return None;
    }
    text.char_indices().find_map(|(at, character)| is_forbidden(character).then_some(at))
}

/// Whether all bytes are from space to `~`, told eight at a time. The last eight are looked at together, some of them twice.
fn is_printable_ascii(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let flaws = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        // Of bytes below 0x80, which carry nothing to their neighbours: 0x7f becomes 0x80, what is below 0x20 stays below it. Others are flaws themselves.
        (word | word.wrapping_add(ONES) | !word.wrapping_add((0x80 - 0x20) * ONES)) & HIGH
    };
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().fold(true, |plain, byte| plain & matches!(byte, 0x20..=0x7e));
    };
    bytes.as_chunks().0.iter().fold(flaws(last), |found, word| found | flaws(word)) == 0
}

/// Whether no attribute may hold the character.
pub(super) fn is_forbidden(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

/// A value as it arrived.
#[derive(Debug)]
pub(super) struct Value<'a> {
    text: Cow<'a, str>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A string.
    Text,
    /// The JSON text of another value.
    Json,
}

impl<'a> Value<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self { text: text.into(), form: Form::Text }
    }

    pub(super) fn json(text: &'a str) -> Self {
        Self { text: text.into(), form: Form::Json }
    }

    /// # Errors
    /// The value is no string.
    fn string(self, name: &str) -> Result<Cow<'a, str>, CloudEventError> {
        match self.form {
            Form::Text => Ok(self.text),
            Form::Json => Err(CloudEventError::NotText { attribute: name.to_owned() }),
        }
    }
}

/// The attributes that are not worked off yet.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    known: [Option<Value<'a>>; Known::COUNT],
    /// In the order in which they arrived.
    others: Vec<(String, Value<'a>)>,
    /// How many arrived.
    count: usize,
}

impl<'a> Attributes<'a> {
    /// Adds an attribute.
    ///
    /// # Errors
    /// It is there already, one too many, or holds a character that it must not. A trace context may hold any: what is
    /// wrong with it never refuses an event.
    pub(super) fn add(&mut self, name: Name, value: Value<'a>) -> Result<(), CloudEventError> {
        let is_there = match &name {
            Name::Known(known) => self.has(*known),
            Name::Other(name) => self.others.iter().any(|(there, _)| there == name),
        };
        if is_there {
            return Err(CloudEventError::duplicate(name.as_str()));
        }
        if self.count == ATTRIBUTES_MAX {
            return Err(CloudEventError::TooManyAttributes { limit: ATTRIBUTES_MAX });
        }
        let is_trace = matches!(name, Name::Known(Known::TraceParent | Known::TraceState));
        if value.form == Form::Text
            && !is_trace
            && let Some(position) = forbidden_at(&value.text)
        {
            return Err(CloudEventError::Character { attribute: cut(name.as_str()), position });
        }
        self.count += 1;
        match name {
            Name::Known(known) => {
                if let Some(place) = self.known.get_mut(known as usize) {
                    *place = Some(value);
                }
            }
            Name::Other(name) => self.others.push((name, value)),
        }
        Ok(())
    }

    /// Whether nothing was added.
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it was added and is not taken out.
    pub(super) fn has(&self, known: Known) -> bool {
        self.known.get(known as usize).is_some_and(Option::is_some)
    }

    /// The same, and that it has a text.
    pub(super) fn says(&self, known: Known) -> bool {
        self.known.get(known as usize).and_then(Option::as_ref).is_some_and(|value| !value.text.is_empty())
    }

    /// Puts those that not all imports look for in the order of their names.
    pub(super) fn sort_others(&mut self) {
        self.others.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    }

    /// Takes a string out.
    ///
    /// # Errors
    /// The value is no string.
    pub(super) fn take(&mut self, known: Known) -> Result<Option<Cow<'a, str>>, CloudEventError> {
        self.take_value(known).map(|value| value.string(known.name())).transpose()
    }

    /// Takes a string or the JSON text of another value out.
    pub(super) fn take_any(&mut self, known: Known) -> Option<Cow<'a, str>> {
        self.take_value(known).map(|value| value.text)
    }

    fn take_value(&mut self, known: Known) -> Option<Value<'a>> {
        self.known.get_mut(known as usize)?.take()
    }

    /// Takes a string out that must be there.
    ///
    /// # Errors
    /// The value is missing, empty or no string.
    pub(super) fn require(&mut self, known: Known) -> Result<Cow<'a, str>, CloudEventError> {
        self.take_said(known)?.ok_or(CloudEventError::Missing { attribute: known.name() })
    }

    /// Takes a string out; an empty one is as good as none.
    ///
    /// # Errors
    /// The value is no string.
    pub(super) fn take_said(&mut self, known: Known) -> Result<Option<Cow<'a, str>>, CloudEventError> {
        Ok(self.take(known)?.filter(|text| !text.is_empty()))
    }

    /// Takes a string out whose name is none of those that all imports look for.
    ///
    /// # Errors
    /// The value is no string.
    pub(super) fn take_other(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, CloudEventError> {
        let at = self.others.iter().position(|(there, _)| there == name);
        at.map(|at| self.others.remove(at).1.string(name)).transpose()
    }

    /// What is left of those that not all imports look for.
    pub(super) fn into_others(self) -> impl Iterator<Item = (String, Cow<'a, str>)> {
        self.others.into_iter().map(|(name, value)| (name, value.text))
    }
}

/// Bytes of a legal name. The specification says "should not exceed", and systems that cut names exist.
const NAME_BYTES_MAX: usize = 20;
/// More than an event can have: its own and 64 metadata pairs. Bounds what a hostile object costs before it is refused.
pub(super) const ATTRIBUTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_legal_name_without_another_meaning_is_free() {
        for name in ["tenant", "x", "0", "abcdefghij0123456789"] {
            assert!(is_free_name(name), "{name}");
        }
        for name in
            ["", "Tenant", "tenant_id", "abcdefghij01234567890", "id", "data", "priority", "version", "ä"]
        {
            assert!(!is_free_name(name), "{name}");
        }
    }

    #[test]
    fn each_byte_is_printable_or_not_wherever_it_stands() {
        for (len, place) in (1..=24).flat_map(|len| (0..len).map(move |place| (len, place))) {
            for byte in 0..=u8::MAX {
                for around in [b' ', b'~', b'7'] {
                    let mut text = vec![around; len];
                    text[place] = byte;
                    let is_printable = (0x20..=0x7e).contains(&byte);
                    assert_eq!(is_printable_ascii(&text), is_printable, "{byte} at {place} of {len}");
                }
            }
        }
        assert!(
            is_printable_ascii(b"") && !is_printable_ascii(&[0xff; 9]) && !is_printable_ascii(&[0x7f; 8])
        );
    }

    #[test]
    fn control_characters_and_noncharacters_are_forbidden() {
        for text in
            ["a\0", "a\n", "a\u{7f}", "a\u{9f}", "a\u{fdd0}", "a\u{fffe}", "a\u{1ffff}", "a\u{10fffe}"]
        {
            assert_eq!(forbidden_at(text), Some(1), "{text:?}");
        }
        assert_eq!(forbidden_at(" ~ä\u{fdcf}\u{fdf0}\u{fffd}\u{10000}🚀"), None);
    }
}
