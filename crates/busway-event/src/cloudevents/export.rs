//! An event as attributes and a body: what both modes write.

use std::borrow::Cow;

use bytes::Bytes;

use super::attributes::{self, FOREIGN, KEPT, KEY, KEY_IN_META, META, PRODUCER_IN_META};
use super::{json, source};
use crate::codec::{CodecId, EncodeError};
use crate::event::{AnyEvent, Header};

/// An event on its way out.
pub(super) struct Exported {
    /// All but the content type.
    pub(super) attributes: Vec<(Cow<'static, str>, String)>,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

/// Takes `event` apart.
pub(super) fn exported(event: &AnyEvent) -> Result<Exported, EncodeError> {
    let encoded = event.encoded_once()?;
    let id = event.origin_id().map_or_else(|| event.id().to_string(), str::to_owned);
    let source = source::written(event.metadata().producer());
    for (attribute, text) in [("id", &*id), ("type", &*encoded.type_name)] {
        if let Some(position) = attributes::forbidden_at(text) {
            let reason =
                format!("its {attribute} holds a character at byte {position} that no CloudEvent may hold");
            return Err(EncodeError::Failed { reason });
        }
    }
    let mut out = Vec::with_capacity(16);
    let mut put = |name: &'static str, value: String| out.push((Cow::Borrowed(name), value));
    put("specversion", "1.0".to_owned());
    put("id", id);
    put("source", source.into_owned());
    put("type", encoded.type_name.clone().into());
    put("subject", event.topic().as_str().to_owned());
    put("time", event.time().to_string());
    put(attributes::SCHEMA_VERSION, encoded.version.to_string());
    put(attributes::PRIORITY, event.priority().to_string());
    if let Some(ttl) = event.ttl() {
        put(attributes::EXPIRY, event.time().saturating_add(ttl).to_string());
    }
    if let Some(trace) = event.metadata().trace() {
        put(attributes::TRACE_PARENT, trace.to_string());
        if let Some(state) = trace.state() {
            put(attributes::TRACE_STATE, state.to_owned());
        }
    }
    let mut content_type = None;
    let meta = put_pairs(event, encoded.codec, &mut content_type, &mut out);
    if !meta.is_empty() {
        out.push((META.into(), json::meta_text(&meta)?));
    }
    let content_type = content_type.unwrap_or(encoded.codec.content_type()).to_owned();
    Ok(Exported { attributes: out, content_type, body: encoded.bytes })
}

/// Adds key and metadata pairs, and gives back what cannot be an attribute. The far end is `import::meta_fields`.
fn put_pairs<'a>(
    header: &'a Header,
    codec: CodecId,
    content_type: &mut Option<&'a str>,
    out: &mut Vec<(Cow<'static, str>, String)>,
) -> Vec<(&'a str, &'a str)> {
    let mut meta = Vec::new();
    let producer = header.metadata().producer();
    if source::written(producer) != producer {
        meta.push((PRODUCER_IN_META, producer));
    }
    if let Some(key) = header.key() {
        match attributes::forbidden_at(key.as_str()) {
            None => out.push((KEY.into(), key.as_str().to_owned())),
            Some(_) => meta.push((KEY_IN_META, key.as_str())),
        }
    }
    for (name, value) in header.metadata().iter() {
        let foreign = name.strip_prefix(FOREIGN);
        if attributes::forbidden_at(value).is_some() {
            meta.push((name, value));
        } else if attributes::is_free_name(name) {
            out.push((name.to_owned().into(), value.to_owned()));
        } else if let Some(kept) = foreign.filter(|kept| KEPT.contains(kept)) {
            out.push((kept.to_owned().into(), value.to_owned()));
        } else if foreign == Some("datacontenttype") && is_refined(value, codec) {
            *content_type = Some(value);
        } else {
            meta.push((name, value));
        }
    }
    meta
}

/// Whether an import of this content type gives the codec back and keeps the text: then it may stand for the codec's
/// own. The far end is `import::content_type`.
fn is_refined(content_type: &str, codec: CodecId) -> bool {
    let names_codec = CodecId::from_content_type(content_type) == codec;
    names_codec && content_type != codec.content_type() && !content_type.trim().is_empty()
}
