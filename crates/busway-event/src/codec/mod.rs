//! How a payload becomes bytes and comes back: one trait, four codecs.
//!
//! | codec | bytes | for |
//! |---|---|---|
//! | [`Json`] | JSON text | the default: readable outside, fields may come and go |
//! | [`Bincode`] | bincode 2, little endian, variable-length integers | small and fast between programs that share the type |
//! | `Protobuf` | Protocol Buffers (feature `prost`) | contracts written in `.proto` files |
//! | [`RawBytes`] | the bytes themselves | payloads that busway should not look into |
//!
//! Encoding stops at the size limit instead of filling memory first. Decoding refuses bytes that are left over:
//! they mean that writer and reader disagree about the type. Both never panic on any input.

mod bincode;
mod json;
#[cfg(feature = "prost")]
mod protobuf;
mod raw;

use std::fmt;
use std::io;

pub use self::bincode::Bincode;
pub use self::json::Json;
#[cfg(feature = "prost")]
pub use self::protobuf::Protobuf;
pub use self::raw::RawBytes;

/// Turns values of type `T` into bytes and back.
pub trait Codec<T> {
    /// What is written beside the bytes, so that a reader knows how to decode them.
    const ID: CodecId;

    /// Appends `value` to `out`.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] when `out` is full, [`EncodeError::Failed`] when the value has no form in this codec.
    fn encode(value: &T, out: &mut Bounded) -> Result<(), EncodeError>;

    /// Reads one value that takes up all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] or [`DecodeError::TrailingBytes`].
    fn decode(bytes: &[u8]) -> Result<T, DecodeError>;
}

/// Which codec made some bytes. The number of each is part of stored and sent events and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CodecId {
    /// Opaque bytes.
    Raw = 0,
    /// JSON text.
    Json = 1,
    /// bincode 2.
    Bincode = 2,
    /// Protocol Buffers.
    Protobuf = 3,
}

impl CodecId {
    /// The number that is stored.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// The codec of a stored number, `None` for one that this version does not know.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Raw,
            1 => Self::Json,
            2 => Self::Bincode,
            3 => Self::Protobuf,
            _ => return None,
        })
    }

    /// The media type of the bytes.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Raw => "application/octet-stream",
            Self::Json => "application/json",
            Self::Bincode => "application/x-bincode",
            Self::Protobuf => "application/protobuf",
        }
    }

    /// The codec of a media type; parameters are ignored, anything unknown is [`CodecId::Raw`].
    #[must_use]
    pub fn from_content_type(content_type: &str) -> Self {
        const ALL: [CodecId; 4] = [CodecId::Raw, CodecId::Json, CodecId::Bincode, CodecId::Protobuf];
        // What busway itself writes needs no copy.
        if let Some(own) = ALL.into_iter().find(|codec| codec.content_type() == content_type) {
            return own;
        }
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-bincode" => Self::Bincode,
            "application/protobuf" | "application/x-protobuf" => Self::Protobuf,
            json if json.ends_with("/json") || json.ends_with("+json") => Self::Json,
            _ => Self::Raw,
        }
    }
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Json => "json",
            Self::Bincode => "bincode",
            Self::Protobuf => "protobuf",
        })
    }
}

/// A byte buffer that refuses to grow beyond a limit.
#[derive(Debug)]
pub struct Bounded {
    bytes: Vec<u8>,
    /// Bytes that were there before, and do not count.
    before: usize,
    limit: usize,
    overflowed: Option<usize>,
}

impl Bounded {
    /// An empty buffer that takes at most `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), before: 0, limit, overflowed: None }
    }

    /// A buffer that takes at most `limit` bytes behind those that are there already: who frames payloads has them written in
    /// their place.
    #[must_use]
    pub const fn behind(bytes: Vec<u8>, limit: usize) -> Self {
        let before = bytes.len();
        Self { bytes, before, limit, overflowed: None }
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] when they do not fit; nothing is appended then.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.has_room(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Whether so many more bytes fit, for who knows beforehand how many there are.
    fn has_room(&mut self, more: usize) -> Result<(), EncodeError> {
        let len = (self.bytes.len() - self.before).saturating_add(more);
        if len > self.limit {
            self.overflowed = Some(len);
            return Err(EncodeError::TooLarge { len, limit: self.limit });
        }
        Ok(())
    }

    /// The bytes so far, those that were there before included.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The error behind a failed write: too large when the limit was hit, otherwise `cause`.
    fn failure(&self, cause: impl fmt::Display) -> EncodeError {
        match self.overflowed {
            Some(len) => EncodeError::TooLarge { len, limit: self.limit },
            None => EncodeError::Failed { reason: cause.to_string() },
        }
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.extend(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a payload could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The encoded payload is larger than allowed.
    #[error(
        "the encoded payload has at least {len} bytes, more than {limit}: send a reference, or raise the limit"
    )]
    TooLarge {
        /// Bytes at the point where encoding stopped.
        len: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The value has no form in this codec.
    #[error("the payload cannot be encoded: {reason}")]
    Failed {
        /// The codec's own words.
        reason: String,
    },
}

/// Why bytes could not be decoded into the type that a handler asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The event is of another type.
    #[error("the event is a \"{}\", the handler wants a \"{expected}\"", found.escape_debug())]
    WrongType {
        /// The name that the handler's type bears.
        expected: &'static str,
        /// The name that the event bears.
        found: String,
    },
    /// The bytes were made by a codec that the type does not read.
    #[error("\"{name}\" is read from {expected}, the payload is {found}")]
    WrongCodec {
        /// The type's name.
        name: &'static str,
        /// Codecs that the type reads.
        expected: &'static str,
        /// The codec that made the bytes.
        found: CodecId,
    },
    /// The event has an older schema version and the type has no upcaster from it.
    #[error(
        "\"{name}\" has no upcaster from version {found} to {expected}: give the type one with upcast_from"
    )]
    NoUpcaster {
        /// The type's name.
        name: &'static str,
        /// The version of the type.
        expected: u16,
        /// The version of the event.
        found: u16,
    },
    /// The event has a newer schema version than the type.
    #[error(
        "\"{name}\" is at version {found}, this program knows up to {expected}: deploy the newer type first"
    )]
    TooNew {
        /// The type's name.
        name: &'static str,
        /// The version of the type.
        expected: u16,
        /// The version of the event.
        found: u16,
    },
    /// The bytes are no value of the type.
    #[error("the payload is no valid {codec}: {reason}")]
    Malformed {
        /// The codec that read them.
        codec: CodecId,
        /// The codec's own words, with a position where it has one.
        reason: String,
    },
    /// Bytes are left over after the value.
    #[error("the {codec} payload has {extra} bytes after its value, which ends at byte {at}")]
    TrailingBytes {
        /// The codec that read them.
        codec: CodecId,
        /// Where the value ends.
        at: usize,
        /// Bytes left over.
        extra: usize,
    },
    /// The payload could not be encoded for a handler of another type.
    #[error("the payload of another type could not be encoded for this handler")]
    Encode(#[source] EncodeError),
}

/// The default limit of an encoded payload, 1 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_codec_keeps_its_number_and_media_type() {
        let all = [(0, CodecId::Raw), (1, CodecId::Json), (2, CodecId::Bincode), (3, CodecId::Protobuf)];
        for (number, id) in all {
            assert_eq!((id.as_u8(), CodecId::from_u8(number)), (number, Some(id)));
            assert_eq!(CodecId::from_content_type(id.content_type()), id);
        }
        assert_eq!(CodecId::from_u8(4), None);
        assert_eq!(CodecId::from_content_type("application/vnd.x+JSON; charset=utf-8"), CodecId::Json);
        assert_eq!(CodecId::from_content_type("text/json"), CodecId::Json);
        assert_eq!(CodecId::from_content_type("application/jsonx"), CodecId::Raw);
    }

    #[test]
    fn a_bounded_buffer_takes_exactly_its_limit() {
        let mut buffer = Bounded::new(4);
        assert_eq!(buffer.extend(b"abcd"), Ok(()));
        assert_eq!(buffer.extend(b"e"), Err(EncodeError::TooLarge { len: 5, limit: 4 }));
        assert_eq!(buffer.into_bytes(), b"abcd");
    }
}
