//! An event as the fields of an entry, and back: `CloudEvents` in binary mode.
//!
//! | field | what |
//! |---|---|
//! | `ce_<attribute>` | an attribute, as text; the topic is `ce_subject` |
//! | `content-type` | the media type of the payload |
//! | `data` | the payload as it is |

use busway_engine::transport::{TransportError, Unreadable};
use busway_event::AnyEvent;
use busway_event::cloudevents::{self, Arriving, Binary, Import};
use bytes::Bytes;

/// An event on its way out: the fields of its entry.
#[derive(Debug)]
pub(super) struct Fields<'a>(Binary<'a>);

impl<'a> Fields<'a> {
    pub(super) fn of(event: &'a AnyEvent) -> Result<Self, TransportError> {
        let headers =
            cloudevents::to_binary(event).map_err(|error| TransportError::Refused(error.to_string()))?;
        let len = headers.body.len();
        if len > PAYLOAD_BYTES_MAX {
            return Err(TransportError::TooLarge { len, limit: PAYLOAD_BYTES_MAX });
        }
        Ok(Self(headers))
    }

    /// Bytes of the payload.
    pub(super) const fn len(&self) -> usize {
        self.0.body.len()
    }

    /// How many names and values there are, and how many bytes in all of them.
    pub(super) fn size(&self) -> (usize, usize) {
        let attributes = &self.0.attributes;
        let len = |name: &str, value: &str| PREFIX.len() + name.len() + value.len();
        let bytes: usize = attributes.iter().map(|(name, value)| len(name, value)).sum();
        let others = CONTENT_TYPE.len() + self.0.content_type.len() + DATA.len() + self.0.body.len();
        (2 * attributes.len() + 4, bytes + others)
    }

    /// Names and values in turn.
    pub(super) fn each(&self, mut put: impl FnMut(&[u8])) {
        for (name, value) in &self.0.attributes {
            match USUAL.iter().find(|usual| usual.strip_prefix(PREFIX) == Some(name)) {
                Some(usual) => put(usual.as_bytes()),
                None => put(format!("{PREFIX}{name}").as_bytes()),
            }
            put(value.as_bytes());
        }
        put(CONTENT_TYPE.as_bytes());
        put(self.0.content_type.as_bytes());
        put(DATA.as_bytes());
        put(&self.0.body);
    }
}

/// The event of an entry, or the entry as it is. Fields of other names are no part of an event.
pub(super) fn from_fields(place: String, fields: Vec<Bytes>) -> Result<AnyEvent, Box<Unreadable>> {
    if fields.is_empty() {
        return Err(Box::new(Unreadable::new(place, Bytes::new(), REMOVED)));
    }
    match read(&fields) {
        Ok(event) => Ok(event),
        Err(reason) => {
            let (mut body, mut headers) = (Bytes::new(), Vec::new());
            let mut values = fields.into_iter();
            while let (Some(name), Some(value)) = (values.next(), values.next()) {
                match name.as_ref() == DATA.as_bytes() && body.is_empty() {
                    true => body = value,
                    false => headers.push((text_of(&name), text_of(&value))),
                }
            }
            Err(Box::new(Unreadable::new(place, body, reason).headers(headers)))
        }
    }
}

fn read(fields: &[Bytes]) -> Result<AnyEvent, String> {
    let (mut arriving, mut is_event, mut body) = (Arriving::new(), false, None);
    for pair in fields.chunks_exact(2) {
        let [name, value] = pair else { continue };
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let attribute = match name {
            DATA if body.is_some() => return Err("it has two fields \"data\"".to_owned()),
            DATA => {
                body = Some(value.clone());
                continue;
            }
            CONTENT_TYPE => "datacontenttype",
            name => match name.strip_prefix(PREFIX) {
                Some(attribute) => {
                    is_event = true;
                    attribute
                }
                None => continue,
            },
        };
        let value = std::str::from_utf8(value)
            .map_err(|error| format!("the field \"{}\" is no text: {error}", name.escape_debug()))?;
        arriving.attribute(attribute, value).map_err(|error| error.to_string())?;
    }
    if !is_event {
        return Err("it has no fields that begin with \"ce_\": it is no CloudEvent".to_owned());
    }
    let import = Import::new().payload_bytes_max(PAYLOAD_BYTES_MAX);
    arriving.event(body.unwrap_or_default(), &import).map_err(|error| error.to_string())
}

/// What is no text is shown as well as it can be.
fn text_of(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const PREFIX: &str = "ce_";
/// Fields of nearly all events.
const USUAL: [&str; 9] = [
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_time",
    "ce_schemaversion",
    "ce_priority",
    "ce_partitionkey",
];
const CONTENT_TYPE: &str = "content-type";
const DATA: &str = "data";
const REMOVED: &str =
    "somebody has removed the entry from the stream before it was settled; nothing of it is left";
/// Of a payload. Redis takes 512 MiB, and scripts hold what they pass on in memory.
pub(super) const PAYLOAD_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use busway_event::EventId;

    use super::*;

    fn fields(pairs: &[(&'static str, &'static str)]) -> Vec<Bytes> {
        pairs.iter().flat_map(|(name, value)| [Bytes::from(*name), Bytes::from(*value)]).collect()
    }

    const EVENT: [(&str, &str); 7] = [
        ("ce_specversion", "1.0"),
        ("ce_id", "A-1"),
        ("ce_source", "/shop"),
        ("ce_type", "order-created"),
        ("ce_subject", "orders.created"),
        ("ce_time", "2026-01-31T10:00:00Z"),
        ("content-type", "application/json"),
    ];

    #[test]
    fn an_event_of_somebody_else_is_read_and_written_as_it_was() {
        let mut all = EVENT.to_vec();
        all.push(("data", "{\"n\":1}"));
        let event = from_fields("here".to_owned(), fields(&all)).unwrap();
        assert_eq!(event.id(), EventId::foreign("/shop", "A-1"));
        assert_eq!(event.topic().as_str(), "orders.created");
        let fields = Fields::of(&event).unwrap();
        let mut written = Vec::new();
        fields.each(|value| written.push(Bytes::copy_from_slice(value)));
        let bytes = written.iter().map(Bytes::len).sum();
        assert_eq!((fields.len(), fields.size()), (7, (written.len(), bytes)));
        let again = from_fields("here".to_owned(), written).unwrap();
        assert_eq!(again.header().id(), event.header().id());
        assert_eq!(again.origin_id(), Some("A-1"));
    }

    #[test]
    fn what_is_no_event_keeps_its_bytes_and_its_fields_and_says_why() {
        let unreadable = |pairs: &[(&'static str, &'static str)]| {
            *from_fields("busway:stream:orders:0 5-0".to_owned(), fields(pairs)).unwrap_err()
        };
        let foreign = unreadable(&[("data", "hello"), ("colour", "red")]);
        assert!(foreign.reason.contains("ce_"), "{}", foreign.reason);
        assert_eq!(
            (foreign.bytes.as_ref(), foreign.place.as_str()),
            (&b"hello"[..], "busway:stream:orders:0 5-0")
        );
        assert_eq!(foreign.headers, [("colour".to_owned(), "red".to_owned())]);
        let broken = unreadable(&EVENT[1..]);
        assert!(broken.reason.contains("specversion"), "{}", broken.reason);
        let mut twice = EVENT.to_vec();
        twice.extend([("data", "1"), ("data", "2")]);
        assert!(unreadable(&twice).reason.contains("two"));
        assert!(unreadable(&[]).reason.contains("removed"));
    }
}
