//! Events as messages and messages as events: `CloudEvents` in binary mode, and in structured mode on the way in.
//!
//! | header | |
//! |---|---|
//! | `ce-<attribute>` | each attribute, also `ce-datacontenttype`; values are [encoded](crate::encoding) |
//! | `Nats-Msg-Id` | the event's id: sent twice within the stream's window it is there once |
//! | `traceparent`, `tracestate` | again under their own names, for programs that know nothing of `CloudEvents` |
//! | `Content-Type: application/cloudevents+json` | on the way in: the body is the whole event |
//!
//! A message with no time is of the time at which the stream took it, and its topic is the subject that it came on, by which the server
//! filters and permits: a subject attribute that says something else is kept as the metadata pair `ce-subject`. It is the topic only of what came on a subject that is none.

use std::str::FromStr as _;

use async_nats::{HeaderMap, HeaderName, HeaderValue, Message};
use busway_engine::transport::TransportError;
use busway_event::cloudevents::{self, Arriving, Import, TopicFrom};
use busway_event::codec::PAYLOAD_BYTES_MAX;
use busway_event::{AnyEvent, Timestamp};
use bytes::Bytes;

use crate::blank;
use crate::encoding::{decoded, encoded_whole};
use crate::fault::chain;
use crate::subject::Subjects;

/// An event on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Bytes of headers and body as the server counts them.
    pub(crate) len: usize,
}

impl Outgoing {
    /// The message of an event.
    pub(crate) fn new(event: &AnyEvent, subjects: &Subjects) -> Result<Self, TransportError> {
        let refused = |error: &dyn std::fmt::Display| TransportError::Refused(error.to_string());
        let subject = subjects.of(event.topic())?;
        let cloudevents::Binary { attributes, content_type, body, .. } =
            cloudevents::to_binary(event).map_err(|error| refused(&error))?;
        let (mut headers, mut id) = (Headers::new(), None);
        for (name, value) in attributes {
            match &*name {
                "traceparent" | "tracestate" => headers.put(&name, &value)?,
                "id" if event.origin_id().is_none() => id = Some(value.clone().into_owned()),
                _ => {}
            }
            headers.put_attribute(&name, value.into_owned())?;
        }
        headers.put_attribute("datacontenttype", content_type.into_owned())?;
        headers.set(async_nats::header::NATS_MESSAGE_ID, id.unwrap_or_else(|| event.id().to_string()).into());
        let Headers { map: headers, len } = headers;
        Ok(Self { subject, headers, len: len + body.len(), body })
    }
}

/// Headers, each set once, and their bytes on the wire.
struct Headers {
    map: HeaderMap,
    len: usize,
}

impl Headers {
    fn new() -> Self {
        Self { map: blank::headers(), len: EMPTY.len() }
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.len += line_len(&name, &value);
        self.map.insert(name, value);
    }

    /// What no header can hold is an error.
    fn put(&mut self, name: &str, value: &str) -> Result<(), TransportError> {
        let (name, value) = header(name, value)?;
        self.set(name, value);
        Ok(())
    }

    /// Sets the header of an attribute. What is encoded is printable ASCII: no value that a header cannot hold.
    fn put_attribute(&mut self, name: &str, value: String) -> Result<(), TransportError> {
        match usual(name) {
            Some((usual, Form::Plain)) => self.set(usual, value.into()),
            Some((usual, Form::Any)) => self.set(usual, encoded_whole(value).into()),
            None => self.put(&format!("{PREFIX}{name}"), &encoded_whole(value))?,
        }
        Ok(())
    }
}

/// What may stand in an attribute of an event.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Printable ASCII without space, `"` and `%`, whatever the event is.
    Plain,
    /// Any text.
    Any,
}

/// The headers of attributes that nearly all events have, which are not made anew for each.
const fn usual(name: &str) -> Option<(HeaderName, Form)> {
    Some(match name.as_bytes() {
        b"specversion" => (const { HeaderName::from_static("ce-specversion") }, Form::Plain),
        b"id" => (const { HeaderName::from_static("ce-id") }, Form::Any),
        b"source" => (const { HeaderName::from_static("ce-source") }, Form::Any),
        b"type" => (const { HeaderName::from_static("ce-type") }, Form::Any),
        b"subject" => (const { HeaderName::from_static("ce-subject") }, Form::Plain),
        b"time" => (const { HeaderName::from_static("ce-time") }, Form::Plain),
        b"schemaversion" => (const { HeaderName::from_static("ce-schemaversion") }, Form::Plain),
        b"priority" => (const { HeaderName::from_static("ce-priority") }, Form::Plain),
        b"datacontenttype" => (const { HeaderName::from_static("ce-datacontenttype") }, Form::Any),
        b"partitionkey" => (const { HeaderName::from_static("ce-partitionkey") }, Form::Any),
        _ => return None,
    })
}

/// Sets a header; what no header can hold is an error, which `HeaderMap` alone would make a panic.
pub(crate) fn put(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), TransportError> {
    let (name, value) = header(name, value)?;
    headers.insert(name, value);
    Ok(())
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), TransportError> {
    let bad = || TransportError::Refused(format!("{} cannot be a header of a message", name.escape_debug()));
    let parsed = HeaderName::from_str(name).map_err(|_| bad())?;
    Ok((parsed, HeaderValue::from_str(value).map_err(|_| bad())?))
}

/// Bytes of headers on the wire: a line of their own, one for each, and an empty one.
pub(crate) fn headers_len(headers: &HeaderMap) -> usize {
    let lines =
        headers.iter().flat_map(|(name, values)| values.iter().map(move |value| line_len(name, value)));
    EMPTY.len() + lines.sum::<usize>()
}

fn line_len(name: &HeaderName, value: &HeaderValue) -> usize {
    AsRef::<str>::as_ref(name).len() + value.as_str().len() + ": \r\n".len()
}

const EMPTY: &str = "NATS/1.0\r\n\r\n";

/// Headers to keep, by name: the client has them in no order.
pub(crate) fn headers(message: &Message) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
        all.extend(values.iter().map(|value| (name.to_string(), value.as_str().to_owned())));
    }
    all.sort_unstable();
    all
}

/// The event of a message, or why it is none. `taken` is when its stream took it.
pub(crate) fn event(
    message: &Message,
    subjects: &Subjects,
    taken: Option<Timestamp>,
) -> Result<AnyEvent, String> {
    let mut import = Import::new().payload_bytes_max(message.payload.len().max(PAYLOAD_BYTES_MAX));
    if let Some(taken) = taken {
        import = import.taken_at(taken);
    }
    let topic = || subjects.topic(&message.subject).map_or(TopicFrom::Subject, TopicFrom::Fixed);
    let Found { content_type, about, arriving } = Found::new(message);
    let read = match content_type.filter(|text| is_structured(text)) {
        Some(text) if media_type(text).eq_ignore_ascii_case(cloudevents::CONTENT_TYPE) => {
            cloudevents::from_json(&message.payload, &import.topic(topic()))
        }
        Some(text) => {
            return Err(format!("events in {} are not read, in JSON they are", text.escape_debug()));
        }
        None => {
            let arriving = arriving?;
            // Nearly every event is about the subject that it came on, and needs no other topic made.
            let is_usual = about.is_some() && about == subjects.name(&message.subject);
            let import = if is_usual { import } else { import.topic(topic()) };
            arriving.event(message.payload.clone(), &import)
        }
    };
    read.map_err(|error| chain(&error))
}

/// What is found among the headers of a message.
struct Found<'a> {
    content_type: Option<&'a str>,
    /// The subject attribute as it stands in its header.
    about: Option<&'a str>,
    /// In binary mode. What is wrong with it is of no interest in the other one.
    arriving: Result<Arriving<'a>, String>,
}

impl<'a> Found<'a> {
    fn new(message: &'a Message) -> Self {
        let (mut content_type, mut about, mut arriving) = (None, None, Ok(Arriving::new()));
        for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
            let name: &str = name.as_ref();
            match name.split_at_checked(PREFIX.len()) {
                Some((prefix, attribute)) if prefix.eq_ignore_ascii_case(PREFIX) => {
                    if attribute.eq_ignore_ascii_case("subject") {
                        about = values.first().map(HeaderValue::as_str);
                    }
                    for value in values {
                        let added =
                            arriving.as_mut().map(|arriving| add(arriving, attribute, value.as_str()));
                        if let Ok(Err(reason)) = added {
                            arriving = Err(reason);
                        }
                    }
                }
                _ if name.eq_ignore_ascii_case("content-type") => {
                    content_type = values.first().map(|value| value.as_str().trim());
                }
                _ => {}
            }
        }
        Self { content_type, about, arriving: arriving.and_then(|arriving| complete(arriving, content_type)) }
    }
}

/// Adds an attribute of an event; which one is missing is known only in the end.
fn add<'a>(arriving: &mut Arriving<'a>, attribute: &str, value: &'a str) -> Result<(), String> {
    match decoded(value) {
        Some(value) => arriving.attribute(attribute, value).map_err(|error| chain(&error)),
        None => Err(format!("the header {PREFIX}{} is no text", attribute.escape_debug())),
    }
}

/// All that has arrived, and the content type, if no attribute says it.
fn complete<'a>(mut arriving: Arriving<'a>, content_type: Option<&'a str>) -> Result<Arriving<'a>, String> {
    if arriving.is_empty() {
        return Err("it is no CloudEvent: it has no ce- headers, and its Content-Type names none".to_owned());
    }
    if let Some(text) = content_type.filter(|_| !arriving.has_content_type()) {
        arriving.attribute("datacontenttype", text).map_err(|error| chain(&error))?;
    }
    // The client has headers in no order.
    Ok(arriving.by_name())
}

fn is_structured(content_type: &str) -> bool {
    const START: &str = "application/cloudevents";
    content_type.get(..START.len()).is_some_and(|start| start.eq_ignore_ascii_case(START))
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

const PREFIX: &str = "ce-";
/// What the server knows messages by.
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";

#[cfg(test)]
mod tests;
