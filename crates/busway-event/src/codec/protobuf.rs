//! Protocol Buffers, for types that `prost` made from `.proto` files.

use prost::Message;

use super::{Bounded, Codec, CodecId, DecodeError, EncodeError};

/// Protocol Buffers through `prost`. Unknown fields are skipped, as the format asks; prost's nesting limit of 100 holds.
#[derive(Debug, Clone, Copy)]
pub struct Protobuf;

impl<M: Message + Default> Codec<M> for Protobuf {
    const ID: CodecId = CodecId::Protobuf;

    fn encode(value: &M, out: &mut Bounded) -> Result<(), EncodeError> {
        // The length is known beforehand, so a message that does not fit costs no memory.
        out.has_room(value.encoded_len())?;
        value.encode(&mut out.bytes).map_err(|cause| EncodeError::Failed { reason: cause.to_string() })
    }

    fn decode(bytes: &[u8]) -> Result<M, DecodeError> {
        M::decode(bytes)
            .map_err(|cause| DecodeError::Malformed { codec: CodecId::Protobuf, reason: cause.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_and_one_that_does_not_fit_is_refused() {
        let mut out = Bounded::new(16);
        Protobuf::encode(&"hello".to_owned(), &mut out).unwrap();
        let bytes = out.into_bytes();
        assert_eq!(<Protobuf as Codec<String>>::decode(&bytes), Ok("hello".to_owned()));
        let mut small = Bounded::new(3);
        let refused = Protobuf::encode(&"hello".to_owned(), &mut small);
        assert_eq!(refused, Err(EncodeError::TooLarge { len: 7, limit: 3 }));
    }

    #[test]
    fn what_is_framed_counts_alone() {
        let mut framed = Bounded::behind(vec![0; 16], 7);
        Protobuf::encode(&"hello".to_owned(), &mut framed).unwrap();
        assert_eq!(framed.into_bytes()[16..], *b"\x0a\x05hello");
        let mut small = Bounded::behind(vec![0; 16], 6);
        let refused = Protobuf::encode(&"hello".to_owned(), &mut small);
        assert_eq!(refused, Err(EncodeError::TooLarge { len: 7, limit: 6 }));
    }

    #[test]
    fn a_cut_message_is_malformed() {
        assert!(matches!(
            <Protobuf as Codec<String>>::decode(&[10, 5, b'h']),
            Err(DecodeError::Malformed { .. })
        ));
    }
}
