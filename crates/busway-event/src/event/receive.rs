//! An event from outside: its parts as they arrived, and the check that makes an event of them.
//!
//! What a stranger sends is checked by the same rules as what this program publishes, so that nothing behind this door
//! needs to ask again.

use std::sync::Arc;
use std::time::Duration;

use super::{AnyEvent, Header};
use crate::codec::{EncodeError, PAYLOAD_BYTES_MAX};
use crate::draft::Invalid;
use crate::event_type::Encoded;
use crate::id::EventId;
use crate::key::Key;
use crate::metadata::{Metadata, MetadataDraft, MetadataError};
use crate::priority::Priority;
use crate::timestamp::Timestamp;
use crate::topic::Topic;

/// All but the payload of an event that arrived as bytes, not validated yet: for transports and stores. The fields
/// beyond those of [`Parts::new`] are set one by one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Parts {
    /// The identity, see [`EventId::foreign`] for an event of another system.
    pub id: EventId,
    /// The other system's id when it was no UUID, 1 to [`ORIGIN_ID_BYTES_MAX`] bytes. Default: none.
    pub origin_id: Option<String>,
    /// When it happened.
    pub time: Timestamp,
    /// What it is about.
    pub topic: Topic,
    /// What orders it. Default: nothing.
    pub key: Option<Arc<str>>,
    /// How urgent it is. Default: [`Priority::P2`].
    pub priority: Priority,
    /// How long it may wait, more than zero. Default: what the subscription says.
    pub ttl: Option<Duration>,
    /// Producer, trace and free pairs. The schema version is that of the [`Encoded`] payload.
    pub metadata: MetadataDraft,
    /// Metadata that is valid already, for many events that share it: taken in place of `metadata`, and not checked again.
    pub shared_metadata: Option<Metadata>,
    /// The most bytes that the payload may have. Default: [`PAYLOAD_BYTES_MAX`].
    pub payload_bytes_max: usize,
}

impl Parts {
    /// The parts that each event has; `metadata` must name the producer.
    #[must_use]
    pub const fn new(id: EventId, time: Timestamp, topic: Topic, metadata: MetadataDraft) -> Self {
        Self {
            id,
            origin_id: None,
            time,
            topic,
            key: None,
            priority: Priority::P2,
            ttl: None,
            metadata,
            shared_metadata: None,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
        }
    }
}

impl AnyEvent {
    /// Makes an event of what arrived. The payload is only measured: it is decoded when a handler asks for a type.
    ///
    /// # Errors
    /// The first rule that is broken: payload size, type name, origin id, key, time to live, metadata.
    pub fn receive(parts: Parts, encoded: Encoded) -> Result<Self, Invalid> {
        let Parts { id, origin_id, time, topic, key, priority, ttl, payload_bytes_max, .. } = parts;
        let len = encoded.bytes.len();
        if len > payload_bytes_max {
            return Err(Invalid::PayloadTooLarge { len, limit: payload_bytes_max });
        }
        check_type_name(&encoded.type_name)?;
        match origin_id.as_ref().map(String::len) {
            Some(len) if len == 0 || len > ORIGIN_ID_BYTES_MAX => {
                return Err(Invalid::OriginId { len, limit: ORIGIN_ID_BYTES_MAX });
            }
            _ => {}
        }
        let key = key.map(Key::new).transpose()?;
        if ttl == Some(Duration::ZERO) {
            return Err(Invalid::TtlZero);
        }
        let metadata = match (parts.shared_metadata, parts.metadata) {
            (Some(_), _) if encoded.version == 0 => return Err(MetadataError::VersionMissing.into()),
            (Some(shared), _) => shared.with_version(encoded.version),
            (None, mut draft) => {
                draft.set_version(encoded.version);
                draft.freeze()?
            }
        };
        let origin_id = origin_id.map(String::into_boxed_str);
        let header = Header { id, time, priority, key, ttl, topic, metadata, origin_id };
        Ok(Self::from_encoded(header, encoded))
    }
}

impl AnyEvent {
    /// The same event, id and time included, with other bytes as its payload, which are taken to be of the type, version and codec that the event
    /// has: for who repairs an event that could not be handled. Nothing of this event is changed.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] above `limit` bytes; [`EncodeError::Failed`] when the event's own payload, which tells the codec, cannot be encoded.
    pub fn with_payload(&self, bytes: impl Into<bytes::Bytes>, limit: usize) -> Result<Self, EncodeError> {
        let bytes = bytes.into();
        if bytes.len() > limit {
            return Err(EncodeError::TooLarge { len: bytes.len(), limit });
        }
        let encoded = self.encoded_once()?;
        Ok(Self::from_encoded(self.header().clone(), Encoded { bytes, ..encoded }))
    }
}

impl AnyEvent {
    /// The same event, id and time included, with other metadata: for who passes it on and has something to say of it. The payload's version stays, and nothing of this
    /// event is changed.
    ///
    /// # Errors
    /// [`EncodeError`] when its payload was not encoded before and cannot be.
    pub fn with_metadata(&self, metadata: &Metadata) -> Result<Self, EncodeError> {
        let encoded = self.encoded_once()?;
        let mut header = self.header().clone();
        header.metadata = metadata.with_version(header.metadata.version());
        Ok(Self::from_encoded(header, encoded))
    }
}

/// The rule that `#[derive(EventType)]` holds names to at compile time (`busway-macros/src/name.rs`, whose tests hold the
/// two against each other).
fn check_type_name(name: &str) -> Result<(), Invalid> {
    let wrong = |reason: String| Invalid::TypeName { name: name.chars().take(64).collect(), reason };
    match name.len() {
        0 => return Err(wrong("is empty".to_owned())),
        len if len > TYPE_NAME_BYTES_MAX => {
            return Err(wrong(format!("has {len} bytes, more than {TYPE_NAME_BYTES_MAX}")));
        }
        _ => {}
    }
    if name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(());
    }
    match name.chars().position(char::is_control) {
        Some(position) => Err(wrong(format!("holds a control character at position {position}"))),
        None => Ok(()),
    }
}

/// Bytes of an id that another system gave.
pub const ORIGIN_ID_BYTES_MAX: usize = 1024;
/// Bytes of the name of a payload's type.
pub const TYPE_NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::CodecId;
    use crate::key::KeyError;
    use crate::metadata::{Metadata, MetadataError};

    fn parts() -> Parts {
        let metadata = Metadata::draft("shop", 7);
        Parts::new(
            EventId::foreign("shop", "1"),
            Timestamp::from_nanos(5),
            Topic::new("a.b").unwrap(),
            metadata,
        )
    }

    fn encoded(type_name: &str, version: u16) -> Encoded {
        Encoded {
            type_name: type_name.into(),
            version,
            codec: CodecId::Raw,
            bytes: Bytes::from_static(b"1234"),
        }
    }

    fn refusal(change: impl FnOnce(&mut Parts)) -> Invalid {
        let mut parts = parts();
        change(&mut parts);
        AnyEvent::receive(parts, encoded("order", 1)).unwrap_err()
    }

    #[test]
    fn what_arrived_becomes_an_event_with_the_version_of_its_payload() {
        let mut parts = parts();
        parts.key = Some("k".into());
        parts.origin_id = Some("1".to_owned());
        parts.payload_bytes_max = 4;
        let event = AnyEvent::receive(parts, encoded("order", 3)).unwrap();
        assert_eq!((event.type_name(), event.metadata().version()), ("order", 3));
        assert_eq!((event.key().map(Key::as_str), event.origin_id()), (Some("k"), Some("1")));
    }

    #[test]
    fn metadata_that_is_shared_takes_the_place_of_its_draft() {
        let metadata = Metadata::draft("other", 9).build().unwrap();
        let parts = Parts { shared_metadata: Some(metadata.clone()), ..parts() };
        let event = AnyEvent::receive(parts, encoded("order", 3)).unwrap();
        assert_eq!((event.metadata().producer(), event.metadata().version()), ("other", 3));
        assert!(event.metadata().is(&metadata, 3));
    }

    #[test]
    fn each_broken_rule_has_its_error() {
        assert_eq!(
            refusal(|parts| parts.payload_bytes_max = 3),
            Invalid::PayloadTooLarge { len: 4, limit: 3 }
        );
        assert_eq!(refusal(|parts| parts.ttl = Some(Duration::ZERO)), Invalid::TtlZero);
        assert_eq!(refusal(|parts| parts.key = Some("".into())), Invalid::Key(KeyError::Empty));
        let unnamed = refusal(|parts| parts.metadata = MetadataDraft::default());
        assert_eq!(unnamed, Invalid::Metadata(MetadataError::ProducerMissing));
        for len in [0, 1025] {
            let error = refusal(|parts| parts.origin_id = Some("x".repeat(len)));
            assert_eq!(error, Invalid::OriginId { len, limit: 1024 });
        }
        for name in ["", "a\0b", &"n".repeat(256)] {
            let error = AnyEvent::receive(parts(), encoded(name, 1)).unwrap_err();
            assert!(matches!(error, Invalid::TypeName { .. }), "{error}");
        }
        let shared = || Parts { shared_metadata: Some(parts().metadata.build().unwrap()), ..parts() };
        for parts in [parts(), shared()] {
            let unversioned = AnyEvent::receive(parts, encoded("order", 0)).unwrap_err();
            assert_eq!(unversioned, Invalid::Metadata(MetadataError::VersionMissing));
        }
    }
}
