//! `CloudEvents` 1.0.2, both directions: the form in which events leave busway for the world and come in from it.
//!
//! | busway | attribute | notes |
//! |---|---|---|
//! | id | `id` | the other system's id when the event came with one that is no UUID |
//! | producer | `source` | percent-encoded when it is no URI reference |
//! | type name | `type` | |
//! | topic | `subject` | |
//! | time | `time` | |
//! | codec | `datacontenttype` | the media type of an imported event is kept when it says more |
//! | payload | `data`, `data_base64` | `data` when it is JSON; none when it is empty |
//! | schema version | `schemaversion` | missing: 1 |
//! | key | `partitionkey` | |
//! | priority | `priority` | `p0` to `p3`; missing: `p2` |
//! | time to live | `expirytime` | `time` plus the time to live; imported as what is left of it |
//! | trace context | `traceparent`, `tracestate` | a bad one is ignored, as W3C Trace Context asks |
//! | metadata pair | an attribute of its name | when that is a legal name that means nothing else |
//! | other metadata pairs | `buswaymeta` | all of them as one JSON object in text, with key and producer when their own attributes cannot hold them |
//!
//! What is exported and imported again is the same event, with these limits: an expiry beyond the year 2262 becomes that
//! year's, pairs out of `buswaymeta` follow those that were attributes, white space around a JSON payload is lost, and
//! an import that knows when it received the event ([`Import::received_at`]) keeps only what is left of its time to live
//! then. Since `expirytime` is made of `time` and time to live, such an event, exported once more, expires earlier.
//!
//! # Foreign events
//! An `id` that is no UUID gives a UUID made of `source` and `id` ([`EventId::foreign`](crate::EventId::foreign)), and is
//! exported again as it was. Attributes that busway does not know become metadata pairs, values that are no strings as
//! their JSON text. Attributes whose names mean something else in metadata (`dataschema`, `datacontenttype`, `producer`,
//! `version`) are kept as `ce-` and their name, and exported under their own again. Two values that come to one name
//! refuse the event, for one of them would be lost. An event without `time` needs [`Import::received_at`], one whose
//! `subject` is no topic [`TopicFrom::Fixed`].
//!
//! Out of a log and into one, without any loss, events travel as [lines](to_json_line).
//!
//! All rules of an event are checked again on receipt. No input makes an import panic, and a JSON payload is
//! passed through as it was written: no number changes and no member is lost.
//!
//! The specification: <https://github.com/cloudevents/spec/tree/v1.0.2/cloudevents>.

mod arriving;
mod attributes;
mod error;
mod export;
mod import;
mod json;
mod known;
mod line;
mod source;

pub use self::arriving::Arriving;
pub use self::error::CloudEventError;
pub use self::line::{Origin, from_json_line, to_json_line};

use std::borrow::Cow;

use bytes::Bytes;

use self::export::Form;

use crate::codec::{EncodeError, PAYLOAD_BYTES_MAX};
use crate::event::AnyEvent;
use crate::timestamp::Timestamp;
use crate::topic::Topic;

/// The media type of one event as JSON: what [`to_json`] makes.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";
/// The media type of several events as JSON: what [`to_json_batch`] makes.
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";

/// The event as a JSON object.
///
/// Bytes that the event has already are exported whatever their size, as some limit let them in; a value that
/// was never encoded is encoded within the limit that it was published under.
///
/// # Errors
/// [`EncodeError`]: the payload cannot be encoded, or the type's name or the foreign id holds a character that
/// no attribute may hold (a control character or a noncharacter of Unicode).
pub fn to_json(event: &AnyEvent) -> Result<Vec<u8>, EncodeError> {
    json::write_one(&export::exported(event, Form::Attributes)?)
}

/// The events as a JSON array.
///
/// # Errors
/// As [`to_json`], for the first event that has one.
pub fn to_json_batch(events: &[AnyEvent]) -> Result<Vec<u8>, EncodeError> {
    let exported: Vec<_> =
        events.iter().map(|event| export::exported(event, Form::Attributes)).collect::<Result<_, _>>()?;
    json::write_batch(&exported)
}

/// The event of a JSON object. White space may follow it, nothing else.
///
/// # Errors
/// [`CloudEventError`], which names the attribute.
pub fn from_json(json: &[u8], import: &Import) -> Result<AnyEvent, CloudEventError> {
    json::read_one(json::document(json)?, import)
}

/// The events of a JSON array, all or none. Where a bad event must not cost its neighbours: [`from_json_items`].
///
/// # Errors
/// [`CloudEventError::Item`] with the index of the first event that is refused, or what is wrong with the array.
pub fn from_json_batch(json: &[u8], import: &Import) -> Result<Vec<AnyEvent>, CloudEventError> {
    let items = json::read_batch(json::document(json)?, import)?.enumerate();
    let at = |index| move |source| CloudEventError::Item { index, source: Box::new(source) };
    items.map(|(index, item)| item.map_err(at(index))).collect()
}

/// The items of a JSON array in their order, each an event or why it is none.
///
/// # Errors
/// What is wrong with the array; a refused item is no error of it.
pub fn from_json_items(
    json: &[u8],
    import: &Import,
) -> Result<Vec<Result<AnyEvent, CloudEventError>>, CloudEventError> {
    Ok(json::read_batch(json::document(json)?, import)?.collect())
}

/// An event in binary mode: attributes as the headers of a message, the payload as its body. Texts that the event has are borrowed from it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binary<'a> {
    /// Names without the prefix that a protocol gives them (`ce-`, `ce_`, `cloudEvents:`), and values as text. Names that the specification or busway gives are static,
    /// in lower case. Values are Unicode: a protocol whose headers are ASCII encodes them, as its binding says. All but the content type.
    pub attributes: Vec<(Cow<'static, str>, Cow<'a, str>)>,
    /// The value of the protocol's own content type header.
    pub content_type: Cow<'static, str>,
    /// The payload.
    pub body: Bytes,
}

/// The event in binary mode. Limits as in [`to_json`].
///
/// # Errors
/// As [`to_json`].
pub fn to_binary(event: &AnyEvent) -> Result<Binary<'_>, EncodeError> {
    let export::Exported { attributes, content_type, body, .. } = export::exported(event, Form::Attributes)?;
    Ok(Binary { attributes, content_type, body })
}

/// The event of a message in binary mode. `attributes` are names without the protocol's prefix, in any case, and
/// decoded values; the protocol's content type goes among them as `datacontenttype`.
///
/// # Errors
/// [`CloudEventError`], which names the attribute.
pub fn from_binary<'a, N, V>(
    attributes: impl IntoIterator<Item = (N, V)>,
    body: Bytes,
    import: &Import,
) -> Result<AnyEvent, CloudEventError>
where
    N: AsRef<str>,
    V: Into<Cow<'a, str>>,
{
    let mut arriving = Arriving::new();
    for (name, value) in attributes {
        arriving.attribute(name.as_ref(), value)?;
    }
    arriving.event(body, import)
}

/// How foreign events become events of this bus.
///
/// ```
/// use busway_event::cloudevents::{self, Import};
///
/// let json = br#"{"specversion": "1.0", "id": "A-1", "source": "/shop", "type": "order-created",
///                 "subject": "orders.created", "time": "2026-01-31T10:00:00Z", "data": {"order_id": "7"}}"#;
/// let event = cloudevents::from_json(json, &Import::new())?;
/// assert_eq!((event.topic().as_str(), event.origin_id()), ("orders.created", Some("A-1")));
/// # Ok::<(), cloudevents::CloudEventError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Import {
    topic: TopicFrom,
    payload_bytes_max: usize,
    received_at: Option<Timestamp>,
    taken_at: Option<Timestamp>,
}

impl Import {
    /// Topics from `subject`, payloads up to 1 MiB, `time` required.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            topic: TopicFrom::Subject,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            received_at: None,
            taken_at: None,
        }
    }

    /// Where topics come from. Default: [`TopicFrom::Subject`].
    pub fn topic(mut self, topic: TopicFrom) -> Self {
        self.topic = topic;
        self
    }

    /// The most bytes of a payload, after base64. Default: [`PAYLOAD_BYTES_MAX`], 1 MiB.
    pub const fn payload_bytes_max(mut self, bytes: usize) -> Self {
        self.payload_bytes_max = bytes;
        self
    }

    /// When the events come in: the time of an event that has none, and from where the rest of a time to live counts. An
    /// event that expired before is refused. Default: an event without a time is an error, and a time to live counts
    /// from the event's own time, for this crate reads no clock.
    pub const fn received_at(mut self, time: Timestamp) -> Self {
        self.received_at = Some(time);
        self
    }

    /// When somebody on the way, a broker, took the event in: the time of one that says none, from where the rest of its time to live counts then. One that says its time is
    /// read as without this, and [`received_at`](Self::received_at), where both are set, is what counts. Default: nobody did.
    pub const fn taken_at(mut self, time: Timestamp) -> Self {
        self.taken_at = Some(time);
        self
    }
}

impl Default for Import {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the topic of a foreign event comes from.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum TopicFrom {
    /// Its `subject`, which must be a topic: what busway itself exports.
    #[default]
    Subject,
    /// The same, and this topic for an event that has none, or an empty one.
    SubjectOr(Topic),
    /// All events go to one topic; a `subject` that is another text is kept as metadata pair `ce-subject`.
    Fixed(Topic),
}
