//! `Proto<M>`: a Protobuf message as a payload.

use std::marker::PhantomData;
use std::ops::Deref;

use bytes::Bytes;
use prost::{Message, Name};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::codec::{Bounded, Codec, CodecId, DecodeError, EncodeError, Protobuf};
use crate::event::TYPE_NAME_BYTES_MAX;
use crate::event_type::EventType;
use crate::raw::BytesVisitor;

/// A `prost` message as a payload, encoded as Protobuf.
///
/// Its event name is package and message, `shop.v1.OrderShipped` ([`Name::PACKAGE`], [`Name::NAME`]), 255 bytes at most;
/// the message that a nested one stands in is no part of it. Its version is 1: Protobuf evolves by fields, not by
/// versions. Turn on `prost-build`'s `enable_type_names` to have `Name` generated.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Proto<M>(pub M);

impl<M: Message + Name + Default + 'static> EventType for Proto<M> {
    const NAME: &'static str = full_name(&Joined::<M>::BYTES, M::PACKAGE.len(), M::NAME.len());
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

/// Package and name with a dot between them: [`Name::full_name`] is not known at compile time.
struct Joined<M>(PhantomData<M>);

impl<M: Name> Joined<M> {
    const BYTES: [u8; TYPE_NAME_BYTES_MAX] = join(M::PACKAGE, M::NAME);
}

const fn join(package: &str, name: &str) -> [u8; TYPE_NAME_BYTES_MAX] {
    assert!(
        joined_len(package.len(), name.len()) <= TYPE_NAME_BYTES_MAX,
        "package and name of the message have more than 255 bytes"
    );
    let mut joined = [b'.'; TYPE_NAME_BYTES_MAX];
    let (head, tail) = joined.split_at_mut(package.len());
    head.copy_from_slice(package.as_bytes());
    let at = if package.is_empty() { 0 } else { 1 };
    tail.split_at_mut(at).1.split_at_mut(name.len()).0.copy_from_slice(name.as_bytes());
    joined
}

const fn joined_len(package: usize, name: usize) -> usize {
    if package == 0 { name } else { package + 1 + name }
}

const fn full_name(joined: &'static [u8; TYPE_NAME_BYTES_MAX], package: usize, name: usize) -> &'static str {
    match str::from_utf8(joined.split_at(joined_len(package, name)).0) {
        Ok(text) => text,
        Err(_) => panic!("two texts and a dot are text"),
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
