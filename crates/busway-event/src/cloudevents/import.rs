//! Attributes and a payload become an event: what both modes read.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::attributes::{
    Attributes, FOREIGN, ID_IN_META, KEPT, KEY_IN_META, ORIGIN_ID_IN_META, PRODUCER_IN_META, TTL_IN_META,
    TYPE_IN_META,
};
use super::error::{CloudEventError, cut};
use super::known::Known;
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
    mut attributes: Attributes<'_>,
    data: Data<'_>,
    import: &Import,
) -> Result<AnyEvent, CloudEventError> {
    let spec_version = attributes.require(Known::SpecVersion)?;
    if spec_version != "1.0" {
        return Err(CloudEventError::SpecVersion { found: cut(&spec_version) });
    }
    let id_text = attributes.require(Known::Id)?;
    let source = attributes.require(Known::Source)?;
    let type_name = attributes.require(Known::Type)?;
    let version = schema_version(&mut attributes)?;
    let meta = meta(&mut attributes, source)?;
    let mut metadata = Metadata::draft(&meta.producer, version);
    let topic = topic(&mut attributes, &mut metadata, import)?;
    let said = time(&mut attributes, Known::Time)?;
    let received_at = import.received_at.or(import.taken_at.filter(|_| said.is_none()));
    let Some(time) = said.or(received_at) else {
        return Err(CloudEventError::Missing { attribute: "time" });
    };
    let content_type = content_type(&mut attributes, &mut metadata)?;
    let (codec, bytes) = payload(data, content_type.as_deref(), import.payload_bytes_max)?;

    let exact_origin = meta.origin_id.is_some();
    let id_text = meta.origin_id.map_or(id_text, Cow::Owned);
    let id = meta.id.unwrap_or_else(|| EventId::foreign(&meta.producer, &id_text));
    let mut parts = Parts::new(id, time, topic, metadata);
    // A UUID in another spelling is another text to its owner.
    parts.origin_id = (exact_origin || !id.is_written(&id_text)).then(|| id_text.into_owned());
    parts.payload_bytes_max = import.payload_bytes_max;
    parts.key = match (attributes.take(Known::Key)?, meta.key) {
        (Some(_), Some(_)) => return Err(CloudEventError::duplicate(Known::Key.name())),
        (key, in_meta) => key.or(in_meta.map(Cow::Owned)).map(Into::into),
    };
    if let Some(priority) = attributes.take(Known::Priority)? {
        parts.priority = priority.parse().map_err(CloudEventError::Priority)?;
    }
    parts.ttl = match meta.ttl.filter(|_| received_at.is_none()) {
        Some(exact) => attributes.take(Known::Expiry).map(|_| Some(exact))?,
        None => ttl(&mut attributes, received_at.map_or(time, |received_at| received_at.max(time)))?,
    };
    trace(&mut attributes, &mut parts.metadata);
    pairs(attributes, &meta.pairs, &mut parts.metadata)?;
    let type_name = meta.type_name.map_or(type_name, Cow::Owned);
    let encoded = Encoded { type_name: (*type_name).into(), version, codec, bytes };
    AnyEvent::receive(parts, encoded).map_err(CloudEventError::invalid)
}

fn schema_version(attributes: &mut Attributes<'_>) -> Result<u16, CloudEventError> {
    let Some(text) = attributes.take_any(Known::SchemaVersion) else { return Ok(1) };
    match text.parse() {
        // A sign is none of a number's digits.
        Ok(version) if version > 0 && !text.starts_with('+') => Ok(version),
        _ => Err(CloudEventError::SchemaVersion { found: cut(&text) }),
    }
}

fn topic(
    attributes: &mut Attributes<'_>,
    metadata: &mut MetadataDraft,
    import: &Import,
) -> Result<Topic, CloudEventError> {
    let said = |subject| Topic::new(subject).map_err(|error| CloudEventError::invalid(Invalid::Topic(error)));
    match &import.topic {
        TopicFrom::Subject => said(attributes.require(Known::Subject)?),
        TopicFrom::SubjectOr(topic) => match attributes.take_said(Known::Subject)? {
            Some(subject) => said(subject),
            None => Ok(topic.clone()),
        },
        TopicFrom::Fixed(topic) => {
            if let Some(subject) =
                attributes.take(Known::Subject)?.filter(|subject| subject != topic.as_str())
            {
                add(metadata, &format!("{FOREIGN}subject"), &subject)?;
            }
            Ok(topic.clone())
        }
    }
}

fn time(attributes: &mut Attributes<'_>, known: Known) -> Result<Option<Timestamp>, CloudEventError> {
    let text = attributes.take(known)?;
    let wrong = |source| CloudEventError::Time { attribute: known.name(), source };
    text.map(|text| text.parse()).transpose().map_err(wrong)
}

/// What is left of the time to live at `from`, where a bus starts to count it.
fn ttl(attributes: &mut Attributes<'_>, from: Timestamp) -> Result<Option<Duration>, CloudEventError> {
    match time(attributes, Known::Expiry)? {
        Some(expiry) if expiry <= from => Err(CloudEventError::Expired { expiry, at: from }),
        expiry => Ok(expiry.map(|expiry| expiry.saturating_since(from))),
    }
}

/// The content type, kept among `metadata` when it says more than the codec does. The far end is `export::is_refined`.
fn content_type<'a>(
    attributes: &mut Attributes<'a>,
    metadata: &mut MetadataDraft,
) -> Result<Option<Cow<'a, str>>, CloudEventError> {
    let text = attributes.take(Known::ContentType)?.filter(|text| !text.trim().is_empty());
    if let Some(text) = &text
        && **text != *CodecId::from_content_type(text).content_type()
    {
        add(metadata, &format!("{FOREIGN}datacontenttype"), text)?;
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
fn trace(attributes: &mut Attributes<'_>, metadata: &mut MetadataDraft) {
    let parent = attributes.take_any(Known::TraceParent);
    let state = attributes.take_any(Known::TraceState);
    if let Some(trace) = parent.and_then(|parent| parent.parse::<TraceContext>().ok()) {
        metadata.set_trace(match state {
            Some(state) => trace.with_state(&state),
            None => trace,
        });
    }
}

/// What stands in `buswaymeta`.
#[derive(Default)]
struct Meta<'a> {
    producer: Cow<'a, str>,
    key: Option<String>,
    /// What [`line`](super::line) says exactly.
    id: Option<EventId>,
    origin_id: Option<String>,
    type_name: Option<String>,
    ttl: Option<Duration>,
    pairs: Vec<(String, String)>,
}

/// Takes `buswaymeta` apart. The far end is `export::put_pairs`.
fn meta<'a>(attributes: &mut Attributes<'_>, source: Cow<'a, str>) -> Result<Meta<'a>, CloudEventError> {
    let Some(text) = attributes.take(Known::Meta)? else {
        return Ok(Meta { producer: source, ..Meta::default() });
    };
    let (mut producer, mut key, mut pairs) = (None, None, Vec::new());
    let (mut id, mut origin_id, mut type_name, mut ttl) = (None, None, None, None);
    for (name, value) in json::meta_pairs(&text)? {
        let slot = match name.as_str() {
            PRODUCER_IN_META => &mut producer,
            KEY_IN_META => &mut key,
            ID_IN_META => &mut id,
            ORIGIN_ID_IN_META => &mut origin_id,
            TYPE_IN_META => &mut type_name,
            TTL_IN_META => &mut ttl,
            _ => {
                pairs.push((name, value));
                continue;
            }
        };
        if slot.replace(value).is_some() {
            return Err(CloudEventError::duplicate(&name));
        }
    }
    let producer = match producer {
        Some(producer) if super::source::written(&producer) != source => {
            let reason = format!("\"{PRODUCER_IN_META}\" is not what source was made of");
            return Err(CloudEventError::Meta { reason });
        }
        producer => producer.map_or(source, Cow::Owned),
    };
    let id = exact(ID_IN_META, id, |text| text.parse().ok())?;
    let ttl = exact(TTL_IN_META, ttl, nanos)?;
    Ok(Meta { producer, key, id, origin_id, type_name, ttl, pairs })
}

fn exact<T>(
    name: &str,
    text: Option<String>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, CloudEventError> {
    let wrong = |text: &str| CloudEventError::Meta {
        reason: format!("\"{name}\" is \"{}\"", cut(text).escape_debug()),
    };
    text.map(|text| parse(&text).ok_or_else(|| wrong(&text))).transpose()
}

/// A duration in nanoseconds, as long as one may be.
fn nanos(text: &str) -> Option<Duration> {
    let nanos: u128 = text.parse().ok()?;
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanos % 1_000_000_000).ok()?))
}

/// All attributes that are left become metadata pairs, then those of `buswaymeta`.
fn pairs(
    attributes: Attributes<'_>,
    in_meta: &[(String, String)],
    metadata: &mut MetadataDraft,
) -> Result<(), CloudEventError> {
    for (name, value) in attributes.into_others() {
        if KEPT.contains(&name.as_str()) {
            add(metadata, &format!("{FOREIGN}{name}"), &value)?;
        } else {
            add(metadata, &name, &value)?;
        }
    }
    in_meta.iter().try_for_each(|(name, value)| add(metadata, name, value))
}

/// Adds a pair. Two attributes may come to the same name, and neither may be lost.
fn add(metadata: &mut MetadataDraft, name: &str, value: &str) -> Result<(), CloudEventError> {
    if metadata.add_pair(name, value) { Ok(()) } else { Err(CloudEventError::duplicate(name)) }
}
