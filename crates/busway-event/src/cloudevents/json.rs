//! The JSON format, written and read by hand: a derive could neither keep the order of unknown members nor the text of a
//! payload.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::Import;
use super::attributes::{ATTRIBUTES_MAX, Attributes, Value, is_forbidden};
use super::error::{CloudEventError, cut};
use super::export::{Exported, Form};
use super::import::{self, Data};
use super::known::Name;
use crate::codec::{CodecId, EncodeError};
use crate::event::AnyEvent;

/// One event as an object.
pub(super) fn write_one(event: &Exported<'_>) -> Result<Vec<u8>, EncodeError> {
    serde_json::to_vec(event).map_err(failed)
}

/// Several as an array.
pub(super) fn write_batch(events: &[Exported<'_>]) -> Result<Vec<u8>, EncodeError> {
    serde_json::to_vec(events).map_err(failed)
}

impl Serialize for Exported<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (name, value) in &self.attributes {
            object.serialize_entry(name, value)?;
        }
        object.serialize_entry("datacontenttype", &self.content_type)?;
        if !self.body.is_empty() {
            let is_json = CodecId::from_content_type(&self.content_type) == CodecId::Json;
            let json = is_json.then(|| serde_json::from_slice::<&RawValue>(&self.body).ok()).flatten();
            let json = json.filter(|json| self.form == Form::Attributes || is_one_line(json, &self.body));
            match json {
                Some(json) => object.serialize_entry("data", json)?,
                // Also what calls itself JSON and is none: an export is no judge of payloads.
                None => object.serialize_entry("data_base64", &STANDARD.encode(&self.body))?,
            }
        }
        object.end()
    }
}

/// Whether a payload can stand in a line as it is: a line break in it would end the line, white space around it would be lost.
fn is_one_line(json: &RawValue, body: &[u8]) -> bool {
    json.get().len() == body.len() && !body.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
}

/// The text of `buswaymeta`: a JSON object in which each character that no attribute may hold is escaped.
pub(super) fn meta_text(pairs: &[(&str, String)]) -> Result<String, EncodeError> {
    let mut text = Vec::new();
    let mut object = serde_json::Serializer::new(&mut text);
    object.collect_map(pairs.iter().map(|(name, value)| (name, value))).map_err(failed)?;
    let text = String::from_utf8(text).map_err(failed)?;
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        // serde_json escapes what JSON must; the rest stands inside of a string, as all such characters do.
        if is_forbidden(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                write!(escaped, "\\u{unit:04x}").map_err(failed)?;
            }
        } else {
            escaped.push(character);
        }
    }
    Ok(escaped)
}

/// The pairs of `buswaymeta`.
pub(super) fn meta_pairs(text: &str) -> Result<Vec<(String, String)>, CloudEventError> {
    let members: Members<'_> =
        serde_json::from_str(text).map_err(|cause| CloudEventError::Meta { reason: cause.to_string() })?;
    if members.beyond > 0 {
        return Err(CloudEventError::Meta { reason: format!("it has {} members too many", members.beyond) });
    }
    let strings = members.list.into_iter().map(|(name, value)| match string(value) {
        Ok(Some(text)) => Ok((name, text)),
        _ => Err(CloudEventError::Meta { reason: format!("\"{}\" is none", cut(&name).escape_debug()) }),
    });
    strings.collect()
}

/// A JSON text that takes up all of `bytes`, or what is wrong with it.
pub(super) fn document(bytes: &[u8]) -> Result<&RawValue, CloudEventError> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
    let value = match values.next() {
        Some(Ok(value)) => value,
        Some(Err(cause)) => return Err(malformed(cause)),
        None => return Err(malformed("it is empty")),
    };
    let at = values.byte_offset();
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.iter().all(u8::is_ascii_whitespace) {
        Ok(value)
    } else {
        Err(CloudEventError::TrailingBytes { at, extra: rest.len() })
    }
}

/// The event of one object.
pub(super) fn read_one(object: &RawValue, import: &Import) -> Result<AnyEvent, CloudEventError> {
    let (attributes, data) = members(object)?;
    import::event(attributes, data, import)
}

/// The members of one object: attributes and payload.
pub(super) fn members(object: &RawValue) -> Result<(Attributes<'_>, Data<'_>), CloudEventError> {
    let members: Members<'_> = serde_json::from_str(object.get()).map_err(malformed)?;
    if members.beyond > 0 {
        return Err(CloudEventError::TooManyAttributes { limit: ATTRIBUTES_MAX });
    }
    let mut attributes = Attributes::default();
    let (mut data, mut base64) = (None, None);
    for (name, value) in members.list {
        let slot_is_taken = match name.as_str() {
            "data" => data.replace(value).is_some(),
            "data_base64" => base64.replace(value).is_some(),
            // "Unset attributes may be encoded as null", also where a string is wanted.
            _ if value.get() == "null" => false,
            _ => {
                let value = match string(value).map_err(malformed)? {
                    Some(text) => Value::text(text),
                    None => Value::json(value.get()),
                };
                attributes.add(Name::of_member(name), value)?;
                continue;
            }
        };
        if slot_is_taken {
            return Err(CloudEventError::Duplicate { attribute: name });
        }
    }
    let base64 = match base64.filter(|value| value.get() != "null") {
        None => None,
        Some(value) => match string(value).map_err(malformed)? {
            Some(text) => Some(text),
            None => return Err(CloudEventError::NotText { attribute: "data_base64".to_owned() }),
        },
    };
    Ok((attributes, Data::Json { data, base64 }))
}

/// The items of an array, each an event or refused.
pub(super) fn read_batch(
    array: &RawValue,
    import: &Import,
) -> Result<impl Iterator<Item = Result<AnyEvent, CloudEventError>>, CloudEventError> {
    let items: Vec<&RawValue> = serde_json::from_str(array.get()).map_err(malformed)?;
    Ok(items.into_iter().map(|item| read_one(item, import)))
}

/// The text of a JSON string; `None` for any other value.
///
/// # Errors
/// The string is no Unicode: it holds half of a surrogate pair.
fn string(value: &RawValue) -> Result<Option<String>, serde_json::Error> {
    if value.get().starts_with('"') { serde_json::from_str(value.get()).map(Some) } else { Ok(None) }
}

fn malformed(cause: impl fmt::Display) -> CloudEventError {
    CloudEventError::Json { reason: cause.to_string() }
}

fn failed(cause: impl fmt::Display) -> EncodeError {
    EncodeError::Failed { reason: cause.to_string() }
}

/// The members of an object, each value as it was written, and how many more there were than an event can have.
struct Members<'a> {
    list: Vec<(String, &'a RawValue)>,
    beyond: usize,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut list = Vec::new();
        // Two more than there may be attributes: `data` and `data_base64` are none.
        while list.len() < ATTRIBUTES_MAX + 2 {
            match map.next_entry()? {
                Some(member) => list.push(member),
                None => return Ok(Members { list, beyond: 0 }),
            }
        }
        let mut beyond = 0;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            beyond += 1;
        }
        Ok(Members { list, beyond })
    }
}
