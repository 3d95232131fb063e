//! bincode 2: small and fast, for programs that share the type.
//!
//! Not self-describing: serde's `flatten`, `untagged`, `tag` and `skip_serializing_if` do not work with it, and a
//! field that is added needs a new schema version.

mod read;

use ::bincode::config::{Configuration, LittleEndian, NoLimit, Varint, standard};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Bounded, Codec, CodecId, DecodeError, EncodeError};

/// bincode 2 in its standard configuration: little endian, variable-length integers.
///
/// bincode by itself trusts its input. This codec does not: it refuses a value nested deeper than 128 levels (a struct,
/// tuple, sequence, map, option, newtype or variant with fields is one), a text or byte string longer than what is left,
/// more than 65,536 sequence elements that take up no byte, and bytes that are left over. Decoding takes no longer, and no
/// more memory, than so many bytes of elements can account for: what a length announces is not believed beforehand.
///
/// A value beyond the first or third of these limits can be encoded, and is refused by its readers.
#[derive(Debug, Clone, Copy)]
pub struct Bincode;

impl<T: Serialize + DeserializeOwned> Codec<T> for Bincode {
    const ID: CodecId = CodecId::Bincode;

    fn encode(value: &T, out: &mut Bounded) -> Result<(), EncodeError> {
        let written = ::bincode::serde::encode_into_std_write(value, out, CONFIG);
        written.map(|_| ()).map_err(|cause| out.failure(cause))
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        let (value, at) = read::value(bytes, CONFIG).map_err(|(cause, at)| {
            let reason = match cause {
                ::bincode::error::DecodeError::OtherString(said) => format!("{said} at byte {at}"),
                cause => format!("{cause} at byte {at}"),
            };
            DecodeError::Malformed { codec: CodecId::Bincode, reason }
        })?;
        match bytes.len() - at {
            0 => Ok(value),
            extra => Err(DecodeError::TrailingBytes { codec: CodecId::Bincode, at, extra }),
        }
    }
}

/// Without bincode's own limit, which counts what values take up in memory and so refuses what it wrote itself: `read`
/// bounds the reading by the bytes that there are.
const CONFIG: Configuration<LittleEndian, Varint, NoLimit> = standard();

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
    fn encoding_stops_at_the_limit() {
        let mut out = Bounded::new(8);
        let long = vec![1_u8; 1_000];
        assert!(matches!(Bincode::encode(&long, &mut out), Err(EncodeError::TooLarge { limit: 8, .. })));
    }
}
