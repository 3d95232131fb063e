//! JSON: the default codec.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::Formatter;

use super::{Bounded, Codec, CodecId, DecodeError, EncodeError};

/// JSON text through `serde_json`. Objects and arrays nested deeper than 127 levels are refused in both directions: that
/// bounds what a hostile payload can do to the stack.
///
/// JSON has no number for NaN and the infinities: `serde_json` writes `null`, which an `f64` does not read and an
/// `Option<f64>` reads as `None`. [`check_round_trip`](crate::check_round_trip) finds it for the values that it is given.
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    const ID: CodecId = CodecId::Json;

    fn encode(value: &T, out: &mut Bounded) -> Result<(), EncodeError> {
        let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Nesting { levels: 0 });
        let written = value.serialize(&mut serializer);
        written.map_err(|cause| out.failure(cause))
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

/// Compact JSON that no reader refuses for its nesting.
struct Nesting {
    levels: u8,
}

impl Nesting {
    fn enter(&mut self) -> io::Result<()> {
        self.levels += 1;
        if self.levels > LEVELS_MAX {
            return Err(io::Error::other(format!("more than {LEVELS_MAX} levels of nesting")));
        }
        Ok(())
    }
}

impl Formatter for Nesting {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.enter()?;
        out.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.levels -= 1;
        out.write_all(b"]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.enter()?;
        out.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.levels -= 1;
        out.write_all(b"}")
    }
}

/// What `serde_json` reads: its limit of 128 is that of the level after the last one.
const LEVELS_MAX: u8 = 127;

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
    fn a_value_is_nested_as_deep_as_readers_allow_and_no_deeper() {
        let nested = |levels: usize, leaf: serde_json::Value| {
            (0..levels).fold(leaf, |inner, level| match level % 2 {
                0 => serde_json::json!([inner]),
                _ => serde_json::json!({ "inner": inner }),
            })
        };
        let encode = |value: &serde_json::Value| {
            let mut out = Bounded::new(10_000);
            Json::encode(value, &mut out).map(|()| out.into_bytes())
        };
        let deepest = nested(126, serde_json::json!([1, 2]));
        let bytes = encode(&deepest).unwrap();
        assert_eq!(bytes, serde_json::to_vec(&deepest).unwrap());
        assert_eq!(<Json as Codec<serde_json::Value>>::decode(&bytes), Ok(deepest));
        let refused = encode(&nested(128, serde_json::json!(null))).unwrap_err().to_string();
        assert!(refused.contains("more than 127 levels of nesting"), "{refused}");
        // Levels that were left do not count.
        let wide = serde_json::json!([{ "a": [] }, [], {}, vec![serde_json::json!([]); 300]]);
        assert_eq!(encode(&wide).unwrap(), serde_json::to_vec(&wide).unwrap());
    }

    #[test]
    fn encoding_stops_at_the_limit() {
        let mut out = Bounded::new(16);
        let long = "x".repeat(1_000);
        assert!(matches!(Json::encode(&long, &mut out), Err(EncodeError::TooLarge { limit: 16, .. })));
    }
}
