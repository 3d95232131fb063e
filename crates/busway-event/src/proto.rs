//! `Proto<M>`: a Protobuf message as a payload.

use std::ops::Deref;

use bytes::Bytes;
use prost::{Message, Name};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::codec::{Bounded, Codec, CodecId, DecodeError, EncodeError, Protobuf};
use crate::event_type::EventType;
use crate::raw::BytesVisitor;

/// A `prost` message as a payload, encoded as Protobuf.
///
/// Its event name is the message's own name without the package ([`Name::NAME`]), its version is 1: Protobuf evolves by
/// fields, not by versions. Turn on `prost-build`'s `enable_type_names` to have `Name` generated.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Proto<M>(pub M);

impl<M: Message + Name + Default + 'static> EventType for Proto<M> {
    const NAME: &'static str = M::NAME;
    const CODEC: CodecId = CodecId::Protobuf;

    fn weight(&self) -> usize {
        self.0.encoded_len()
    }

    fn encoded_len(&self) -> Option<usize> {
        Some(self.0.encoded_len())
    }

    fn encode(&self, out: &mut Bounded) -> Result<(), EncodeError> {
        Protobuf::encode(&self.0, out)
    }

    fn decode(codec: CodecId, bytes: &Bytes) -> Result<Self, DecodeError> {
        match codec {
            CodecId::Protobuf => Protobuf::decode(bytes).map(Self),
            found => Err(DecodeError::WrongCodec { name: Self::NAME, expected: "protobuf", found }),
        }
    }
}

impl<M> Deref for Proto<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0
    }
}

/// As bytes: only so that the wrapper is a payload like any other; the codec does not go through serde.
impl<M: Message> Serialize for Proto<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0.encode_to_vec())
    }
}

impl<'de, M: Message + Default> Deserialize<'de> for Proto<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = deserializer.deserialize_byte_buf(BytesVisitor)?;
        M::decode(bytes).map(Self).map_err(de::Error::custom)
    }
}
