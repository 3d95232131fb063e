//! JSON: the default codec.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Bounded, Codec, CodecId, DecodeError, EncodeError};

/// JSON text through `serde_json`. Its nesting limit of 128 bounds what a hostile payload can do to the stack.
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    const ID: CodecId = CodecId::Json;

    fn encode(value: &T, out: &mut Bounded) -> Result<(), EncodeError> {
        serde_json::to_writer(&mut *out, value).map_err(|cause| out.failure(cause))
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<T>();
        let value = match values.next() {
            Some(Ok(value)) => value,
            Some(Err(cause)) => return Err(malformed(cause.to_string())),
            None => return Err(malformed("it is empty".to_owned())),
        };
        let at = values.byte_offset();
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.iter().all(u8::is_ascii_whitespace) {
            Ok(value)
        } else {
            Err(DecodeError::TrailingBytes { codec: CodecId::Json, at, extra: rest.len() })
        }
    }
}

fn malformed(reason: String) -> DecodeError {
    DecodeError::Malformed { codec: CodecId::Json, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<u32, DecodeError> {
        <Json as Codec<u32>>::decode(bytes)
    }

    #[test]
    fn a_value_fills_the_payload_but_for_white_space() {
        assert_eq!(decode(b" 7 \n"), Ok(7));
        assert_eq!(decode(b"7 8"), Err(DecodeError::TrailingBytes { codec: CodecId::Json, at: 1, extra: 2 }));
        assert!(decode(b"7}").is_err());
    }

    #[test]
    fn malformed_text_names_the_place() {
        assert!(decode(b"").unwrap_err().to_string().contains("empty"));
        assert!(decode(b"\"x\"").unwrap_err().to_string().contains("column 3"));
        let deep = "[".repeat(100_000);
        assert!(<Json as Codec<serde_json::Value>>::decode(deep.as_bytes()).is_err());
    }

    #[test]
    fn encoding_stops_at_the_limit() {
        let mut out = Bounded::new(16);
        let long = "x".repeat(1_000);
        assert!(matches!(Json::encode(&long, &mut out), Err(EncodeError::TooLarge { limit: 16, .. })));
    }
}
