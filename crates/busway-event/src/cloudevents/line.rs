//! Lines: events out of a log as JSON Lines, one structured `CloudEvent` a line, and back without loss.
//!
//! A line is what [`to_json`](super::to_json) makes, and
//! - where the event lay, as four more attributes, all texts: `buswaystream`, `buswaypartition` and `buswayoffset` (decimal
//!   numbers), `buswayappended` (when the log took it);
//! - what an attribute cannot say exactly, as members of `buswaymeta` that no metadata pair can be: `@id` (the UUID, when it is not
//!   made of `source` and `id`), `@originid` and `@typename` (when they hold characters that no attribute may hold; then `id` is the
//!   UUID and `type` is percent-encoded), `@ttl` (nanoseconds, when `expirytime` would be beyond the year 2262);
//! - a JSON payload that has a line break, or white space around it, as `data_base64`: a line is one line, and loses nothing.
//!
//! Metadata pairs that must travel in `buswaymeta` follow those that are attributes when they come back. Whatever else an
//! event carries comes back as it was. Any reader of `CloudEvents` reads a line.

use std::borrow::Cow;
use std::str::FromStr;

use super::attributes::{self, Attributes};
use super::error::{CloudEventError, cut};
use super::export::Form;
use super::{Import, export, import, json};
use crate::codec::EncodeError;
use crate::event::AnyEvent;
use crate::timestamp::Timestamp;

/// Where an event lay in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name of the stream.
    pub stream: String,
    /// The partition in it.
    pub partition: u16,
    /// The position in the partition.
    pub offset: u64,
    /// When the log took it.
    pub appended: Timestamp,
}

/// The event as a line, without the line break. It holds none: the break that follows ends it.
///
/// # Errors
/// [`EncodeError`]: the payload cannot be encoded.
pub fn to_json_line(event: &AnyEvent, origin: &Origin) -> Result<Vec<u8>, EncodeError> {
    let mut exported = export::exported(event, Form::Line)?;
    let Origin { stream, partition, offset, appended } = origin;
    let values = [stream.clone(), partition.to_string(), offset.to_string(), appended.to_string()];
    let named = attributes::ORIGIN.into_iter().zip(values);
    exported.attributes.extend(named.map(|(name, value)| (name.into(), value.into())));
    json::write_one(&exported)
}

/// The event of a line, and where it lay; `None` when the line says nothing of that: a `CloudEvent` of anybody's.
///
/// # Errors
/// [`CloudEventError`], which names the attribute.
pub fn from_json_line(line: &[u8], import: &Import) -> Result<(AnyEvent, Option<Origin>), CloudEventError> {
    let (mut attributes, data) = json::members(json::document(line)?)?;
    let origin = origin(&mut attributes)?;
    Ok((import::event(attributes, data, import)?, origin))
}

fn origin(attributes: &mut Attributes<'_>) -> Result<Option<Origin>, CloudEventError> {
    let [stream, partition, offset, appended] = attributes::ORIGIN;
    let Some(text) = attributes.take_other(stream)? else { return Ok(None) };
    Ok(Some(Origin {
        stream: text.into_owned(),
        partition: number(attributes, partition)?,
        offset: number(attributes, offset)?,
        appended: {
            let text = required(attributes, appended)?;
            text.parse().map_err(|source| CloudEventError::Time { attribute: appended, source })?
        },
    }))
}

fn number<T: FromStr>(
    attributes: &mut Attributes<'_>,
    attribute: &'static str,
) -> Result<T, CloudEventError> {
    let text = required(attributes, attribute)?;
    text.parse().map_err(|_| CloudEventError::Number { attribute, found: cut(&text) })
}

fn required<'a>(
    attributes: &mut Attributes<'a>,
    attribute: &'static str,
) -> Result<Cow<'a, str>, CloudEventError> {
    let text = attributes.take_other(attribute)?.filter(|text| !text.is_empty());
    text.ok_or(CloudEventError::Missing { attribute })
}
