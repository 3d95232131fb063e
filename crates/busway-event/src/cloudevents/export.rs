//! An event as attributes and a body: what both modes write.

use std::borrow::Cow;

use bytes::Bytes;

use super::attributes::{
    self, FOREIGN, ID_IN_META, KEPT, KEY, KEY_IN_META, META, ORIGIN_ID_IN_META, PRODUCER_IN_META,
    TTL_IN_META, TYPE_IN_META,
};
use super::{json, source};
use crate::codec::{CodecId, EncodeError};
use crate::event::{AnyEvent, Header};
use crate::id::EventId;

/// What an export must not lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// What attributes cannot say is an error, or said as well as they can.
    Attributes,
    /// Nothing: see [`line`](super::line).
    Line,
}

/// An event on its way out: what it has as text is borrowed from it.
pub(super) struct Exported<'a> {
    /// All but the content type.
    pub(super) attributes: Vec<(Cow<'static, str>, Cow<'a, str>)>,
    pub(super) content_type: Cow<'static, str>,
    pub(super) body: Bytes,
    pub(super) form: Form,
}

/// Takes `event` apart.
pub(super) fn exported(event: &AnyEvent, form: Form) -> Result<Exported<'_>, EncodeError> {
    let encoded = event.encoded_once()?;
    let mut meta: Vec<(&str, String)> = Vec::new();
    if form == Form::Line {
        exactly(event, &mut meta);
    }
    let id = event.origin_id().map_or_else(|| Cow::Owned(event.id().to_string()), Cow::Borrowed);
    let id = written(("id", id), (ORIGIN_ID_IN_META, form), &mut meta, |_| event.id().to_string())?;
    let type_name = Cow::Owned(str::to_owned(&encoded.type_name));
    let type_name = written(("type", type_name), (TYPE_IN_META, form), &mut meta, source::encoded)?;
    let producer = event.metadata().producer();
    let source = source::written(producer);
    if source != producer {
        meta.push((PRODUCER_IN_META, producer.to_owned()));
    }
    let mut out = Vec::with_capacity(16);
    let mut put = |name: &'static str, value| out.push((Cow::Borrowed(name), value));
    put("specversion", "1.0".into());
    put("id", id);
    put("source", source);
    put("type", type_name);
    put("subject", event.topic().as_str().into());
    put("time", event.time().to_string().into());
    put(attributes::SCHEMA_VERSION, schema_version(encoded.version));
    put(attributes::PRIORITY, event.priority().as_str().into());
    if let Some(ttl) = event.ttl() {
        put(attributes::EXPIRY, event.time().saturating_add(ttl).to_string().into());
    }
    if let Some(trace) = event.metadata().trace() {
        put(attributes::TRACE_PARENT, trace.to_string().into());
        if let Some(state) = trace.state() {
            put(attributes::TRACE_STATE, state.into());
        }
    }
    let mut content_type = None;
    put_pairs(event, encoded.codec, &mut content_type, &mut out, &mut meta);
    if !meta.is_empty() {
        out.push((META.into(), json::meta_text(&meta)?.into()));
    }
    let content_type = match content_type {
        Some(refined) => Cow::Owned(refined.to_owned()),
        None => Cow::Borrowed(encoded.codec.content_type()),
    };
    Ok(Exported { attributes: out, content_type, body: encoded.bytes, form })
}

fn schema_version(version: u16) -> Cow<'static, str> {
    match version {
        // Of most events: formatting a number costs more than all else of it.
        1 => "1".into(),
        version => version.to_string().into(),
    }
}

/// The value of an attribute. One that the attribute cannot hold is refused, or goes to `meta` and something else stands for it.
fn written<'a>(
    (attribute, text): (&'static str, Cow<'a, str>),
    (in_meta, form): (&'static str, Form),
    meta: &mut Vec<(&str, String)>,
    instead: impl FnOnce(&str) -> String,
) -> Result<Cow<'a, str>, EncodeError> {
    let Some(position) = attributes::forbidden_at(&text) else { return Ok(text) };
    if form == Form::Attributes {
        let reason =
            format!("its {attribute} holds a character at byte {position} that no CloudEvent may hold");
        return Err(EncodeError::Failed { reason });
    }
    let instead = instead(&text);
    meta.push((in_meta, text.into_owned()));
    Ok(instead.into())
}

/// Adds to `meta` what the attributes `id` and `expirytime` would not give back. The far end is `import::event`.
fn exactly(event: &AnyEvent, meta: &mut Vec<(&str, String)>) {
    let is_derived = |origin| EventId::foreign(event.metadata().producer(), origin) == event.id();
    if event.origin_id().is_some_and(|origin| !is_derived(origin)) {
        meta.push((ID_IN_META, event.id().to_string()));
    }
    if let Some(origin) = event.origin_id().filter(|&origin| origin == event.id().to_string()) {
        meta.push((ORIGIN_ID_IN_META, origin.to_owned()));
    }
    let time = event.time();
    if let Some(ttl) = event.ttl().filter(|&ttl| time.saturating_add(ttl).saturating_since(time) != ttl) {
        meta.push((TTL_IN_META, ttl.as_nanos().to_string()));
    }
}

/// Adds key and metadata pairs; what cannot be an attribute goes to `meta`. The far end is `import::meta_fields`.
fn put_pairs<'a>(
    header: &'a Header,
    codec: CodecId,
    content_type: &mut Option<&'a str>,
    out: &mut Vec<(Cow<'static, str>, Cow<'a, str>)>,
    meta: &mut Vec<(&'a str, String)>,
) {
    if let Some(key) = header.key() {
        match attributes::forbidden_at(key.as_str()) {
            None => out.push((KEY.into(), key.as_str().into())),
            Some(_) => meta.push((KEY_IN_META, key.as_str().to_owned())),
        }
    }
    for (name, value) in header.metadata().iter() {
        let foreign = name.strip_prefix(FOREIGN);
        if attributes::forbidden_at(value).is_some() {
            meta.push((name, value.to_owned()));
        } else if attributes::is_free_name(name) {
            out.push((name.to_owned().into(), value.into()));
        } else if let Some(kept) = foreign.filter(|kept| KEPT.contains(kept)) {
            out.push((kept.to_owned().into(), value.into()));
        } else if foreign == Some("datacontenttype") && is_refined(value, codec) {
            *content_type = Some(value);
        } else {
            meta.push((name, value.to_owned()));
        }
    }
}

/// Whether an import of this content type gives the codec back and keeps the text: then it may stand for the codec's
/// own. The far end is `import::content_type`.
fn is_refined(content_type: &str, codec: CodecId) -> bool {
    let names_codec = CodecId::from_content_type(content_type) == codec;
    names_codec && content_type != codec.content_type() && !content_type.trim().is_empty()
}
