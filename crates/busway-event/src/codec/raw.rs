//! Raw bytes: no form at all.

use bytes::Bytes;

use super::{Bounded, Codec, CodecId, DecodeError, EncodeError};

/// The bytes as they are.
#[derive(Debug, Clone, Copy)]
pub struct RawBytes;

impl Codec<Bytes> for RawBytes {
    const ID: CodecId = CodecId::Raw;

    fn encode(value: &Bytes, out: &mut Bounded) -> Result<(), EncodeError> {
        out.extend(value)
    }

    fn decode(bytes: &[u8]) -> Result<Bytes, DecodeError> {
        Ok(Bytes::copy_from_slice(bytes))
    }
}
