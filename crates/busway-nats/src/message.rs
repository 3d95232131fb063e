//! Events as messages and messages as events: `CloudEvents` in binary mode, and in structured mode on the way in.
//!
//! | header | |
//! |---|---|
//! | `ce-<attribute>` | each attribute, also `ce-datacontenttype`; values are [encoded](crate::encoding) |
//! | `Nats-Msg-Id` | the event's id: sent twice within the stream's window it is there once |
//! | `traceparent`, `tracestate` | again under their own names, for programs that know nothing of `CloudEvents` |
//! | `Content-Type: application/cloudevents+json` | on the way in: the body is the whole event |
//!
//! A message with no time is of the time at which the stream took it, and one with no subject attribute is about the subject that it came on.

use std::borrow::Cow;
use std::str::FromStr as _;

use async_nats::{HeaderMap, HeaderName, HeaderValue, Message};
use busway_engine::transport::TransportError;
use busway_event::cloudevents::{self, CloudEventError, Import, TopicFrom};
use busway_event::codec::PAYLOAD_BYTES_MAX;
use busway_event::{AnyEvent, Timestamp};
use bytes::Bytes;

use crate::encoding::{decoded, encoded_whole};
use crate::fault::chain;
use crate::subject::Subjects;

/// An event on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Outgoing {
    /// The message of an event.
    pub(crate) fn new(event: &AnyEvent, subjects: &Subjects) -> Result<Self, TransportError> {
        let refused = |error: &dyn std::fmt::Display| TransportError::Refused(error.to_string());
        let subject = subjects.of(event.topic())?;
        let cloudevents::Headers { attributes, content_type, body, .. } =
            cloudevents::to_headers(event).map_err(|error| refused(&error))?;
        let mut headers = HeaderMap::new();
        let mut id = None;
        for (name, value) in attributes {
            match &*name {
                "traceparent" | "tracestate" => put(&mut headers, &name, &value)?,
                "id" if event.origin_id().is_none() => id = Some(value.clone()),
                _ => {}
            }
            put_attribute(&mut headers, &name, value)?;
        }
        put_attribute(&mut headers, "datacontenttype", content_type.into_owned())?;
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id.unwrap_or_else(|| event.id().to_string()));
        Ok(Self { subject, headers, body })
    }

    /// Bytes as the server counts them.
    pub(crate) fn len(&self) -> usize {
        self.body.len() + headers_len(&self.headers)
    }
}

/// Sets the header of an attribute. What is encoded is printable ASCII: no value that a header cannot hold.
fn put_attribute(headers: &mut HeaderMap, name: &str, value: String) -> Result<(), TransportError> {
    match usual(name) {
        Some(usual) => headers.insert(usual, encoded_whole(value)),
        None => put(headers, &format!("{PREFIX}{name}"), &encoded_whole(value))?,
    }
    Ok(())
}

/// The headers of attributes that nearly all events have, which are not made anew for each.
const fn usual(name: &str) -> Option<HeaderName> {
    Some(match name.as_bytes() {
        b"specversion" => const { HeaderName::from_static("ce-specversion") },
        b"id" => const { HeaderName::from_static("ce-id") },
        b"source" => const { HeaderName::from_static("ce-source") },
        b"type" => const { HeaderName::from_static("ce-type") },
        b"subject" => const { HeaderName::from_static("ce-subject") },
        b"time" => const { HeaderName::from_static("ce-time") },
        b"schemaversion" => const { HeaderName::from_static("ce-schemaversion") },
        b"priority" => const { HeaderName::from_static("ce-priority") },
        b"datacontenttype" => const { HeaderName::from_static("ce-datacontenttype") },
        b"partitionkey" => const { HeaderName::from_static("ce-partitionkey") },
        _ => return None,
    })
}

/// Sets a header; what no header can hold is an error, which `HeaderMap` alone would make a panic.
pub(crate) fn put(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), TransportError> {
    let bad = || TransportError::Refused(format!("{} cannot be a header of a message", name.escape_debug()));
    let name = HeaderName::from_str(name).map_err(|_| bad())?;
    headers.insert(name, HeaderValue::from_str(value).map_err(|_| bad())?);
    Ok(())
}

/// Bytes of headers on the wire: a line of their own, one for each, and an empty one.
pub(crate) fn headers_len(headers: &HeaderMap) -> usize {
    let line = |name: &HeaderName, value: &HeaderValue| {
        AsRef::<str>::as_ref(name).len() + value.as_str().len() + ": \r\n".len()
    };
    let lines = headers.iter().flat_map(|(name, values)| values.iter().map(move |value| line(name, value)));
    "NATS/1.0\r\n\r\n".len() + lines.sum::<usize>()
}

/// Headers by name: the client keeps them in no order.
fn sorted(message: &Message) -> Vec<(&str, &str)> {
    let headers = message.headers.iter().flat_map(HeaderMap::iter);
    let mut all = Vec::with_capacity(message.headers.as_ref().map_or(0, HeaderMap::len));
    all.extend(headers.flat_map(|(name, values)| {
        values.iter().map(move |value| (AsRef::<str>::as_ref(name), value.as_str()))
    }));
    all.sort_unstable();
    all
}

/// The same to keep, as they were.
pub(crate) fn headers(message: &Message) -> Vec<(String, String)> {
    sorted(message).into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The event of a message, or why it is none. `taken` is when its stream took it.
pub(crate) fn event(
    message: &Message,
    subjects: &Subjects,
    taken: Option<Timestamp>,
) -> Result<AnyEvent, String> {
    let headers = sorted(message);
    let content_type = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let content_type = content_type.map(|(_, value)| value.trim());
    let limit = message.payload.len().max(PAYLOAD_BYTES_MAX);
    let mut import = Import::new().payload_bytes_max(limit);
    let mut completed = (false, false);
    loop {
        let read = match content_type.filter(|text| is_structured(text)) {
            Some(text) if media_type(text).eq_ignore_ascii_case(cloudevents::CONTENT_TYPE) => {
                cloudevents::from_json(&message.payload, &import)
            }
            Some(text) => {
                return Err(format!("events in {} are not read, in JSON they are", text.escape_debug()));
            }
            None => {
                let attributes = attributes(&headers, content_type)?;
                cloudevents::from_binary(attributes, message.payload.clone(), &import)
            }
        };
        // Each at most once: what is missing then is missing.
        match (&read, taken, subjects.topic(&message.subject)) {
            (Err(CloudEventError::Missing { attribute: "time" }), Some(taken), _) if !completed.0 => {
                (import, completed.0) = (import.received_at(taken), true);
            }
            (Err(CloudEventError::Missing { attribute: "subject" }), _, Some(topic)) if !completed.1 => {
                (import, completed.1) = (import.topic(TopicFrom::Fixed(topic)), true);
            }
            _ => return read.map_err(|error| chain(&error)),
        }
    }
}

/// The attributes among the headers, without their prefix.
fn attributes<'a>(
    headers: &[(&'a str, &'a str)],
    content_type: Option<&'a str>,
) -> Result<Vec<(&'a str, Cow<'a, str>)>, String> {
    let mut all = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let Some((PREFIX, attribute)) = name
            .split_at_checked(PREFIX.len())
            .map(|(prefix, rest)| (if prefix.eq_ignore_ascii_case(PREFIX) { PREFIX } else { "" }, rest))
        else {
            continue;
        };
        let Some(value) = decoded(value) else {
            return Err(format!("the header {} is no text", name.escape_debug()));
        };
        all.push((attribute, value));
    }
    if all.is_empty() {
        return Err("it is no CloudEvent: it has no ce- headers, and its Content-Type names none".to_owned());
    }
    let has_type = all.iter().any(|(name, _)| name.eq_ignore_ascii_case("datacontenttype"));
    if let Some(text) = content_type.filter(|_| !has_type) {
        all.push(("datacontenttype", text.into()));
    }
    Ok(all)
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
