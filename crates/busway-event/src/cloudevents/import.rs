//! Attributes and a payload become an event: what both modes read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::attributes::{self, Attributes, FOREIGN, KEPT, KEY_IN_META};
use super::error::{CloudEventError, cut};
use super::{Import, TopicFrom, json};
use crate::codec::CodecId;
use crate::draft::Invalid;
use crate::event::{AnyEvent, Parts};
use crate::event_type::Encoded;
use crate::id::EventId;
use crate::metadata::{Metadata, MetadataDraft};
use crate::timestamp::Timestamp;
use crate::topic::Topic;
use crate::trace::TraceContext;

/// The payload as it arrived.
pub(super) enum Data<'a> {
    /// The body of a message.
    Binary(Bytes),
    /// The members of a JSON object.
    Json { data: Option<&'a RawValue>, base64: Option<String> },
}

/// Makes the event.
pub(super) fn event(
    mut attributes: Attributes,
    data: Data<'_>,
    import: &Import,
) -> Result<AnyEvent, CloudEventError> {
    let spec_version = attributes.require("specversion")?;
    if spec_version != "1.0" {
        return Err(CloudEventError::SpecVersion { found: cut(&spec_version) });
    }
    let id_text = attributes.require("id")?;
    let source = attributes.require("source")?;
    let type_name = attributes.require("type")?;
    let version = schema_version(&mut attributes)?;
    let mut metadata = Metadata::draft(&source, version);
    let topic = topic(&mut attributes, &mut metadata, import)?;
    let Some(time) = time(&mut attributes, "time")?.or(import.received_at) else {
        return Err(CloudEventError::Missing { attribute: "time" });
    };
    let content_type = content_type(&mut attributes, &mut metadata)?;
    let (codec, bytes) = payload(data, content_type.as_deref(), import.payload_bytes_max)?;

    let id = EventId::foreign(&source, &id_text);
    let mut parts = Parts::new(id, time, topic, metadata);
    // A UUID in another spelling is another text to its owner.
    parts.origin_id = (id_text != id.to_string()).then_some(id_text);
    parts.payload_bytes_max = import.payload_bytes_max;
    parts.key = attributes.take(attributes::KEY)?;
    if let Some(priority) = attributes.take(attributes::PRIORITY)? {
        parts.priority = priority.parse().map_err(CloudEventError::Priority)?;
    }
    parts.ttl = self::time(&mut attributes, attributes::EXPIRY)?.map(|expiry| expiry.saturating_since(time));
    trace(&mut attributes, &mut parts.metadata);
    pairs(attributes, &mut parts)?;
    let encoded = Encoded { type_name: type_name.into_boxed_str(), version, codec, bytes };
    AnyEvent::receive(parts, encoded).map_err(CloudEventError::invalid)
}

fn schema_version(attributes: &mut Attributes) -> Result<u16, CloudEventError> {
    let Some(text) = attributes.take_any(attributes::SCHEMA_VERSION) else { return Ok(1) };
    match text.parse() {
        Ok(version) if version > 0 => Ok(version),
        _ => Err(CloudEventError::SchemaVersion { found: cut(&text) }),
    }
}

fn topic(
    attributes: &mut Attributes,
    metadata: &mut MetadataDraft,
    import: &Import,
) -> Result<Topic, CloudEventError> {
    match &import.topic {
        TopicFrom::Subject => {
            let subject = attributes.require("subject")?;
            Topic::new(subject).map_err(|error| CloudEventError::invalid(Invalid::Topic(error)))
        }
        TopicFrom::Fixed(topic) => {
            if let Some(subject) = attributes.take("subject")?.filter(|subject| subject != topic.as_str()) {
                metadata.set_pair(&format!("{FOREIGN}subject"), &subject);
            }
            Ok(topic.clone())
        }
    }
}

fn time(attributes: &mut Attributes, attribute: &'static str) -> Result<Option<Timestamp>, CloudEventError> {
    let text = attributes.take(attribute)?;
    text.map(|text| text.parse()).transpose().map_err(|source| CloudEventError::Time { attribute, source })
}

/// The content type, kept among `metadata` when it says more than the codec does. The far end is `export::is_refined`.
fn content_type(
    attributes: &mut Attributes,
    metadata: &mut MetadataDraft,
) -> Result<Option<String>, CloudEventError> {
    let text = attributes.take("datacontenttype")?.filter(|text| !text.trim().is_empty());
    if let Some(text) = &text
        && text != CodecId::from_content_type(text).content_type()
    {
        metadata.set_pair(&format!("{FOREIGN}datacontenttype"), text);
    }
    Ok(text)
}

fn payload(
    data: Data<'_>,
    content_type: Option<&str>,
    limit: usize,
) -> Result<(CodecId, Bytes), CloudEventError> {
    let named = content_type.map(CodecId::from_content_type);
    let (codec, bytes) = match data {
        Data::Binary(body) => (named, body),
        Data::Json { data: Some(_), base64: Some(_) } => return Err(CloudEventError::TwoPayloads),
        Data::Json { data: None, base64: None } => (named, Bytes::new()),
        Data::Json { data: None, base64: Some(text) } => (named, from_base64(&text, limit)?),
        // JSON format, section 3.1: `data` without a content type is JSON.
        Data::Json { data: Some(raw), .. } if matches!(named, None | Some(CodecId::Json)) => {
            let text = raw.get();
            if text.len() > limit {
                return Err(CloudEventError::too_large(text.len(), limit));
            }
            (Some(CodecId::Json), Bytes::copy_from_slice(text.as_bytes()))
        }
        Data::Json { data: Some(raw), .. } => match serde_json::from_str::<String>(raw.get()) {
            Ok(text) => (named, text.into()),
            Err(_) => {
                let content_type = cut(content_type.unwrap_or_default());
                return Err(CloudEventError::DataNotText { content_type });
            }
        },
    };
    Ok((codec.unwrap_or(CodecId::Raw), bytes))
}

fn from_base64(text: &str, limit: usize) -> Result<Bytes, CloudEventError> {
    // Four characters are at most three bytes, less what the padding takes.
    let padding = text.bytes().rev().take(2).filter(|byte| *byte == b'=').count();
    let len = (text.len() / 4).saturating_mul(3).saturating_sub(padding);
    if len > limit {
        return Err(CloudEventError::too_large(len, limit));
    }
    let bytes =
        STANDARD.decode(text).map_err(|cause| CloudEventError::Base64 { reason: cause.to_string() })?;
    Ok(bytes.into())
}

/// W3C Trace Context: a bad `traceparent` is ignored with its `tracestate`, a bad `tracestate` alone.
fn trace(attributes: &mut Attributes, metadata: &mut MetadataDraft) {
    let parent = attributes.take_any(attributes::TRACE_PARENT);
    let state = attributes.take_any(attributes::TRACE_STATE);
    if let Some(trace) = parent.and_then(|parent| parent.parse::<TraceContext>().ok()) {
        metadata.set_trace(match state {
            Some(state) => trace.with_state(&state),
            None => trace,
        });
    }
}

/// All attributes that are left become metadata pairs, then the members of `buswaymeta`.
fn pairs(mut attributes: Attributes, parts: &mut Parts) -> Result<(), CloudEventError> {
    let meta = attributes.take(attributes::META)?;
    for (name, value) in attributes.into_rest() {
        if KEPT.contains(&name.as_str()) {
            parts.metadata.set_pair(&format!("{FOREIGN}{name}"), &value);
        } else {
            parts.metadata.set_pair(&name, &value);
        }
    }
    for (name, value) in json::meta_pairs(meta.as_deref())? {
        if name == KEY_IN_META {
            parts.key = Some(value);
        } else {
            parts.metadata.set_pair(&name, &value);
        }
    }
    Ok(())
}
