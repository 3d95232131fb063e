//! Events as records and records as events: `CloudEvents` in binary mode, and in structured mode on the way in.
//!
//! | of the record | |
//! |---|---|
//! | header `ce_<attribute>` | each attribute, as text in UTF-8; the topic is `ce_subject` |
//! | header `content-type` | the media type of the payload; one that begins with `application/cloudevents+json` says that the body is the whole event |
//! | headers `traceparent`, `tracestate` | again under their own names, for programs that know nothing of `CloudEvents` |
//! | key | the event's key |
//! | value | the payload |
//! | timestamp | the event's time, in milliseconds; Kafka's retention goes by it |
//!
//! A record without a time attribute is of the time of its timestamp, one without a subject is about its Kafka topic, if busway can call a topic so. A record without
//! a value (a tombstone) has an empty payload.

use std::sync::Arc;

use busway_engine::transport::{TransportError, Unreadable};
use busway_event::cloudevents::{self, Arriving, CloudEventError, Import, TopicFrom};
use busway_event::codec::PAYLOAD_BYTES_MAX;
use busway_event::{AnyEvent, Timestamp, Topic};
use bytes::Bytes;
use rdkafka::message::{Header, Message, OwnedHeaders};

use crate::client::Settings;
use crate::headers::Headers;

/// A record on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) headers: OwnedHeaders,
    pub(crate) body: Bytes,
    pub(crate) timestamp: i64,
    /// The bytes of its key, its headers and its body.
    pub(crate) len: usize,
}

impl Outgoing {
    pub(crate) fn of(event: &AnyEvent, settings: &Settings) -> Result<Self, TransportError> {
        let cloudevents::Binary { attributes, content_type, body, .. } =
            cloudevents::to_binary(event).map_err(|error| TransportError::Refused(error.to_string()))?;
        let (len, limit) = (body.len(), settings.payload_bytes_max());
        if len > limit {
            return Err(TransportError::TooLarge { len, limit });
        }
        let mut headers = OwnedHeaders::new_with_capacity(attributes.len() + 3);
        let mut len = len + event.key().map_or(0, |key| key.as_str().len());
        let mut put = |headers, name: &str, value: &[u8]| {
            len += name.len() + value.len() + HEADER_BYTES;
            with(headers, name, value)
        };
        let mut name = String::with_capacity(32);
        for (attribute, value) in &attributes {
            if matches!(&**attribute, "traceparent" | "tracestate") {
                headers = put(headers, attribute, value.as_bytes());
            }
            name.clear();
            name.push_str(PREFIX);
            name.push_str(attribute);
            headers = put(headers, &name, value.as_bytes());
        }
        let headers = put(headers, CONTENT_TYPE, content_type.as_bytes());
        let limit = settings.message_bytes_max;
        if len > limit {
            return Err(TransportError::TooLarge { len, limit });
        }
        Ok(Self { headers, body, timestamp: event.time().as_millis().max(0), len })
    }
}

/// One header more. librdkafka takes a name up to its first zero byte; none has one.
pub(crate) fn with(headers: OwnedHeaders, key: &str, value: &[u8]) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}

/// A record as it came, kept for as long as it is not settled: what is put off or given up is written elsewhere as it was.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Arc<Headers>,
    /// When it was made or taken, in milliseconds.
    pub(crate) timestamp: Option<i64>,
}

impl Record {
    /// Its topic's name is shared with that of the record before, `last`, where it is the same.
    pub(crate) fn of<M>(message: &M, last: &mut Arc<str>) -> Self
    where
        M: Message<Headers = rdkafka::message::BorrowedHeaders>,
    {
        if **last != *message.topic() {
            *last = Arc::from(message.topic());
        }
        Self {
            topic: Arc::clone(last),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(Bytes::copy_from_slice),
            value: message.payload().map(Bytes::copy_from_slice),
            headers: Arc::new(message.headers().map(Headers::of).unwrap_or_default()),
            timestamp: message.timestamp().to_millis(),
        }
    }

    /// The last header of this name, as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().filter(|(key, _)| *key == name);
        named.last().and_then(|(_, value)| text(value))
    }

    /// When it was made or taken first, in milliseconds, wherever it has lain since.
    pub(crate) fn time(&self) -> Option<i64> {
        self.header(TIME).and_then(|text| text.parse().ok()).or(self.timestamp)
    }

    /// Its headers without those of this crate's own.
    pub(crate) fn own_headers(&self) -> OwnedHeaders {
        self.headers.without(&OURS)
    }

    /// About how much memory it takes.
    pub(crate) fn weight(&self) -> usize {
        self.value.as_ref().map_or(0, Bytes::len) + self.headers.weight() + RECORD_BYTES
    }

    /// The event, or the record as what is none.
    pub(crate) fn event(&self) -> Result<AnyEvent, Box<Unreadable>> {
        self.read().map_err(|reason| {
            let place = format!("{}[{}]@{}", self.topic, self.partition, self.offset);
            let shown = self
                .headers
                .iter()
                .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()));
            let body = self.value.clone().unwrap_or_default();
            Box::new(Unreadable::new(place, body, reason).headers(shown.collect()))
        })
    }

    fn read(&self) -> Result<AnyEvent, String> {
        if !self.headers.is_text() {
            return Err("a header of it has a name that is no UTF-8; only its dead letter keeps that header"
                .to_owned());
        }
        let body = self.value.clone().unwrap_or_default();
        let content_type = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE));
        let content_type = content_type.and_then(|(_, value)| text(value));
        let is_structured = content_type.is_some_and(|text| starts_with(text, STRUCTURED));
        let mut import = Import::new().payload_bytes_max(body.len().max(PAYLOAD_BYTES_MAX));
        if let Some(millis) = self.time() {
            import = import.taken_at(Timestamp::from_nanos(millis.saturating_mul(1_000_000)));
        }
        let topic = || Topic::new(&self.topic).map_or(TopicFrom::Subject, TopicFrom::SubjectOr);
        let read = match content_type.filter(|_| is_structured) {
            Some(text) if starts_with(text, cloudevents::CONTENT_TYPE) => {
                cloudevents::from_json(&body, &import.topic(topic()))
            }
            Some(text) => {
                return Err(format!("events in {} are not read, in JSON they are", text.escape_debug()));
            }
            None => {
                let arriving = self.arriving(content_type)?;
                // Nearly every event has one, and needs no other made.
                let import = if arriving.has_subject() { import } else { import.topic(topic()) };
                arriving.event(body, &import)
            }
        };
        read.map_err(|error| match error {
            CloudEventError::Missing { attribute: "subject" } => {
                "it has no subject, and its Kafka topic is not the name of one".to_owned()
            }
            error => error.to_string(),
        })
    }

    fn arriving<'a>(&'a self, content_type: Option<&'a str>) -> Result<Arriving<'a>, String> {
        let mut arriving = Arriving::new();
        for (name, value) in self.headers.iter() {
            let Some(attribute) = name.strip_prefix(PREFIX) else { continue };
            let Some(value) = text(value) else {
                return Err(format!("the header {} is no text", name.escape_debug()));
            };
            arriving.attribute(attribute, value).map_err(|error| error.to_string())?;
        }
        if arriving.is_empty() {
            return Err(
                "it is no CloudEvent: it has no headers that begin with ce_, and its content-type names none"
                    .to_owned(),
            );
        }
        if let Some(text) = content_type {
            arriving.attribute("datacontenttype", text).map_err(|error| error.to_string())?;
        }
        Ok(arriving)
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

fn starts_with(text: &str, start: &str) -> bool {
    text.trim_start().get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

const PREFIX: &str = "ce_";
const CONTENT_TYPE: &str = "content-type";
const STRUCTURED: &str = "application/cloudevents";
/// The lengths of a header's name and value, at most.
const HEADER_BYTES: usize = 10;
/// Of a record, beside what it holds.
const RECORD_BYTES: usize = 256;
/// Of a record in a topic of retries: when it is due, in milliseconds of Unix time.
pub(crate) const NOT_BEFORE: &str = "busway-not-before";
/// Of the same: attempts that were made. Of a dead letter too.
pub(crate) const ATTEMPTS: &str = "busway-attempts";
/// Of both: the time of the record, in milliseconds of Unix time, as it was first. Where it lies now its timestamp is that of the write.
pub(crate) const TIME: &str = "busway-time";
/// Whose it is.
pub(crate) const SUBSCRIPTION: &str = "busway-subscription";
/// Of a dead letter: the last error.
pub(crate) const REASON: &str = "busway-reason";
/// Of a dead letter: who made the attempts.
pub(crate) const HANDLER: &str = "busway-handler";
/// Where it lay first: the Kafka topic, the partition and the offset.
pub(crate) const ORIGIN: [&str; 3] = ["busway-topic", "busway-partition", "busway-offset"];

/// All that this crate sets on what it writes elsewhere.
const OURS: [&str; 9] =
    [NOT_BEFORE, ATTEMPTS, TIME, SUBSCRIPTION, REASON, HANDLER, ORIGIN[0], ORIGIN[1], ORIGIN[2]];

#[cfg(test)]
mod tests;
