//! A self-test for event types: does a value survive its codec?

use crate::codec::{DecodeError, EncodeError};
use crate::event_type::{Encoded, EventType};

/// Encodes `value`, decodes the bytes and encodes the result again: the bytes must be equal. For one test per event
/// type, with a value that fills every field.
///
/// Codecs that do not describe themselves, such as bincode, silently or loudly break serde's `flatten`, `untagged`, `tag`,
/// and `skip_serializing_if`. This finds it in a test instead of in a consumer. A type that holds a `HashMap` may
/// fail without a fault, because two maps of equal content may be written in different order: use a `BTreeMap`.
///
/// ```
/// use busway_event::{EventType, RoundTripError, check_round_trip};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Moved { from: u32, #[serde(skip_serializing_if = "Option::is_none")] note: Option<String>, to: u32 }
///
/// impl EventType for Moved {
///     const NAME: &'static str = "moved";
///     const CODEC: busway_event::CodecId = busway_event::CodecId::Bincode;
/// }
///
/// let error = check_round_trip(&Moved { from: 1, note: None, to: 7 }).unwrap_err();
/// assert!(matches!(error, RoundTripError::Decode(_)));
/// ```
///
/// # Errors
/// [`RoundTripError`]: the step that failed, or where the bytes differ. The payload limit does not hold here.
pub fn check_round_trip<T: EventType>(value: &T) -> Result<(), RoundTripError> {
    let first = Encoded::of(value, usize::MAX).map_err(RoundTripError::Encode)?;
    let decoded = T::read(&first).map_err(RoundTripError::Decode)?;
    let second = Encoded::of(&decoded, usize::MAX).map_err(RoundTripError::EncodeAgain)?;
    if first.bytes == second.bytes {
        return Ok(());
    }
    let at = first.bytes.iter().zip(&second.bytes).take_while(|(one, other)| one == other).count();
    Err(RoundTripError::Differs { at, first_len: first.bytes.len(), second_len: second.bytes.len() })
}

/// Why a value does not survive its codec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoundTripError {
    /// The value cannot be encoded.
    #[error("the value cannot be encoded")]
    Encode(#[source] EncodeError),
    /// What was encoded cannot be decoded.
    #[error("the encoded value cannot be decoded")]
    Decode(#[source] DecodeError),
    /// What was decoded cannot be encoded.
    #[error("the decoded value cannot be encoded again")]
    EncodeAgain(#[source] EncodeError),
    /// The decoded value is another one.
    #[error(
        "the decoded value is another: {first_len} bytes became {second_len}, different from byte {at} on"
    )]
    Differs {
        /// The first byte that differs.
        at: usize,
        /// Bytes of the value.
        first_len: usize,
        /// Bytes of the decoded value.
        second_len: usize,
    },
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::codec::CodecId;

    #[derive(Serialize, Deserialize)]
    struct Kept {
        id: u32,
        note: Option<String>,
    }
    impl EventType for Kept {
        const NAME: &'static str = "kept";
        const CODEC: CodecId = CodecId::Bincode;
    }

    #[derive(Serialize, Deserialize)]
    struct Lossy {
        id: u32,
        #[serde(deserialize_with = "one_more")]
        count: u32,
    }
    impl EventType for Lossy {
        const NAME: &'static str = "lossy";
    }

    fn one_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        u32::deserialize(deserializer).map(|count| count + 1)
    }

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u32),
    }
    impl EventType for Untagged {
        const NAME: &'static str = "untagged";
        const CODEC: CodecId = CodecId::Bincode;
    }

    #[test]
    fn a_value_that_comes_back_passes() {
        assert_eq!(check_round_trip(&Kept { id: 7, note: None }), Ok(()));
        assert_eq!(check_round_trip(&Kept { id: 7, note: Some("x".into()) }), Ok(()));
    }

    #[test]
    fn a_value_that_changes_is_found_with_the_place() {
        let error = check_round_trip(&Lossy { id: 1, count: 9 }).unwrap_err();
        assert_eq!(error, RoundTripError::Differs { at: 16, first_len: 18, second_len: 19 });
    }

    #[test]
    fn a_form_that_the_codec_cannot_read_is_found() {
        let error = check_round_trip(&Untagged::Number(7)).unwrap_err();
        assert!(matches!(error, RoundTripError::Decode(_)), "{error}");
    }
}
