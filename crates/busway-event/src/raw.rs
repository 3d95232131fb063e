//! `Raw`: a payload of plain bytes, and the way to read events of any type.

use std::fmt;

use bytes::Bytes;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{Bounded, Codec, CodecId, DecodeError, EncodeError, RawBytes};
use crate::event_type::{Encoded, EventType};

/// Opaque bytes as a payload.
///
/// A handler that takes `Raw` receives every event, whatever its type: the encoded bytes of it. The event that it holds
/// is one of type `raw`: who sends events on, such as an archiver or a bridge, takes [`AnyEvent`](crate::AnyEvent) and
/// its [`encoded`](crate::AnyEvent::encoded), which keep the type's name, version and codec.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Raw(pub Bytes);

impl EventType for Raw {
    const NAME: &'static str = "raw";
    const CODEC: CodecId = CodecId::Raw;

    fn weight(&self) -> usize {
        self.0.len()
    }

    fn encoded_len(&self) -> Option<usize> {
        Some(self.0.len())
    }

    fn encode(&self, out: &mut Bounded) -> Result<(), EncodeError> {
        RawBytes::encode(&self.0, out)
    }

    fn decode(_codec: CodecId, bytes: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self(bytes.clone()))
    }

    fn read(encoded: &Encoded) -> Result<Self, DecodeError> {
        Ok(Self(encoded.bytes.clone()))
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({} bytes)", self.0.len())
    }
}

impl<B: Into<Bytes>> From<B> for Raw {
    fn from(bytes: B) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor).map(Self)
    }
}

/// Accepts bytes in each form in which a serde format may hand them over.
pub(crate) struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}
