//! bincode 2: small and fast, for programs that share the type.
//!
//! Not self-describing: serde's `flatten`, `untagged`, `tag` and `skip_serializing_if` do not work with it, and a
//! field that is added needs a new schema version.

use ::bincode::config::{Configuration, Limit, LittleEndian, Varint, standard};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Bounded, Codec, CodecId, DecodeError, EncodeError};

/// bincode 2 in its standard configuration: little endian, variable-length integers.
///
/// Decoding is limited to 16 MiB, so that a corrupt length cannot ask for more memory than the largest payload could
/// need, and refuses bytes that are left over, which bincode by itself accepts.
#[derive(Debug, Clone, Copy)]
pub struct Bincode;

impl<T: Serialize + DeserializeOwned> Codec<T> for Bincode {
    const ID: CodecId = CodecId::Bincode;

    fn encode(value: &T, out: &mut Bounded) -> Result<(), EncodeError> {
        let written = ::bincode::serde::encode_into_std_write(value, out, CONFIG);
        written.map(|_| ()).map_err(|cause| out.failure(cause))
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        let decoded = ::bincode::serde::decode_from_slice(bytes, CONFIG);
        let (value, at) = decoded
            .map_err(|cause| DecodeError::Malformed { codec: CodecId::Bincode, reason: cause.to_string() })?;
        match bytes.len() - at {
            0 => Ok(value),
            extra => Err(DecodeError::TrailingBytes { codec: CodecId::Bincode, at, extra }),
        }
    }
}

const DECODED_BYTES_MAX: usize = 16 * 1024 * 1024;
const CONFIG: Configuration<LittleEndian, Varint, Limit<DECODED_BYTES_MAX>> =
    standard().with_limit::<DECODED_BYTES_MAX>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_trailing_bytes_do_not_pass() {
        let mut out = Bounded::new(64);
        Bincode::encode(&(7_u32, "x".to_owned()), &mut out).unwrap();
        let mut bytes = out.into_bytes();
        assert_eq!(<Bincode as Codec<(u32, String)>>::decode(&bytes), Ok((7, "x".to_owned())));
        bytes.push(0);
        let error = <Bincode as Codec<(u32, String)>>::decode(&bytes).unwrap_err();
        assert_eq!(error, DecodeError::TrailingBytes { codec: CodecId::Bincode, at: 3, extra: 1 });
    }

    #[test]
    fn a_length_that_lies_is_refused_before_memory_is_taken() {
        // 253 announces a u64 length: here 2^60 bytes.
        let mut bytes = vec![253];
        bytes.extend_from_slice(&(1_u64 << 60).to_le_bytes());
        assert!(matches!(<Bincode as Codec<Vec<u8>>>::decode(&bytes), Err(DecodeError::Malformed { .. })));
        assert!(matches!(<Bincode as Codec<String>>::decode(&bytes), Err(DecodeError::Malformed { .. })));
    }

    #[test]
    fn encoding_stops_at_the_limit() {
        let mut out = Bounded::new(8);
        let long = vec![1_u8; 1_000];
        assert!(matches!(Bincode::encode(&long, &mut out), Err(EncodeError::TooLarge { limit: 8, .. })));
    }
}
